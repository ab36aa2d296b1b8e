#include "assent/adapters/mysql/watchdog.h"

#include <algorithm>
#include <new>

namespace assent::mysql {
namespace {

// An interrupt that finds the session idle does nothing: its next statement needs one of its own.
constexpr std::chrono::milliseconds again{100};

}  // namespace

Watchdog::~Watchdog() {
  if (process_.in_child()) {
    // The thread is the parent's; here there is none to join.
    if (thread_.joinable()) new (&thread_) std::thread;
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
}

void Watchdog::arm(std::uint64_t connection_id, TimePoint deadline) {
  {
    const std::lock_guard lock(mutex_);
    watches_[connection_id].next = deadline;
    if (!thread_.joinable()) thread_ = std::thread([this] { watch(); });
  }
  changed_.notify_all();
}

bool Watchdog::disarm(std::uint64_t connection_id) {
  std::unique_lock lock(mutex_);
  const auto found = watches_.find(connection_id);
  if (found == watches_.end()) return false;
  changed_.wait(lock, [&] { return interrupting_ != connection_id; });
  const bool fired = found->second.fired;
  watches_.erase(found);
  return fired;
}

void Watchdog::watch() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const auto first = std::min_element(watches_.begin(), watches_.end(),
                                        [](const auto& a, const auto& b) { return a.second.next < b.second.next; });
    if (first == watches_.end()) {
      changed_.wait(lock);
      continue;
    }
    const TimePoint until = first->second.next;
    if (std::chrono::steady_clock::now() < until) {
      changed_.wait_until(lock, until);
      continue;
    }
    const std::uint64_t id = first->first;
    first->second.fired = true;
    interrupting_ = id;
    lock.unlock();
    interrupt_(id);
    lock.lock();
    interrupting_ = 0;
    // disarm() waits while interrupting, so the watch is still there.
    first->second.next = std::chrono::steady_clock::now() + again;
    changed_.notify_all();
  }
}

}  // namespace assent::mysql
