#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "assent/xa/reply.h"
#include "assent/xa/xid.h"

namespace assent {

/// When commit() answers its caller.
enum class AckAt {
  finished,  ///< when phase two has been tried everywhere
  decided,  ///< when the decision is durable: phase two goes on behind. What the transaction wrote may not be seen yet,
            ///< and its locks not be free, in any database. The rest, such as rollback, one-phase commit, and branches
            ///< on a connection of the application's own, answers as `finished` does.
};

enum class OutcomeKind {
  committed,  ///< every branch is committed, or will be: branches that are `pending` are finished behind or by recovery
  rolled_back,  ///< nothing happened; safe to try again
  in_doubt,     ///< not yet known; never try again; ask TransactionManager::outcome(id) later
  heuristic,    ///< a resource broke ranks; a person must look: `assent explain <id>`
};

std::string_view to_string(OutcomeKind kind);

/// What became of one branch.
struct BranchOutcome {
  std::string resource;
  std::string state;  ///< "committed", "rolled back", "read only", "pending", "rollback unconfirmed", "heuristic", …
  Reply reply;        ///< the last answer of the resource
};

/// The end of a transaction; must be looked at. A value: copy and keep it as you like, which costs no memory.
/// Thread-safe as an int is.
class [[nodiscard]] Outcome {
 public:
  /// Of no transaction, and never of one: what Asio hands over beside an exception.
  Outcome() = default;
  Outcome(OutcomeKind kind, TransactionId id, std::string reason, Reply cause, std::vector<BranchOutcome> branches)
      : told_(std::make_shared<const Told>(kind, std::move(id), std::move(reason), std::move(cause),
                                           std::move(branches))) {}

  OutcomeKind kind() const { return told().kind; }
  bool committed() const { return kind() == OutcomeKind::committed; }
  const TransactionId& id() const { return told().id; }
  /// Why it is not committed, in one sentence; empty when it is.
  const std::string& reason() const { return told().reason; }
  /// The answer that made it so; ok when there is none.
  const Reply& cause() const { return told().cause; }
  const std::vector<BranchOutcome>& branches() const { return told().branches; }
  /// Resources whose branch is decided but not yet finished.
  std::vector<std::string> pending() const;
  /// True when the same work may be tried again with hope: rolled back by a deadlock, a serialization failure or such.
  bool worth_retrying() const;

  /// "committed l-…-42 (ledger: committed, shop: pending)"
  std::string text() const;

 private:
  struct Told {
    Told() = default;
    Told(OutcomeKind its_kind, TransactionId&& its_id, std::string&& its_reason, Reply&& its_cause,
         std::vector<BranchOutcome>&& its_branches)
        : kind(its_kind),
          id(std::move(its_id)),
          reason(std::move(its_reason)),
          cause(std::move(its_cause)),
          branches(std::move(its_branches)) {}

    OutcomeKind kind = OutcomeKind::in_doubt;
    TransactionId id;
    std::string reason;
    Reply cause;
    std::vector<BranchOutcome> branches;
  };
  const Told& told() const { return told_ ? *told_ : of_none(); }
  static const Told& of_none();

  std::shared_ptr<const Told> told_;  ///< null: of no transaction, or moved from
};

}  // namespace assent
