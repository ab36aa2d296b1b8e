#pragma once

#include <semaphore.h>
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

/// Begins at nothing. Once it is released nothing touches it any more, so that it may go when acquire() returns
/// (glibc's sem_post keeps that since 2.21; neither a condition variable nor the semaphores of C++ promise it).
class Semaphore {
 public:
  Semaphore() { static_cast<void>(sem_init(&semaphore_, 0, 0)); }
  ~Semaphore() { static_cast<void>(sem_destroy(&semaphore_)); }
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  void acquire() {
    while (sem_wait(&semaphore_) != 0) {
      // A signal was handled.
    }
  }
  void release() { static_cast<void>(sem_post(&semaphore_)); }

 private:
  sem_t semaphore_;
};

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
