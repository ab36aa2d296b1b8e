#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <queue>
#include <random>
#include <vector>

#include "assent/tests/simulation/heap.h"

namespace assent::simulation {

/// Virtual time since the world began.
using Time = std::chrono::nanoseconds;
using namespace std::chrono_literals;

/// All chance in a world comes from here.
class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}

  std::uint64_t next();
  /// 0 to below - 1.
  std::uint64_t below(std::uint64_t bound) { return bound == 0 ? 0 : next() % bound; }
  /// True `per_mille` times of 1000.
  bool happens(std::uint64_t per_mille) { return below(1000) < per_mille; }
  Time between(Time low, Time high) {
    return low + Time(static_cast<Time::rep>(below(static_cast<std::uint64_t>((high - low).count()) + 1)));
  }
  template <class T>
  T& one_of(std::vector<T>& all) {
    return all[static_cast<std::size_t>(below(all.size()))];
  }

 private:
  std::uint64_t state_;
};

class Process;
struct Fiber;

/// A thread, as long as it lives.
struct Ticket {
  Fiber* fiber = nullptr;
  std::uint64_t life = 0;
};

/// Runs every thread of every simulated process, one at a time, in virtual time. What happens next is decided by the
/// dice alone, so that a seed always gives the same run.
class Scheduler {
 public:
  explicit Scheduler(Dice& dice);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// The world that runs now; the shadow headers find it here.
  static Scheduler* running;

  Time now() const { return now_; }
  Dice& dice() { return dice_; }
  std::uint64_t steps() const { return steps_; }

  /// Executes `what` at that time from now, on no process's behalf.
  void after(Time delay, std::function<void()> what);
  /// A new thread of the process; it begins a moment later.
  void spawn(Process& process, std::function<void()> what);
  /// Executes what is due until `done` says so, or nothing is left, or the time has come. True: `done` said so.
  bool run(Time until, const std::function<bool()>& done);

  // For the thread that runs.

  Process& process() const;
  Fiber* self() const { return current_; }
  /// Other threads run meanwhile.
  void sleep(Time how_long);
  /// Until wake(), which may come before.
  void park();
  /// Continues a parked thread a moment later.
  void wake(Fiber* fiber);
  Ticket ticket() const;
  /// Without effect when the thread is gone.
  void wake(const Ticket& ticket);

  /// Told when a process ends itself by std::terminate; shall kill it.
  std::function<void(Process&)> on_terminate;

  /// All threads of the process stop where they are, for good, and its memory is gone. Not from one of its own threads.
  void kill(Process& process);

 private:
  struct Due {
    Time at;
    std::uint64_t number;
    Fiber* fiber;
    std::uint64_t life;  // of the fiber, which may have ended since
    std::function<void()>* what;
  };
  struct Later {
    bool operator()(const Due& a, const Due& b) const { return a.at != b.at ? a.at > b.at : a.number > b.number; }
  };

  void due(Time delay, Fiber* fiber, std::function<void()>* what);
  void resume(Fiber& fiber);
  void give_way();
  void end(Fiber& fiber);
  static void enter(void* fiber);
  [[noreturn]] static void terminate();
  Fiber* fresh();

  Dice& dice_;
  Time now_{0};
  std::uint64_t steps_ = 0;
  std::uint64_t next_number_ = 0;
  std::priority_queue<Due, std::vector<Due>, Later> queue_;
  std::deque<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> idle_;
  Fiber* current_ = nullptr;
};

/// A simulated operating-system process: threads and memory. What it has of the world (files, sessions) is the world's.
class Process {
 public:
  explicit Process(std::int64_t pid) : pid_(pid) {}
  std::int64_t pid() const { return pid_; }
  /// Its memory; none once it is dead.
  Heap* heap() { return heap_.get(); }
  /// SIGSTOP until then, and SIGCONT.
  void pause(Time until) { paused_until_ = until; }

 private:
  friend class Scheduler;
  const std::int64_t pid_;
  std::unique_ptr<Heap> heap_ = std::make_unique<Heap>();  // none once it is dead
  std::vector<Fiber*> fibers_;
  Time paused_until_{0};
};

}  // namespace assent::simulation
