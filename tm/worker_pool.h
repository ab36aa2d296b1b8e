#pragma once

#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <cstddef>
#include <utility>

namespace assent::detail {

/// Threads that execute what is posted, in that order. Thread-safe. The simulator has its own
/// (tests/simulation/shadow/assent/tm/worker_pool.h).
class WorkerPool {
 public:
  explicit WorkerPool(std::size_t threads) : threads_(threads) {}

  template <class Task>
  void post(Task&& task) {
    boost::asio::post(threads_, std::forward<Task>(task));
  }

  /// Returns when all that was posted has been executed.
  void join() { threads_.join(); }

 private:
  boost::asio::thread_pool threads_;
};

}  // namespace assent::detail
