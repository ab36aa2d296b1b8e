#include "assent/tools/assent/hold.h"

#include <algorithm>
#include <chrono>
#include <string>

#include "assent/tools/assent/stop.h"

namespace assent::tool {

const BranchReport* Hold::branch(const std::string& resource) const {
  const auto found = std::ranges::find_if(report.branches, [&](const BranchReport& each) {
    return each.transaction == transaction && (each.resource == resource || each.xid.bqual == resource);
  });
  return found == report.branches.end() ? nullptr : &*found;
}

Hold take_hold(const Setup& setup, const Named& named) {
  Hold hold;
  hold.transaction = named.transaction;
  hold.directory = setup.node_directory();
  if (hold.directory == nullptr) {
    throw Stop(Exit::usage, "the node has no log yet in " + setup.config.log_directory,
               "check `log` in the configuration");
  }
  for (const SlotState& state : hold.directory->slots()) {
    if (state.log != named.transaction.log) continue;
    if (!state.holder_pid) hold.slot = hold.directory->adopt(state.number);
    if (hold.slot != nullptr) break;
    const std::string pid =
        state.holder_pid.value_or(0) == 0 ? "a live process" : "process " + std::to_string(*state.holder_pid);
    throw Stop(Exit::log_held, "its log (slot " + std::to_string(state.number) + ") is held by " + pid,
               "that process settles it by itself; if it cannot, stop it first, then run this again");
  }
  std::vector<LogInHand> logs;
  if (hold.slot != nullptr) logs.push_back({&hold.slot->log(), std::nullopt, nullptr});
  Recoverer recoverer(setup.resources);
  hold.report = recoverer.gather(logs, hold.directory->slots(), std::chrono::steady_clock::now());
  return hold;
}

}  // namespace assent::tool
