#include "assent/recovery/log_state.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace assent::log {

std::vector<Begun>::const_iterator State::find(Incarnation incarnation) const {
  // From the end: it is nearly always the newest.
  const auto found = std::find_if(incarnations_.rbegin(), incarnations_.rend(),
                                  [&](const Begun& begun) { return begun.incarnation.incarnation == incarnation; });
  return found == incarnations_.rend() ? incarnations_.end() : std::prev(found.base());
}

bool State::raises(const Marked& marked) const {
  const auto known = find(marked.incarnation);
  return known != incarnations_.end() && known->incarnation.mark < marked.mark;
}

void State::apply(Record record) {
  if (auto* decision = std::get_if<Decision>(&record)) {
    const TransactionId id = decision->id;
    unfinished_.insert_or_assign(id, std::move(*decision));
  } else if (const auto* finished = std::get_if<Finished>(&record)) {
    unfinished_.erase(finished->id);
  } else if (const auto* marked = std::get_if<Marked>(&record)) {
    if (raises(*marked)) {
      const auto known = incarnations_.begin() + (find(marked->incarnation) - incarnations_.cbegin());
      known->incarnation.mark = marked->mark;
    }
  } else if (auto* begun = std::get_if<Begun>(&record)) {
    if (incarnations_.size() == max_incarnations) incarnations_.erase(incarnations_.begin());
    incarnations_.push_back(std::move(*begun));
  } else if (auto* moved = std::get_if<Moved>(&record)) {
    moved_ = std::move(*moved);
    for (Begun& known : incarnations_) known.incarnation.presumable = false;
  } else if (std::holds_alternative<Adopted>(record)) {
    moved_.reset();
    for (Begun& known : incarnations_) known.incarnation.presumable = true;
  } else if (auto* resource = std::get_if<LoggedResource>(&record)) {
    const std::string name = resource->name;
    resources_.insert_or_assign(name, std::move(*resource));
  } else if (auto* note = std::get_if<PersonNote>(&record)) {
    if (notes_.size() == max_notes) notes_.erase(notes_.begin());
    notes_.push_back(std::move(*note));
  }
}

}  // namespace assent::log
