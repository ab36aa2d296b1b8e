#include "assent/tm/transaction.h"

#include <chrono>
#include <mutex>
#include <utility>

#include "assent/recovery/decision.h"
#include "assent/tm/async_call.h"
#include "assent/tm/engine.h"
#include "assent/tm/transaction_state.h"
#include "assent/xa/machine.h"

namespace assent {
namespace {

ErrorCode error_code(const Reply& reply) {
  if (reply.code == Code::rb_timeout) return ErrorCode::too_late;
  return reply.code == Code::resource_failed ? ErrorCode::resource_down : ErrorCode::resource_unfit;
}

}  // namespace

Transaction::Transaction(std::shared_ptr<detail::Engine> engine, std::shared_ptr<detail::TransactionState> state)
    : engine_(std::move(engine)), state_(std::move(state)) {}

Transaction::Transaction(Transaction&&) noexcept = default;

Transaction& Transaction::operator=(Transaction&& other) noexcept {
  if (this != &other) {
    Transaction old(std::move(*this));
    engine_ = std::move(other.engine_);
    state_ = std::move(other.state_);
  }
  return *this;
}

Transaction::~Transaction() {
  if (!state_) return;
  try {
    engine_->refuse_in_child();
  } catch (const Error&) {
    // The branches are the parent's: neither rolled back nor closed here, but leaked.
    // NOLINTNEXTLINE(bugprone-unhandled-exception-at-new): a process without memory ends
    static_cast<void>(new std::shared_ptr<detail::TransactionState>(std::move(state_)));
    return;
  }
  engine_->abandon(state_);
}

const TransactionId& Transaction::id() const {
  return state_->id;
}

void Transaction::set_rollback_only(const std::string& reason) {
  const std::lock_guard lock(state_->mutex);
  if (state_->rollback_only) return;
  state_->rollback_only = true;
  state_->rollback_reason = reason;
}

void Transaction::work_failed(const std::exception* failure, Code code) {
  set_rollback_only(failure == nullptr ? "the work threw" : std::string("the work threw: ") + failure->what());
  const std::lock_guard lock(state_->mutex);
  if (state_->rollback_cause.is_ok()) {
    state_->rollback_cause = Reply::not_done(code, failure == nullptr ? "" : failure->what());
  }
}

Branch& Transaction::enlist(const std::shared_ptr<ResourceManager>& manager,
                            const std::optional<BranchOptions>& options) {
  return enlist_with(manager, options.value_or(BranchOptions{}), false,
                     [&](const Xid& xid, const StartOptions& start) { return manager->start(xid, start); });
}

Branch& Transaction::enlist_with(const std::shared_ptr<ResourceManager>& manager, const BranchOptions& options,
                                 bool borrowed, const Starter& starter, std::optional<TimePoint> waits_since) {
  engine_->refuse_in_child();
  const auto throw_and_doom = [&](ErrorCode code, const std::string& what, const std::string& hint) {
    set_rollback_only(what);
    throw Error(code, what, hint);
  };
  detail::ResourceEntry* entry = engine_->entry(*manager);
  if (entry == nullptr) {
    throw Error(ErrorCode::misuse, "resource '" + manager->name() + "' belongs to another transaction manager",
                "use a handle from the manager that began the transaction");
  }
  Branch* known = nullptr;
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->over) {
      throw Error(ErrorCode::misuse, "transaction " + state_->id.text() + " is over", "begin another one");
    }
    for (const detail::Enlisted& each : state_->branches) {
      if (each.resource == entry) known = each.branch.get();
    }
    if (known == nullptr) refuse_more_branches();
  }
  if (state_->deadline && steady_now() >= *state_->deadline) {
    throw_and_doom(ErrorCode::too_late, "the deadline of transaction " + state_->id.text() + " has passed",
                   "nothing was committed; begin again, with more time");
  }
  if (known != nullptr) {
    if (state_->deadline) {
      // Some databases bound each statement by what was left when they were last told.
      const Reply told = known->set_deadline(state_->deadline);
      if (!told.is_ok()) {
        throw_and_doom(error_code(told), "resource '" + manager->name() + "' took no deadline: " + describe(told),
                       "nothing was committed; begin again");
      }
    }
    return *known;
  }
  try {
    engine_->admit(*entry);
    if (entry == state_->last_resource) engine_->check_last_resource(*entry, options.read_only);
  } catch (const Error& error) {
    set_rollback_only(error.what());
    throw;
  }
  const bool is_observed = engine_->is_observed();
  const auto begun = waits_since ? *waits_since : is_observed ? steady_now() : TimePoint();
  Result<std::unique_ptr<Branch>> started =
      starter(Xid::of(state_->id, entry->manager->name()),
              {.deadline = state_->deadline, .isolation = options.isolation, .read_only = options.read_only});
  if (!started) {
    no_branch(*manager, started.failure());
  }
  if (is_observed) engine_->observer().branch_started(manager->name(), steady_now() - begun);
  const std::lock_guard lock(state_->mutex);
  // Other threads may have opened theirs meanwhile. Its destructor rolls this one back.
  refuse_more_branches();
  state_->branches.push_back({entry, options.read_only, borrowed, std::move(started).value()});
  return *state_->branches.back().branch;
}

/// Its mutex is held.
void Transaction::refuse_more_branches() const {
  if (state_->branches.size() < Decision::max_branches) return;
  throw Error(ErrorCode::misuse, "a transaction has at most 64 branches", "split the work");
}

void Transaction::no_branch(const ResourceManager& manager, const Reply& reply) {
  const std::string what = "resource '" + manager.name() + "' opened no branch: " + describe(reply);
  set_rollback_only(what);
  {
    const std::lock_guard lock(state_->mutex);
    if (state_->rollback_cause.is_ok()) state_->rollback_cause = reply;
  }
  throw Error(error_code(reply), what,
              "nothing was committed; `assent doctor` tells what is wrong with " + manager.address());
}

detail::AsyncCall Transaction::async_call() const {
  return {engine_, state_};
}

Outcome Transaction::commit() {
  engine_->refuse_in_child();
  return engine_->complete(state_, true);
}

Outcome Transaction::rollback() {
  engine_->refuse_in_child();
  return engine_->complete(state_, false);
}

}  // namespace assent
