#include "assent/recovery/recovery_report.h"

#include <algorithm>

namespace assent {

std::string_view to_string(ResourceReport::Problem problem) {
  switch (problem) {
    case ResourceReport::Problem::none:
      return "none";
    case ResourceReport::Problem::unreachable:
      return "unreachable";
    case ResourceReport::Problem::identity_changed:
      return "identity changed";
    case ResourceReport::Problem::identity_shared:
      return "one database under two names";
    case ResourceReport::Problem::renamed:
      return "renamed";
  }
  return "?";
}

std::size_t RecoveryReport::needing_person() const {
  return static_cast<std::size_t>(
      std::ranges::count_if(branches, [](const BranchReport& branch) { return branch.needs_person(); }));
}

bool RecoveryReport::clean(LogId log) const {
  const bool left_over = std::ranges::any_of(branches, [&](const BranchReport& branch) {
    return branch.evidence.owner == Owner::in_hand && branch.transaction->log == log && !branch.done;
  });
  const bool known = std::ranges::any_of(
      logs, [&](const LogReport& each) { return each.log == log && each.unfinished == 0 && !each.poisoned; });
  return known && !left_over && std::ranges::all_of(resources, &ResourceReport::usable);
}

const ResourceReport* RecoveryReport::resource(const std::string& name) const {
  const auto found = std::ranges::find(resources, name, &ResourceReport::name);
  return found == resources.end() ? nullptr : &*found;
}

}  // namespace assent
