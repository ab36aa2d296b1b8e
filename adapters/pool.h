#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "assent/xa/fork_guard.h"
#include "assent/xa/reply.h"
#include "assent/xa/resource_manager.h"

namespace assent {

/// A bounded pool of database sessions. A session comes back only by give_back(), which its user calls when the session
/// is provably idle; every other end of a Lease closes it. Who comes when all are in use waits in one queue, with a
/// thread (take) or without (await_place). Thread-safe; must outlive its leases, places and waits. In a forked child
/// the parent's sessions are leaked, not closed.
template <class Session>
class Pool {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct Options {
    std::size_t max_sessions = 16;
    std::chrono::milliseconds wait{5000};   ///< longest wait when the caller has no deadline
    std::chrono::milliseconds trust{1000};  ///< an idle session older than this is validated before use
  };
  /// Opens a session: may take a round trip or fail. Validate: true if the session is alive and idle.
  using Open = std::function<Result<std::unique_ptr<Session>>()>;
  using Validate = std::function<bool(Session&)>;

  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept : pool_(std::exchange(other.pool_, nullptr)), session_(std::move(other.session_)) {}
    Lease& operator=(Lease&& other) noexcept {
      if (this != &other) {
        discard();
        pool_ = std::exchange(other.pool_, nullptr);
        session_ = std::move(other.session_);
      }
      return *this;
    }
    ~Lease() { discard(); }

    explicit operator bool() const { return session_ != nullptr; }
    Session& operator*() const { return *session_; }
    Session* operator->() const { return session_.get(); }

    /// The session is idle, proven by its user: the next one may have it.
    void give_back() {
      if (pool_ != nullptr) std::exchange(pool_, nullptr)->put(std::move(session_));
    }
    /// Closes the session.
    void discard() {
      if (pool_ != nullptr) std::exchange(pool_, nullptr)->drop(std::move(session_));
    }

   private:
    friend class Pool;
    Lease(Pool* pool, std::unique_ptr<Session> session) : pool_(pool), session_(std::move(session)) {}
    Pool* pool_ = nullptr;
    std::unique_ptr<Session> session_;
  };

  Pool(Options options, Open open, Validate validate)
      : options_(options), open_(std::move(open)), validate_(std::move(validate)) {}
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  ~Pool() {
    for (auto& idle : idle_) close(std::move(idle.session));
  }

  /// A session, or resource_failed: none became free in time, or none could be opened. Does not wait with a place of
  /// await_place(), which is then used up.
  Result<Lease> take(std::optional<TimePoint> deadline = std::nullopt, const std::shared_ptr<Place>& place = nullptr) {
    std::unique_lock lock(mutex_);
    auto* const kept = dynamic_cast<Kept*>(place.get());
    if (kept != nullptr && kept->pool == this) {
      kept->pool = nullptr;
    } else if (!wait_for_room(lock, until(deadline))) {
      return no_room();
    }
    while (!idle_.empty()) {
      Idle idle = std::move(idle_.back());
      idle_.pop_back();
      lock.unlock();
      if (std::chrono::steady_clock::now() - idle.since < options_.trust || validate_(*idle.session)) {
        return Lease(this, std::move(idle.session));
      }
      close(std::move(idle.session));
      lock.lock();
    }
    lock.unlock();
    Result<std::unique_ptr<Session>> opened = open_();
    if (!opened) {
      release();
      return opened.failure();
    }
    return Lease(this, std::move(opened).value());
  }

  /// ResourceManager::await_place().
  // NOLINTNEXTLINE(performance-unnecessary-value-param): it is moved, which clang-tidy does not see in a template
  std::optional<PlaceWait> await_place(std::optional<TimePoint> deadline, ResourceManager::Placed then) {
    auto place = std::make_shared<Kept>();
    {
      const std::lock_guard lock(mutex_);
      if (in_use_ == options_.max_sessions) {
        auto waiter = std::make_shared<Waiter>();
        waiter->place = std::move(place);
        waiter->then = std::move(then);
        waiting_.push_back(waiter);
        return PlaceWait{until(deadline), [this, waiter] { give_up(waiter); }};
      }
      ++in_use_;
      place->pool = this;
    }
    then(std::shared_ptr<Place>(std::move(place)));
    return std::nullopt;
  }

  /// Closes what is idle now (after a server restart every idle session is dead).
  void clear() {
    std::vector<Idle> idle;
    {
      const std::lock_guard lock(mutex_);
      idle.swap(idle_);
    }
    for (auto& each : idle) close(std::move(each.session));
  }

 private:
  struct Idle {
    std::unique_ptr<Session> session;
    TimePoint since;
  };

  /// A part of in_use_, until it is used or given back.
  struct Kept final : Place {
    ~Kept() override {
      if (pool != nullptr) pool->release();
    }
    Pool* pool = nullptr;
  };
  struct Waiter {
    bool has_room = false;
    std::condition_variable turn;  ///< of the thread, where one waits
    std::shared_ptr<Kept> place;   ///< else
    ResourceManager::Placed then;
  };

  TimePoint until(std::optional<TimePoint> deadline) const {
    return deadline.value_or(std::chrono::steady_clock::now() + options_.wait);
  }
  Reply no_room() const {
    return Reply::not_done(
        Code::resource_failed,
        "no session became free in time: all " + std::to_string(options_.max_sessions) + " of the pool are in use");
  }
  /// False: there was none in time. Else in_use_ counts the caller.
  bool wait_for_room(std::unique_lock<std::mutex>& lock, TimePoint at_most) {
    if (in_use_ < options_.max_sessions) {
      ++in_use_;
      return true;
    }
    const auto me = std::make_shared<Waiter>();
    waiting_.push_back(me);
    if (me->turn.wait_until(lock, at_most, [&] { return me->has_room; })) return true;
    waiting_.remove(me);
    return false;
  }
  void give_up(const std::shared_ptr<Waiter>& waiter) {
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.remove(waiter) == 0) return;
    }
    std::exchange(waiter->then, nullptr)(no_room());
  }

  void put(std::unique_ptr<Session> session) {
    {
      const std::lock_guard lock(mutex_);
      idle_.push_back({std::move(session), std::chrono::steady_clock::now()});
    }
    release();
  }
  void drop(std::unique_ptr<Session> session) {
    close(std::move(session));
    release();
  }
  /// A place is free: who waits longest has it at once, so that nobody who comes now is before him.
  void release() {
    std::shared_ptr<Waiter> next;
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.empty()) {
        --in_use_;
        return;
      }
      next = std::move(waiting_.front());
      waiting_.pop_front();
      next->has_room = true;
      if (next->then == nullptr) return next->turn.notify_one();
      next->place->pool = this;
    }
    std::exchange(next->then, nullptr)(std::shared_ptr<Place>(std::move(next->place)));
  }
  void close(std::unique_ptr<Session> session) {
    if (process_.in_child()) static_cast<void>(session.release());
  }

  const Options options_;
  const Open open_;
  const Validate validate_;
  const ForkGuard process_;
  std::mutex mutex_;
  std::vector<Idle> idle_;
  std::size_t in_use_ = 0;
  std::list<std::shared_ptr<Waiter>> waiting_;  ///< only while all are in use
};

}  // namespace assent
