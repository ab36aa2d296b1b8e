#pragma once

#include <string>
#include <vector>

#include "assent/recovery/resolution.h"
#include "assent/xa/reply.h"
#include "assent/xa/xid.h"

namespace assent {

/// What the engine says of one transaction of its own incarnation.
struct LiveState {
  EngineSays says = EngineSays::over;
  /// Resources of a decided transaction whose branch gave the engine positive evidence already. Recovery does not ask
  /// them again.
  std::vector<std::string> done;
};

/// A branch whose rollback has not been confirmed.
struct UnconfirmedRollback {
  TransactionId transaction;
  std::string resource;
  std::string evidence;  ///< Branch::evidence(), or empty
};

/// The engine, as recovery sees it: the transactions of the live incarnation. Implemented by the engine; thread-safe.
///
/// Recovery calls it from the thread that runs the pass, holding no lock of its own but the one that keeps passes
/// apart: an implementation must not start a pass from inside.
///
/// What the engine owes:
/// - It leaves `active` for `decided` or `over` only after the log holds the decision, and leaves `decided` for `over`
///   only after DecisionLog::finish(). Else a branch could be seen inactive and undecided in between, and be rolled
///   back although it commits.
/// - Once it said `decided`, it keeps its hands off the pending branches of that transaction.
class LiveTransactions {
 public:
  virtual ~LiveTransactions() = default;

  virtual LiveState state(const TransactionId& id) = 0;
  virtual std::vector<UnconfirmedRollback> rollback_unconfirmed() = 0;

  /// A pending branch was settled: `ok` says as decided (committed, or rolled back for good); heuristic_… says that the
  /// database went the other way. At most once for each branch and answer.
  virtual void resolved(const TransactionId& id, const std::string& resource, const Reply& reply) = 0;

  /// Every branch of a decided transaction gave positive evidence, and DecisionLog::finish() has been called: the mark
  /// may pass it.
  virtual void finished(const TransactionId& id) = 0;
};

}  // namespace assent
