#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "assent/recovery/decision_log.h"
#include "assent/recovery/recoverer.h"
#include "assent/tm/config.h"
#include "assent/tm/observer.h"
#include "assent/tm/outcome.h"
#include "assent/tm/resource.h"
#include "assent/tm/transaction.h"
#include "assent/xa/registry.h"

namespace assent {

struct RunOptions {
  std::optional<std::chrono::milliseconds> deadline = {};  ///< for all attempts together
  std::string label = {};
  unsigned attempts = 3;             ///< tried again only when rolled back by a deadlock or a serialization failure
  std::optional<AckAt> ack_at = {};  ///< the configuration's, when not said
  std::optional<std::string> last_resource = {};  ///< as TransactionOptions::last_resource
};

/// The public door: opens the node's log, finishes in the background what an earlier crash left, and begins
/// transactions. Movable, thread-safe. Destruction waits for running recovery work and for what goes on behind callers
/// (AckAt::decided, tm/async.h); transactions that are still open keep what they need alive.
///
/// In a forked child it refuses every call (Error{misuse}) and leaves the parent's log and sessions alone.
class TransactionManager {
 public:
  /// Throws Error when configuration, directory or log cannot be used. Databases need not be up.
  static TransactionManager open(const std::string& path, const Registry& adapters,
                                 std::shared_ptr<Observer> observer = nullptr);
  static TransactionManager open(const Config& config, const Registry& adapters,
                                 std::shared_ptr<Observer> observer = nullptr);

  TransactionManager(TransactionManager&&) noexcept;
  TransactionManager& operator=(TransactionManager&&) noexcept;
  ~TransactionManager();

  /// Throws Error{misuse} when no resource has the name, or it belongs to another adapter.
  template <class Adapter>
  Resource<Adapter> resource(std::string_view name) const {
    std::shared_ptr<ResourceManager> found = find(name);
    if (!Adapter::owns(*found)) refuse_kind(name, Adapter::kind);
    return Resource<Adapter>(std::move(found));
  }

  /// Throws Error{log_failed} when the log takes no more decisions.
  Transaction begin(const TransactionOptions& options = {});

  /// Begins, runs `work(transaction)`, commits. An exception that leaves `work` rolls back and goes on to the caller,
  /// but when the database ended the transaction by a deadlock or a serialization failure, the work is tried again
  /// while attempts and deadline last.
  template <std::invocable<Transaction&> Work>
  Outcome run(const RunOptions& options, Work&& work) {
    return run_attempts(options, [&](Transaction& transaction) { work(transaction); });
  }
  template <std::invocable<Transaction&> Work>
  Outcome run(Work&& work) {
    return run(RunOptions{}, std::forward<Work>(work));
  }

  /// What became of a transaction of this node, asked at any time, from any process of the node. Blocks on the
  /// databases when only they know.
  Outcome outcome(const TransactionId& id);

  /// The same, when no verb of it is under way in this process any more, or `patience` has passed: after a commit()
  /// that answered at the decision, what phase two came to.
  Outcome wait(const TransactionId& id, std::optional<std::chrono::milliseconds> patience = std::nullopt);

  /// Blocks until one whole pass of recovery has run that began after this call; says what it found.
  RecoveryReport recover_now();

  /// For tests and metrics.
  DecisionLog::Counters log_counters() const;

 private:
  explicit TransactionManager(std::shared_ptr<detail::Engine> engine);
  std::shared_ptr<ResourceManager> find(std::string_view name) const;
  [[noreturn]] static void refuse_kind(std::string_view name, const char* kind);
  Outcome run_attempts(const RunOptions& options, const std::function<void(Transaction&)>& work);

  std::shared_ptr<detail::Engine> engine_;
};

}  // namespace assent
