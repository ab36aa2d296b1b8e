#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <thread>

#include "assent/xa/fork_guard.h"

namespace assent::mysql {

/// Interrupts statements that run past a deadline, from a session of its own: MySQL's max_execution_time bounds reads
/// only. Its thread starts with the first deadline and sleeps while there is none. Thread-safe.
class Watchdog {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  /// Sends KILL QUERY and returns when it was answered.
  using Interrupt = std::function<void(std::uint64_t connection_id)>;

  explicit Watchdog(Interrupt interrupt) : interrupt_(std::move(interrupt)) {}
  ~Watchdog();
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

  /// From `deadline` on, whatever the session runs is interrupted, again and again until disarm().
  void arm(std::uint64_t connection_id, TimePoint deadline);
  /// Waits for an interrupt that is under way. True if there was any: one that came late may still sit on the session
  /// and hit its next statement.
  bool disarm(std::uint64_t connection_id);

 private:
  struct Watch {
    TimePoint next;
    bool fired = false;
  };
  void watch();

  const Interrupt interrupt_;
  const ForkGuard process_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::uint64_t, Watch> watches_;
  std::uint64_t interrupting_ = 0;  ///< 0: nobody
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace assent::mysql
