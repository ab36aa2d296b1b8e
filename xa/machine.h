#pragma once

#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <random>
#include <thread>

namespace assent {

/// What differs from one run to the next: threads, clocks and chance. Recovery and the engine take them from here only,
/// so that the simulator compiles the same sources over its own (tests/simulation/shadow/assent/xa/machine.h).

using Mutex = std::mutex;
using Condition = std::condition_variable;
/// Joined by destruction.
using Thread = std::jthread;

inline std::chrono::steady_clock::time_point steady_now() {
  return std::chrono::steady_clock::now();
}

/// For people only.
inline std::int64_t unix_now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

/// The system's own, not a generator's.
inline std::uint64_t random_bits() {
  static thread_local std::random_device device;
  return static_cast<std::uint64_t>(device()) << 32 | device();
}

inline std::int64_t process_id() {
  return ::getpid();
}

}  // namespace assent
