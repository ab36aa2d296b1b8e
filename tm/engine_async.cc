// Engine, for who has no thread to wait with.
#include <mutex>
#include <optional>
#include <utility>

#include "assent/tm/driver.h"
#include "assent/tm/engine.h"
#include "assent/tm/transaction_state.h"
#include "assent/xa/error.h"

namespace assent::detail {

AsyncThreads& Engine::async_threads() {
  if (AsyncThreads* const made = async_threads_made_) return *made;
  const std::lock_guard lock(async_mutex_);
  if (async_threads_) return *async_threads_;
  try {
    async_threads_ = std::make_unique<AsyncThreads>(threads_);
  } catch (const std::system_error& failure) {
    throw Error(ErrorCode::environment, std::string("no threads for the asynchronous interface: ") + failure.what(),
                "allow this process more threads, or configure fewer");
  }
  async_threads_made_ = async_threads_.get();
  return *async_threads_;
}

void Engine::enter() {
  ++under_way_;
}

void Engine::leave() noexcept {
  for (std::size_t now = under_way_; now > 1;) {
    if (under_way_.compare_exchange_weak(now, now - 1)) return;
  }
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
  ResourceEntry* const last = commit ? missing_last_resource(*state) : nullptr;
  if (last == nullptr) return drive_by_events(state, commit, std::move(then));
  enlist_and_commit(state, *last, std::move(then));
}

void Engine::enlist_and_commit(const std::shared_ptr<TransactionState>& state, ResourceEntry& last,
                               std::function<void(Outcome)> then) noexcept {
  enter();
  StartOptions options;
  options.deadline = state->deadline;
  await_place(*last.manager, options, [=, this, &last](Result<std::shared_ptr<Place>> place) {
    // Not among the works, which may wait for this transaction.
    executor().post([=, this, &last]() mutable {
      if (place) {
        enlist_last_resource(*state, last, std::move(place).value());
      } else {
        no_last_resource(*state, place.failure());
      }
      drive_by_events(state, true, std::move(then));
      leave();
    });
  });
}

namespace {

/// A wait for a place and the alarm that ends it: whichever comes first.
struct Awaited {
  Mutex mutex;
  bool is_placed = false;
  std::optional<Alarm::Id> alarm;
};

}  // namespace

void Engine::await_place(ResourceManager& manager, const StartOptions& options, ResourceManager::Placed then) noexcept {
  const auto awaited = std::make_shared<Awaited>();
  const auto wait = manager.await_place(
      options, [this, awaited, then = std::move(then)](Result<std::shared_ptr<Place>> place) mutable {
        {
          const std::lock_guard lock(awaited->mutex);
          awaited->is_placed = true;
          if (awaited->alarm) async_threads().alarm.cancel(*awaited->alarm);
        }
        std::exchange(then, nullptr)(std::move(place));
      });
  if (!wait) return;
  const Alarm::Id alarm = async_threads().alarm.at(wait->until, wait->give_up);
  const std::lock_guard lock(awaited->mutex);
  if (awaited->is_placed) return async_threads().alarm.cancel(alarm);
  awaited->alarm = alarm;
}

void Engine::drive_by_events(const std::shared_ptr<TransactionState>& state, bool commit,
                             std::function<void(Outcome)> then) noexcept {
  enter();
  // Whoever is answered may let go of it meanwhile.
  const std::shared_ptr<TransactionState> kept = state;  // NOLINT(performance-unnecessary-copy-initialization)
  state->driver.emplace(*this, *state).run_by_events(commit, commit && may_go_behind(*state), std::move(then));
}

void Engine::abandon(const std::shared_ptr<TransactionState>& state) {
  if (state->over) return;
  {
    const std::lock_guard lock(state->mutex);
    if (state->over.exchange(true)) return;
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
