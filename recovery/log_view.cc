#include "assent/recovery/log_view.h"

#include <utility>

#include "assent/recovery/log_reader.h"
#include "assent/xa/error.h"

namespace assent {
namespace {

// The process that has the log open may replace the segment between the listing and the reading, and may be in the
// middle of a write, which looks like damage for that moment.
constexpr int most_looks = 5;

}  // namespace

std::unique_ptr<LogView> LogView::read(FileSystem& files, const std::string& directory) {
  std::string damage;
  for (int attempt = 0; attempt < most_looks; ++attempt) {
    const auto segments = log::list_segments(files, directory);
    if (!segments || segments.value.empty()) {
      throw Error(ErrorCode::environment,
                  "the log in " + directory +
                      " cannot be read: " + (segments ? std::string("there is none") : segments.error.message()),
                  "check the path and the permissions; run as the user that owns the log");
    }
    const std::string path = directory + '/' + log::segment_name(segments.value.back());
    auto view = std::unique_ptr<LogView>(new LogView);
    const auto reading = log::read_segment(files, path, segments.value.back(), [&](log::ReadRecord read) {
      if (const auto* note = std::get_if<log::PersonNote>(&read.record)) view->notes_.push_back(*note);
      view->state_.apply(std::move(read.record));
    });
    if (reading.error == std::errc::no_such_file_or_directory) continue;
    if (!reading) {
      throw Error(ErrorCode::environment, "the log " + path + " cannot be read: " + reading.error.message(),
                  "check the permissions; run as the user that owns the log");
    }
    if (reading.value.damage) {
      damage = path + " at byte " + std::to_string(reading.value.damage->offset) + ": " + reading.value.damage->what;
      continue;
    }
    view->id_ = reading.value.header.log;
    if (reading.value.torn) view->torn_ = reading.value.torn->what;
    // As DecisionLog::open() would judge it: a copy presumes nothing.
    if (reading.value.header.identity != reading.value.identity) {
      view->state_.apply(log::Moved{0, reading.value.header.identity});
    }
    return view;
  }
  if (damage.empty()) {
    throw Error(ErrorCode::environment, "the log in " + directory + " is replaced faster than it can be read",
                "try again");
  }
  throw Error(ErrorCode::log_damaged, "the log is damaged: " + damage,
              "nothing was skipped; `assent log verify` shows where; restore the file, or settle by hand what depends "
              "on it (docs/operations.md, \"A damaged log\")");
}

std::vector<IncarnationRecord> LogView::incarnations() const {
  std::vector<IncarnationRecord> out;
  for (const log::Begun& begun : state_.incarnations()) {
    out.push_back(begun.incarnation);
    out.back().over_to = state_.over_to(begun.incarnation.incarnation);
  }
  return out;
}

std::optional<Decision> LogView::find(const TransactionId& id) const {
  const auto found = state_.unfinished().find(id);
  return found == state_.unfinished().end() ? std::nullopt : std::optional(found->second);
}

std::vector<LoggedResource> LogView::resources() const {
  std::vector<LoggedResource> out;
  for (const auto& [name, resource] : state_.resources()) out.push_back(resource);
  return out;
}

void LogView::refuse() {
  throw Error(ErrorCode::misuse, "a log that is only read cannot be changed", "adopt its slot first");
}

}  // namespace assent
