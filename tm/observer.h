#pragma once

#include <chrono>
#include <string>
#include <string_view>

#include "assent/tm/outcome.h"

namespace assent {

/// One effect of the commit protocol, about to be executed or just executed. The views live during the call.
struct Step {
  const TransactionId& id;
  std::string_view verb;      ///< "prepare", "force", "commit", "rollback", "commit one phase", "settle"
  std::string_view resource;  ///< empty for "force"
  bool executed = false;
};

/// Told what happens, for logs and metrics. Called from the committing thread, the recovery thread, or one that
/// finishes a transaction behind its caller (AckAt::decided, tm/async.h), several at once: must be thread-safe, quick,
/// and must not throw. Lives as long as the TransactionManager.
class Observer {
 public:
  virtual ~Observer() = default;
  /// Every effect of the protocol, before and after: for traces, and for tests that crash there.
  virtual void step(const Step& /*step*/) {}
  /// The decision to commit is durable; phase two begins.
  virtual void decided(const TransactionId& /*id*/) {}
  virtual void in_doubt(const Outcome& /*outcome*/) {}
  virtual void heuristic(const Outcome& /*outcome*/) {}
  /// Recovery finished a branch that was pending, unconfirmed or left by a crash.
  virtual void resolved(const TransactionId& /*id*/, const std::string& /*resource*/, const Reply& /*reply*/) {}
  /// Recovery found what only a person can settle. Told once for a branch, and again when `why` changes.
  virtual void needs_person(const TransactionId& /*id*/, const std::string& /*resource*/, const std::string& /*why*/) {}
  /// A branch was opened; `waited` is the time until a session was there and the branch had begun.
  virtual void branch_started(const std::string& /*resource*/, std::chrono::nanoseconds /*waited*/) {}
  /// The log refuses decisions; says why.
  virtual void log_stalled(const std::string& /*why*/) {}
};

}  // namespace assent
