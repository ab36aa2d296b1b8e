#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "assent/recovery/live_transactions.h"
#include "assent/recovery/node_directory.h"
#include "assent/recovery/recoverer.h"
#include "assent/tm/async_threads.h"
#include "assent/tm/config.h"
#include "assent/tm/live_table.h"
#include "assent/tm/observer.h"
#include "assent/tm/outcome.h"
#include "assent/tm/transaction.h"
#include "assent/tm/witness_sweeper.h"
#include "assent/tm/worker_pool.h"
#include "assent/xa/fork_guard.h"
#include "assent/xa/machine.h"
#include "assent/xa/registry.h"

namespace assent::detail {

/// A configured resource, and whether it may take part (rule 8).
struct ResourceEntry {
  std::shared_ptr<ResourceManager> manager;
  std::vector<std::string> formerly;
  Mutex admission;
  std::atomic<bool> is_admitted = false;
  std::optional<Capabilities> admitted;  ///< set once its identity was checked against the log and the others
  std::optional<Identity> identity;      ///< guarded by Engine::identities_
};

class Driver;
struct TransactionState;

/// What a TransactionManager owns: log, resources, executor, and the thread that recovers in the background.
class Engine {
 public:
  static std::shared_ptr<Engine> open(const Config& config, const Registry& adapters,
                                      std::shared_ptr<Observer> observer);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  /// Throws Error{misuse} in a forked child.
  void refuse_in_child() const;

  std::shared_ptr<TransactionState> begin(const TransactionOptions& options);
  /// Checks once that the resource may take part. Throws Error.
  void admit(ResourceEntry& entry);
  /// Of an admitted resource. Throws Error when a transaction that it is to decide cannot have this branch.
  void check_last_resource(const ResourceEntry& entry, bool read_only) const;
  ResourceEntry* entry(const ResourceManager& manager);
  std::shared_ptr<ResourceManager> find(std::string_view name) const;

  /// Drives a transaction to its end, or to its decision where that is enough, and tells everybody who must know.
  /// Without memory from here to the outcome the process ends (std::terminate): the next one settles by the log what an
  /// exception would leave to nobody.
  Outcome complete(const std::shared_ptr<TransactionState>& state, bool commit);
  /// Of a driver that goes by events: its decision is durable, and who waits may go on.
  void decided_behind(Driver& driver) noexcept;
  /// Of a driver that goes by events, or went on behind: its transaction is over.
  void finished_behind(Driver& driver) noexcept;

  // engine_async.cc

  /// complete() without a thread that waits: `then` is called once, in whichever thread learns the outcome. Throws what
  /// complete() throws, and then `then` is never called.
  void complete_then(const std::shared_ptr<TransactionState>& state, bool commit, std::function<void(Outcome)> then);
  /// Its Transaction is destroyed undecided: it is rolled back, when the last work under way has ended.
  void abandon(const std::shared_ptr<TransactionState>& state);
  /// Throws Error{misuse} when the transaction is over.
  void work_begins(TransactionState& state);
  /// Before who waits for the work is told. The engine lives until leave().
  void work_ended(const std::shared_ptr<TransactionState>& state) noexcept;
  void leave() noexcept;
  AsyncThreads& async_threads();
  /// ResourceManager::await_place(), whose wait ends when start()'s would.
  void await_place(ResourceManager& manager, const StartOptions& options, ResourceManager::Placed then) noexcept;

  Outcome outcome(const TransactionId& id);
  Outcome wait(const TransactionId& id, std::optional<std::chrono::milliseconds> patience);
  RecoveryReport recover_now();

  DecisionLog& log() { return slot_->log(); }
  Observer& observer() { return *observer_; }
  /// False where nobody looks at what would have to be measured or named first.
  bool is_observed() const { return is_observed_; }
  WorkerPool& executor() { return *executor_; }
  /// For verbs that wait for no other transaction: what they set free, a verb on executor() may be waiting for.
  WorkerPool& finisher() { return *finisher_; }

 private:
  Engine(const Config& config, const Registry& adapters, std::shared_ptr<Observer> observer);
  /// Stops recovery, waits for what is under way, writes what the log still holds back, releases the slot.
  ~Engine();

  std::unique_ptr<Slot> claim_slot();
  /// As it is configured. Throws Error{misuse}.
  ResourceEntry& named(std::string_view name) const;
  /// The resource that a log knows by this name, now or formerly; null when none is configured.
  ResourceEntry* logged_as(std::string_view name) const;
  /// From now on the transaction is over for its callers. Throws Error{misuse}.
  void claim(TransactionState& state);
  /// The last resource where a decision is needed and the application did not use it; else null.
  ResourceEntry* missing_last_resource(const TransactionState& state) const;
  void enlist_last_resource(TransactionState& state, ResourceEntry& entry, std::shared_ptr<Place> place);
  static void no_last_resource(TransactionState& state, const Reply& why);
  Outcome drive(const std::shared_ptr<TransactionState>& state, bool commit) noexcept;
  void drive_by_events(const std::shared_ptr<TransactionState>& state, bool commit,
                       std::function<void(Outcome)> then) noexcept;
  /// The same, once the last resource has a branch, of a transaction that made none.
  void enlist_and_commit(const std::shared_ptr<TransactionState>& state, ResourceEntry& last,
                         std::function<void(Outcome)> then) noexcept;
  void enter();
  Outcome acknowledge(Driver& driver);
  Outcome conclude(Driver& driver);
  bool may_go_behind(const TransactionState& state);
  void want_pass();
  void recovery_loop();
  RecoveryReport recovery_pass(bool ask_all_now);
  void adopt_orphans(const RecoveryReport& last);
  void release_clean(const RecoveryReport& report);
  void call_for_person(const BranchReport& branch);
  void settle_in_doubt();
  Outcome judge(const TransactionId& id, const DecisionLog& log, bool process_lives);
  Outcome judge_unproven(const TransactionId& id, const DecisionLog& log);
  Outcome ask_witnesses(const TransactionId& id, const DecisionLog& log);

  const ForkGuard process_;
  const bool is_observed_;
  std::shared_ptr<Observer> observer_;
  std::unique_ptr<NodeDirectory> directory_;
  std::unique_ptr<Slot> slot_;
  Incarnation incarnation_{};
  std::map<std::string, std::unique_ptr<ResourceEntry>, std::less<>> resources_;
  std::vector<LoggedResource> left_to_others_;  ///< what the logs know that were not claimed
  Mutex identities_;
  std::unique_ptr<LiveTable> live_;
  std::unique_ptr<WitnessSweeper> sweeper_;
  std::unique_ptr<Recoverer> recoverer_;
  std::unique_ptr<WorkerPool> executor_;
  std::unique_ptr<WorkerPool> finisher_;
  const std::size_t threads_;
  Mutex async_mutex_;
  std::unique_ptr<AsyncThreads> async_threads_;
  std::atomic<AsyncThreads*> async_threads_made_ = nullptr;  ///< the same, for who needs no mutex then
  Condition nothing_under_way_;
  /// What nobody waits for who keeps the engine alive. Comes to 0 only under async_mutex_.
  std::atomic<std::size_t> under_way_ = 0;
  const AckAt ack_at_;
  const std::string last_resource_;  ///< of transactions that name none; empty: the log decides
  const std::size_t behind_at_most_;
  std::atomic<std::size_t> behind_{0};  ///< transactions whose callers went on before phase two

  // The recovery thread's own.
  std::vector<std::unique_ptr<Slot>> adopted_;
  std::set<int> examined_;  ///< slots that nobody holds and that were found clean since
  std::uint64_t examined_passes_ = 0;
  /// Branches that a person was called for, and why: every pass finds them again. The latest; a branch that drops out
  /// of a report may only have a database that is away, or a slot that is released meanwhile.
  std::map<Xid, std::string> called_for_;
  std::deque<Xid> called_order_;  ///< of called_for_, oldest first

  const std::chrono::milliseconds recovery_interval_;
  Mutex recovery_mutex_;
  Condition recovery_wake_;
  bool stopping_ = false;
  std::uint64_t passes_wanted_ = 0;
  std::uint64_t passes_begun_ = 0;
  std::uint64_t passes_done_ = 0;
  RecoveryReport last_report_;
  Thread recovery_thread_;
};

}  // namespace assent::detail
