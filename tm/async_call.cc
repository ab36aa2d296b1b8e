#include "assent/tm/async_call.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <mutex>

#include "assent/tm/engine.h"
#include "assent/tm/transaction_state.h"
#include "assent/xa/machine.h"

namespace assent::detail {
namespace {

/// False also where that is not known yet; where it begins, its work looks again.
bool keeps_to_its_thread(const ResourceEntry& entry) {
  return entry.is_admitted && entry.admitted->session_bound_to_thread;
}

}  // namespace

/// One work: waits for a place, then for a worker, and works; on what answers at once it only works. It does not keep
/// the engine alive, which waits for it (Engine::leave): were it the last who does, the engine would end in one of its
/// own threads.
class AsyncCall::Errand : public std::enable_shared_from_this<Errand> {
 public:
  Errand(Engine& engine, std::shared_ptr<TransactionState> state, std::shared_ptr<ResourceManager> manager,
         const BranchOptions& options, AsyncCall::Work work, Done done)
      : engine_(engine),
        state_(std::move(state)),
        manager_(std::move(manager)),
        options_(options),
        work_(std::move(work)),
        done_(std::move(done)),
        begun_(engine_.is_observed() ? steady_now() : decltype(begun_)()) {}

  /// From here on it is the engine's: a process without memory ends.
  void begin(const ResourceEntry& entry) noexcept {
    // No session to wait for, and nothing in the session to wait for either.
    if (entry.is_admitted && entry.admitted->answers_at_once) return run(nullptr);
    if (has_branch(entry)) return placed(std::shared_ptr<Place>());
    engine_.await_place(
        *manager_, {.deadline = state_->deadline, .isolation = options_.isolation, .read_only = options_.read_only},
        [self = shared_from_this()](Result<std::shared_ptr<Place>> place) { self->placed(std::move(place)); });
  }

 private:
  bool has_branch(const ResourceEntry& entry) const {
    const std::lock_guard lock(state_->mutex);
    return std::ranges::any_of(state_->branches, [&](const Enlisted& each) { return each.resource == &entry; });
  }

  /// By whoever gave a session back, or by the alarm.
  void placed(Result<std::shared_ptr<Place>> place) {
    if (!place) return end(failure_of([&](Transaction& lent) { lent.no_branch(*manager_, place.failure()); }));
    engine_.async_threads().workers.post(
        [self = shared_from_this(), kept = std::move(place).value()]() mutable { self->run(std::move(kept)); });
  }

  void run(std::shared_ptr<Place> place) {
    end(failure_of([&](Transaction& lent) { work(lent, std::move(place)); }));
  }

  void work(Transaction& lent, std::shared_ptr<Place> place) {
    const auto start = [&](const Xid& xid, const StartOptions& options) -> Result<std::unique_ptr<Branch>> {
      if (keeps_to_its_thread(*engine_.entry(*manager_))) {
        return Reply::not_done(Code::invalid, "its sessions keep to their threads: on() works there");
      }
      StartOptions with_place = options;
      with_place.place = std::move(place);
      return manager_->start(xid, with_place);
    };
    Branch& branch = lent.enlist_with(manager_, options_, false, std::ref(start), begun_);
    work_(lent, branch);
  }

  /// What it throws. The transaction is lent: nothing that was thrown away with it is rolled back.
  template <class What>
  std::exception_ptr failure_of(What what) {
    Transaction lent({std::shared_ptr<void>(), &engine_}, state_);
    std::exception_ptr failure;
    try {
      what(lent);
    } catch (...) {
      failure = std::current_exception();
    }
    lent.state_.reset();
    return failure;
  }

  void end(std::exception_ptr failure) noexcept {
    engine_.work_ended(state_);
    work_ = nullptr;
    state_.reset();
    manager_.reset();
    std::exchange(done_, nullptr)(std::move(failure));
    engine_.leave();
  }

  Engine& engine_;
  std::shared_ptr<TransactionState> state_;
  std::shared_ptr<ResourceManager> manager_;
  const BranchOptions options_;
  AsyncCall::Work work_;
  Done done_;
  const std::chrono::steady_clock::time_point begun_;
};

void AsyncCall::complete(bool commit, std::function<void(Outcome)> then) const {
  const std::shared_ptr<Engine> engine = engine_;  // whoever is answered may let go of this call, and of the engine
  engine->refuse_in_child();
  static_cast<void>(engine->async_threads());  // or an Error, while nothing has begun
  engine->complete_then(state_, commit, std::move(then));
}

void AsyncCall::work(std::shared_ptr<ResourceManager> manager, const BranchOptions& options, Work work,
                     Done done) const {
  engine_->refuse_in_child();
  static_cast<void>(engine_->async_threads());  // or an Error, while nothing has begun
  ResourceEntry* const entry = engine_->entry(*manager);
  if (entry == nullptr) {
    throw Error(ErrorCode::misuse, "resource '" + manager->name() + "' belongs to another transaction manager",
                "use a handle from the manager that began the transaction");
  }
  if (keeps_to_its_thread(*entry)) {
    throw Error(ErrorCode::misuse, "the sessions of '" + manager->name() + "' keep to their threads",
                "work on it with on()");
  }
  const auto errand =
      std::make_shared<Errand>(*engine_, state_, std::move(manager), options, std::move(work), std::move(done));
  const std::shared_ptr<Engine> engine = engine_;  // whoever is answered may let go of this call, and of the engine
  engine->work_begins(*state_);
  errand->begin(*entry);
}

}  // namespace assent::detail
