#pragma once

// Stands before tm/worker_pool.h in the simulator.

#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <utility>

#include "assent/xa/machine.h"

namespace assent::detail {

class WorkerPool {
 public:
  explicit WorkerPool(std::size_t threads) : threads_(threads) {}

  template <class Task>
  void post(Task&& task) {
    tasks_.emplace_back(std::forward<Task>(task));
    if (working_ >= threads_) return;
    ++working_;
    auto& scheduler = *simulation::Scheduler::running;
    scheduler.spawn(scheduler.process(), [this] {
      while (!tasks_.empty()) {
        const std::function<void()> next = std::move(tasks_.front());
        tasks_.pop_front();
        next();
      }
      --working_;
      idle_.notify_all();
    });
  }

  void join() {
    std::unique_lock lock(mutex_);
    idle_.wait(lock, [this] { return working_ == 0 && tasks_.empty(); });
  }

 private:
  const std::size_t threads_;
  std::deque<std::function<void()>> tasks_;
  std::size_t working_ = 0;
  Mutex mutex_;
  Condition idle_;
};

}  // namespace assent::detail
