#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "assent/recovery/decision_log.h"
#include "assent/recovery/live_transactions.h"
#include "assent/tm/observer.h"
#include "assent/tm/outcome.h"
#include "assent/xa/machine.h"

namespace assent::detail {

/// How a transaction came to its end.
struct Ending {
  bool decided = false;               ///< the decision is durable: in the log, or with the last resource
  bool one_phase = false;             ///< committed, or tried to, by its only writer alone
  std::vector<std::string> evidence;  ///< Branch::evidence() of its branches, in their order, where one is unfinished
};

/// The transactions of the live incarnation that are not over, and the latest that are. Thread-safe.
///
/// Invariant: a transaction is in the table from before its first branch begins until the log was told that it is over,
/// which is when every branch gave positive evidence (rule 5).
class LiveTable : public LiveTransactions {
 public:
  LiveTable(DecisionLog& log, Incarnation incarnation, Observer& observer);

  /// A new transaction, in the table from now on. `last_resource` decides it, or when that is empty, the log.
  TransactionId begin(const std::string& last_resource = {});
  /// Its caller goes on at the decision: what it was told is what others are told. The transaction stays active.
  void acknowledge(const Outcome& outcome);
  /// Files the transaction under what is left to do for it; when that is nothing, tells the log.
  void complete(const Outcome& outcome, const Ending& ending);
  /// A one-phase commit in doubt, or a last resource's, that has been settled. True when there is more to do: the other
  /// branches are left to recovery.
  bool settled(const TransactionId& id, OutcomeKind kind);

  /// The last that is known of it: nothing for one that was never here, or too long ago.
  std::optional<Outcome> known(const TransactionId& id) const;
  bool is_active(const TransactionId& id) const;
  /// Blocks while it is active, `patience` at most.
  void wait_until_ended(const TransactionId& id, std::optional<std::chrono::milliseconds> patience);
  /// Commits in doubt that a resource can settle, and that resource: the only one, or the last resource.
  std::vector<std::pair<TransactionId, std::string>> to_settle() const;

  LiveState state(const TransactionId& id) override;
  std::vector<UnconfirmedRollback> rollback_unconfirmed() override;
  void resolved(const TransactionId& id, const std::string& resource, const Reply& reply) override;
  void finished(const TransactionId& id) override;

 private:
  struct Entry {
    EngineSays says = EngineSays::active;
    std::string last_resource;
    std::string settles;  ///< in doubt: the resource that can settle it, or empty
    std::vector<std::string> done;
    std::map<std::string, std::string> unconfirmed;  ///< evidence by resource; in doubt: what may become so
    std::optional<Outcome> acknowledged;             ///< while it is active: however many others end meanwhile
  };
  static constexpr std::size_t remembered = 10000;
  static constexpr std::size_t spares = 1000;

  /// mutex_ is held.
  bool active(const TransactionId& id) const;
  TransactionId id_of(std::uint64_t sequence, const Entry& entry) const;
  void file(const Outcome& outcome, const Ending& ending);
  void over(const TransactionId& id);
  /// Gives back one that is not remembered any more.
  Outcome remember(Outcome outcome);

  DecisionLog& log_;
  const Incarnation incarnation_;
  Observer& observer_;
  mutable Mutex mutex_;
  Condition ended_;
  using Entries = std::map<std::uint64_t, Entry>;
  Entries entries_;                        ///< by sequence number
  std::vector<Entries::node_type> spare_;  ///< empty entries: their memory, for the next to begin
  std::uint64_t next_ = 1;
  std::unordered_map<std::uint64_t, Outcome> outcomes_;
  std::deque<std::uint64_t> order_;  ///< of outcomes_, oldest first
};

}  // namespace assent::detail
