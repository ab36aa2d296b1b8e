#include "assent/recovery/log_state.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace assent::log {
namespace {

bool contains(const std::deque<TransactionId>& ids, const TransactionId& id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

void remember(std::deque<TransactionId>& newest, std::size_t bound, const TransactionId& id) {
  if (contains(newest, id)) return;
  if (newest.size() == bound) newest.pop_front();
  newest.push_back(id);
}

}  // namespace

std::vector<Begun>::const_iterator State::find(Incarnation incarnation) const {
  // From the end: it is nearly always the newest.
  const auto found = std::find_if(incarnations_.rbegin(), incarnations_.rend(),
                                  [&](const Begun& begun) { return begun.incarnation.incarnation == incarnation; });
  return found == incarnations_.rend() ? incarnations_.end() : std::prev(found.base());
}

bool State::knows(const Over& over) const {
  const auto known = find(over.incarnation);
  if (known == incarnations_.end()) return false;
  if (over.to <= known->incarnation.mark) return true;
  const auto above = over_.find(over.incarnation);
  if (above == over_.end()) return false;
  const std::uint64_t from = std::max(over.from, known->incarnation.mark);
  const auto next = above->second.upper_bound(from);
  return next != above->second.begin() && std::prev(next)->second >= over.to;
}

bool State::is_over(const TransactionId& id) const {
  return knows({id.incarnation, id.sequence, id.sequence + 1});
}

bool State::recovered(const TransactionId& id) const {
  return contains(recovered_, id);
}

bool State::forgotten(const TransactionId& id) const {
  return contains(forgotten_, id);
}

std::uint64_t State::mark(Incarnation incarnation) const {
  const auto known = find(incarnation);
  return known == incarnations_.end() ? 0 : known->incarnation.mark;
}

std::uint64_t State::over_to(Incarnation incarnation) const {
  const auto above = over_.find(incarnation);
  return above == over_.end() ? mark(incarnation) : std::prev(above->second.end())->second;
}

std::vector<Over> State::over(Incarnation incarnation) const {
  std::vector<Over> out;
  if (const std::uint64_t below = mark(incarnation); below > 0) out.push_back({incarnation, 0, below});
  if (const auto above = over_.find(incarnation); above != over_.end()) {
    for (const auto& [from, to] : above->second) out.push_back({incarnation, from, to});
  }
  return out;
}

void State::add(const Over& over) {
  const auto found = find(over.incarnation);
  if (found == incarnations_.end() || over.to <= found->incarnation.mark) return;
  std::uint64_t& mark = incarnations_[static_cast<std::size_t>(found - incarnations_.cbegin())].incarnation.mark;
  // What touches it from behind joins it.
  const auto absorb = [](std::map<std::uint64_t, std::uint64_t>& above, std::uint64_t& to, auto next) {
    while (next != above.end() && next->first <= to) {
      to = std::max(to, next->second);
      next = above.erase(next);
    }
  };
  if (over.from <= mark) {
    mark = over.to;
    const auto known = over_.find(over.incarnation);
    if (known == over_.end()) return;
    absorb(known->second, mark, known->second.begin());
    if (known->second.empty()) over_.erase(known);
    return;
  }
  auto& above = over_[over.incarnation];
  auto at = above.upper_bound(over.from);
  if (at != above.begin() && std::prev(at)->second >= over.from) {
    --at;
    at->second = std::max(at->second, over.to);
  } else {
    at = above.emplace_hint(at, over.from, over.to);
  }
  absorb(above, at->second, std::next(at));
}

State::Decisions::node_type State::end(const TransactionId& id) {
  add({id.incarnation, id.sequence, id.sequence + 1});
  return unfinished_.extract(id);
}

void State::apply(Record&& record) {
  if (auto* decision = std::get_if<Decision>(&record)) {
    const TransactionId id = decision->id;
    // Mostly the newest.
    unfinished_.insert_or_assign(unfinished_.end(), id, std::move(*decision));
  } else if (const auto* finished = std::get_if<Finished>(&record)) {
    static_cast<void>(end(finished->id));
  } else if (const auto* again = std::get_if<Recovered>(&record)) {
    static_cast<void>(end(again->id));
    remember(recovered_, max_recovered, again->id);
  } else if (const auto* given_up = std::get_if<Forgotten>(&record)) {
    static_cast<void>(end(given_up->id));
    remember(forgotten_, max_forgotten, given_up->id);
  } else if (const auto* over = std::get_if<Over>(&record)) {
    add(*over);
  } else if (auto* begun = std::get_if<Begun>(&record)) {
    if (incarnations_.size() == max_incarnations) {
      over_.erase(incarnations_.front().incarnation.incarnation);
      incarnations_.erase(incarnations_.begin());
    }
    incarnations_.push_back(std::move(*begun));
  } else if (auto* moved = std::get_if<Moved>(&record)) {
    moved_ = std::move(*moved);
    for (Begun& known : incarnations_) known.incarnation.presumable = false;
  } else if (std::holds_alternative<Adopted>(record)) {
    moved_.reset();
    for (Begun& known : incarnations_) {
      known.incarnation.adopted = known.incarnation.adopted || !known.incarnation.presumable;
      known.incarnation.presumable = true;
    }
  } else if (auto* resource = std::get_if<LoggedResource>(&record)) {
    const std::string name = resource->name;
    resources_.insert_or_assign(name, std::move(*resource));
  } else if (auto* note = std::get_if<PersonNote>(&record)) {  // Never: anything else; it is the last kind
    if (notes_.size() == max_notes) notes_.erase(notes_.begin());
    notes_.push_back(std::move(*note));
  }
}

}  // namespace assent::log
