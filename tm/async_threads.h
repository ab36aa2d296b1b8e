#pragma once

#include <cstddef>

#include "assent/tm/alarm.h"
#include "assent/tm/worker_pool.h"

namespace assent::detail {

/// The threads that only the asynchronous interface needs; made with its first use.
struct AsyncThreads {
  explicit AsyncThreads(std::size_t threads) : workers(threads) {}

  /// For the application's work, which may wait for any other transaction, also for one that is about to prepare on
  /// Engine::executor(), and for that one's phase two on Engine::finisher().
  WorkerPool workers;
  /// For the log: waits for the disk only, so that no database keeps a decision from being written.
  WorkerPool writer{1};
  Alarm alarm;
};

}  // namespace assent::detail
