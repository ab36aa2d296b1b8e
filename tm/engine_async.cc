// Engine, for who has no thread to wait with.
#include <utility>

#include "assent/tm/driver.h"
#include "assent/tm/engine.h"
#include "assent/xa/error.h"

namespace assent::detail {

AsyncThreads& Engine::async_threads() {
  const std::lock_guard lock(async_mutex_);
  if (!async_threads_) async_threads_ = std::make_unique<AsyncThreads>(threads_);
  return *async_threads_;
}

void Engine::enter() {
  const std::lock_guard lock(async_mutex_);
  ++under_way_;
}

void Engine::leave() noexcept {
  const std::lock_guard lock(async_mutex_);
  // Told under the lock: without it the engine may be gone before the words are out.
  if (--under_way_ == 0) nothing_under_way_.notify_all();
}

void Engine::complete_then(const std::shared_ptr<TransactionState>& state, bool commit,
                           std::function<void(Outcome)> then) {
  {
    const std::lock_guard lock(state->mutex);
    for (const Enlisted& branch : state->branches) {
      if (!branch.resource->admitted->session_bound_to_thread) continue;
      throw Error(ErrorCode::misuse, "a session of '" + branch.resource->manager->name() + "' keeps to its thread",
                  "complete the transaction with commit() or rollback(), there");
    }
  }
  claim(*state);
  drive_by_events(state, commit, std::move(then));
}

void Engine::drive_by_events(const std::shared_ptr<TransactionState>& state, bool commit,
                             std::function<void(Outcome)> then) noexcept {
  enter();
  const auto driver = std::make_shared<Driver>(*this, state);
  driver->run_by_events(commit, commit && may_go_behind(*state), std::move(then));
}

void Engine::abandon(const std::shared_ptr<TransactionState>& state) {
  {
    const std::lock_guard lock(state->mutex);
    if (std::exchange(state->over, true)) return;
    if (state->works > 0) {
      state->is_abandoned = true;
      return;
    }
  }
  if (state->was_async) return drive_by_events(state, false, nullptr);
  static_cast<void>(drive(state, false));
}

void Engine::work_begins(TransactionState& state) {
  const std::lock_guard lock(state.mutex);
  if (state.over) throw Error(ErrorCode::misuse, "transaction " + state.id.text() + " is over", "begin another one");
  ++state.works;
  state.was_async = true;
  enter();
}

void Engine::work_ended(const std::shared_ptr<TransactionState>& state) noexcept {
  {
    const std::lock_guard lock(state->mutex);
    if (--state->works > 0 || !state->is_abandoned) return;
  }
  drive_by_events(state, false, nullptr);
}

}  // namespace assent::detail
