#pragma once

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "assent/xa/fork_guard.h"
#include "assent/xa/reply.h"

namespace assent {

/// A bounded pool of database sessions. A session comes back only by give_back(), which its user calls when the session
/// is provably idle; every other end of a Lease closes it. Thread-safe; must outlive its leases. In a forked child the
/// parent's sessions are leaked, not closed.
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

  /// A session, or resource_failed: none became free in time, or none could be opened.
  Result<Lease> take(std::optional<TimePoint> deadline = std::nullopt) {
    const TimePoint until = deadline.value_or(std::chrono::steady_clock::now() + options_.wait);
    std::unique_lock lock(mutex_);
    if (!freed_.wait_until(lock, until, [&] { return in_use_ < options_.max_sessions; })) {
      return Reply::not_done(
          Code::resource_failed,
          "no session became free in time: all " + std::to_string(options_.max_sessions) + " of the pool are in use");
    }
    ++in_use_;
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

  void put(std::unique_ptr<Session> session) {
    {
      const std::lock_guard lock(mutex_);
      idle_.push_back({std::move(session), std::chrono::steady_clock::now()});
      --in_use_;
    }
    freed_.notify_one();
  }
  void drop(std::unique_ptr<Session> session) {
    close(std::move(session));
    release();
  }
  void release() {
    {
      const std::lock_guard lock(mutex_);
      --in_use_;
    }
    freed_.notify_one();
  }
  void close(std::unique_ptr<Session> session) {
    if (process_.in_child()) static_cast<void>(session.release());
  }

  const Options options_;
  const Open open_;
  const Validate validate_;
  const ForkGuard process_;
  std::mutex mutex_;
  std::condition_variable freed_;
  std::vector<Idle> idle_;
  std::size_t in_use_ = 0;
};

}  // namespace assent
