#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "assent/recovery/decision_log.h"
#include "assent/recovery/live_transactions.h"
#include "assent/recovery/node_directory.h"
#include "assent/recovery/recovery_report.h"
#include "assent/xa/machine.h"
#include "assent/xa/resource_manager.h"

namespace assent {

/// A resource that recovery may use.
struct RecoverableResource {
  std::shared_ptr<ResourceManager> manager;
  std::vector<std::string> formerly;  ///< earlier names under which logs and branches may know it
};

/// A log that this process holds. Everything pointed to is borrowed, and must outlive the pass it is given to.
struct LogInHand {
  DecisionLog* log = nullptr;
  /// The incarnation that runs in this process, if any: of the own slot. Adopted slots have none.
  std::optional<Incarnation> live_incarnation;
  /// The engine that runs it. Without it, every transaction of the live incarnation is taken for active.
  LiveTransactions* live = nullptr;
};

/// Runs all tasks, returns when all have returned. The default uses a thread each.
using RunAll = std::function<void(std::vector<std::function<void()>>)>;

/// Finishes what a crash, a lost answer or a database that was away left in doubt.
///
/// One pass asks every resource once what it has prepared, settles each branch by the decision table (resolution.h),
/// and lets a decision leave its log only on positive evidence from every branch (rule 5). Nothing is remembered
/// because a scan was empty (rule 6): passes are to be repeated for as long as the process lives.
///
/// Thread-safe; passes run one at a time. Neither starts threads that outlive a pass nor reads a clock.
class Recoverer {
 public:
  struct Options {
    std::chrono::milliseconds first_retry{1000};  ///< after the first failure of a resource; doubles each time
    std::chrono::milliseconds longest_retry{60'000};
    /// Holes above the mark of a past incarnation, each an undecided transaction whose carriers have to be proven gone
    /// before the mark may pass it (and the log forget the intervals around it): so many a pass.
    std::size_t mark_proofs = 64;
    std::size_t sessions = 8;  ///< branches of one resource that are worked on at once
    RunAll run_all;            ///< empty: a thread for each task
  };

  struct Pass {
    std::chrono::steady_clock::time_point now;  ///< for the back-off
    bool dry_run = false;                       ///< asks everything, changes nothing in database, log or engine
    bool ask_all_now = false;                   ///< also resources whose next try has not come
    std::optional<TransactionId> only;          ///< act on this one only; the rest is reported all the same
  };

  explicit Recoverer(std::vector<RecoverableResource> resources);
  Recoverer(std::vector<RecoverableResource> resources, Options options);

  /// One pass. `slots` is NodeDirectory::slots(): who decides what is not in hand. Throws nothing but bad_alloc; a log
  /// that fails says so in the report.
  RecoveryReport pass(const std::vector<LogInHand>& logs, const std::vector<SlotState>& slots, const Pass& how);

  /// Everything that is known, for listings: a dry run that asks every resource now.
  RecoveryReport gather(const std::vector<LogInHand>& logs, const std::vector<SlotState>& slots,
                        std::chrono::steady_clock::time_point now);

 private:
  friend class RecoveryPass;

  struct Backoff {
    int failures = 0;
    std::chrono::steady_clock::time_point next_try;
    std::string why;
  };

  const std::vector<RecoverableResource> resources_;
  const Options options_;

  Mutex one_pass_;  // guards what follows
  std::map<std::string, Backoff> backoff_;
  /// Branches of unfinished decisions that gave positive evidence in an earlier pass of this process.
  std::map<TransactionId, std::set<std::string>> settled_;
  /// Heuristic answers the engine has been told of.
  std::set<Xid> told_;
};

}  // namespace assent
