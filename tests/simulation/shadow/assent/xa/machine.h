#pragma once

// Stands before xa/machine.h when recovery and engine are compiled for the simulator: the same names, over its
// scheduler, its clock and its dice.

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include "assent/tests/simulation/scheduler.h"

namespace assent {

class Mutex {
 public:
  void lock() {
    auto& scheduler = *simulation::Scheduler::running;
    while (held_) {
      waiting_.push_back(scheduler.self());
      scheduler.park();
      // Whoever wakes for another reason must not take a wake-up that is meant for the next.
      std::erase(waiting_, scheduler.self());
    }
    held_ = true;
  }
  bool try_lock() { return !std::exchange(held_, true); }
  void unlock() {
    held_ = false;
    if (waiting_.empty()) return;
    simulation::Fiber* const next = waiting_.front();
    waiting_.erase(waiting_.begin());
    simulation::Scheduler::running->wake(next);
  }

 private:
  bool held_ = false;
  std::vector<simulation::Fiber*> waiting_;
};

class Condition {
 public:
  void wait(std::unique_lock<Mutex>& lock) {
    auto& scheduler = *simulation::Scheduler::running;
    waiting_.push_back(scheduler.self());
    lock.unlock();
    scheduler.park();
    std::erase(waiting_, scheduler.self());
    lock.lock();
  }
  template <class Done>
  void wait(std::unique_lock<Mutex>& lock, Done done) {
    while (!done()) wait(lock);
  }
  template <class Duration, class Done>
  bool wait_for(std::unique_lock<Mutex>& lock, Duration how_long, Done done) {
    auto& scheduler = *simulation::Scheduler::running;
    const simulation::Time until = scheduler.now() + how_long;
    while (!done()) {
      if (scheduler.now() >= until) return false;
      // A thread that sleeps is not in waiting_: it looks often enough by itself, and a notification finds it awake.
      lock.unlock();
      scheduler.sleep(std::min<simulation::Time>(until - scheduler.now(), std::chrono::milliseconds(50)));
      lock.lock();
    }
    return true;
  }
  void notify_one() {
    if (waiting_.empty()) return;
    simulation::Fiber* const next = waiting_.front();
    waiting_.erase(waiting_.begin());
    simulation::Scheduler::running->wake(next);
  }
  void notify_all() {
    while (!waiting_.empty()) notify_one();
  }

 private:
  std::vector<simulation::Fiber*> waiting_;
};

/// For one that waits.
class Semaphore {
 public:
  void acquire() {
    auto& scheduler = *simulation::Scheduler::running;
    waiting_ = scheduler.self();
    while (released_ == 0) scheduler.park();
    --released_;
  }
  void release() {
    ++released_;
    if (waiting_ != nullptr) simulation::Scheduler::running->wake(waiting_);
  }

 private:
  int released_ = 0;
  simulation::Fiber* waiting_ = nullptr;
};

class Thread {
 public:
  Thread() = default;
  explicit Thread(std::function<void()> work) : state_(new State) {
    auto& scheduler = *simulation::Scheduler::running;
    scheduler.spawn(scheduler.process(), [state = state_, task = std::move(work)] {
      task();
      state->done = true;
      if (state->joining != nullptr) simulation::Scheduler::running->wake(state->joining);
    });
  }
  Thread(Thread&& other) noexcept : state_(std::exchange(other.state_, nullptr)) {}
  Thread& operator=(Thread&& other) noexcept {
    if (joinable()) join();
    state_ = std::exchange(other.state_, nullptr);
    return *this;
  }
  ~Thread() {
    if (joinable()) join();
  }
  bool joinable() const { return state_ != nullptr; }
  void join() {
    auto& scheduler = *simulation::Scheduler::running;
    state_->joining = scheduler.self();
    while (!state_->done) scheduler.park();
    delete std::exchange(state_, nullptr);
  }

 private:
  struct State {
    bool done = false;
    simulation::Fiber* joining = nullptr;
  };
  State* state_ = nullptr;
};

inline std::chrono::steady_clock::time_point steady_now() {
  return std::chrono::steady_clock::time_point(simulation::Scheduler::running->now());
}

inline std::int64_t unix_now_ms() {
  return 1'600'000'000'000 +
         std::chrono::duration_cast<std::chrono::milliseconds>(simulation::Scheduler::running->now()).count();
}

inline std::uint64_t random_bits() {
  return simulation::Scheduler::running->dice().next();
}

inline std::int64_t process_id() {
  return simulation::Scheduler::running->process().pid();
}

}  // namespace assent
