#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "assent/recovery/recoverer.h"
#include "assent/tools/assent/progress.h"
#include "assent/tools/assent/setup.h"
#include "assent/tools/assent/survey.h"

namespace assent::tool {

/// Adopts the slots whose process is gone and that have something to settle, settles it, and releases them. Slots with
/// nothing to settle are not even locked, and those of live processes are left alone.
class Resolver {
 public:
  Resolver(const Setup& setup, Progress& progress);

  /// What one round did and found.
  struct Round {
    RecoveryReport report;              ///< of the last pass
    std::vector<BranchReport> settled;  ///< branches that this round finished
    std::vector<SlotState> adopted;
    std::vector<SlotSurvey> troubles;  ///< slots that could not be opened, and logs that were moved
    Exit exit = Exit::done;
  };
  Round round();

 private:
  void adopt_what_is_unfinished(Round& round);
  void adopt_what_is_listed(Round& round);
  void adopt(const SlotState& slot, Round& round);
  void pass(Round& round);
  void release(const RecoveryReport& report);

  const Setup& setup_;
  Progress& progress_;
  std::unique_ptr<NodeDirectory> directory_;
  Recoverer recoverer_;
  std::vector<std::unique_ptr<Slot>> held_;
  std::set<int> fruitless_;  ///< slots whose rest waits for a person; looked at again now and then
  unsigned rounds_ = 0;
};

}  // namespace assent::tool
