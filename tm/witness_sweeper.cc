#include "assent/tm/witness_sweeper.h"

#include <utility>

namespace assent::detail {

bool WitnessSweeper::add(const std::shared_ptr<ResourceManager>& resource, Xid xid) {
  const std::lock_guard lock(mutex_);
  Waiting& waiting = waiting_[resource->name()];
  waiting.resource = resource;
  waiting.xids.push_back(std::move(xid));
  return waiting.xids.size() == batch;
}

void WitnessSweeper::sweep(bool all) {
  std::vector<Waiting> due;
  {
    const std::lock_guard lock(mutex_);
    for (auto& [name, waiting] : waiting_) {
      if (waiting.xids.empty() || (!all && waiting.xids.size() < batch)) continue;
      due.push_back({waiting.resource, std::exchange(waiting.xids, {})});
    }
  }
  if (due.empty()) return;
  // Crash before this: a decision comes back as unfinished, and a one-phase commit as undecided; their witnesses must
  // still be there to say "committed".
  if (!log_.flush()) return;
  for (const Waiting& each : due) static_cast<void>(each.resource->forget(each.xids));
}

}  // namespace assent::detail
