#include "assent/tm/alarm.h"

namespace assent::detail {

Alarm::Alarm() : thread_([this] { run(); }) {}

Alarm::~Alarm() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

Alarm::Id Alarm::at(Time when, std::function<void()> what) {
  const std::lock_guard lock(mutex_);
  const Id id{when, next_++};
  const auto place = calls_.emplace(id, std::move(what)).first;
  if (place == calls_.begin()) changed_.notify_all();
  return id;
}

void Alarm::cancel(const Id& id) {
  std::function<void()> forgotten;  // what it holds is let go outside of the lock
  const std::lock_guard lock(mutex_);
  if (const auto found = calls_.find(id); found != calls_.end()) {
    forgotten = std::move(found->second);
    calls_.erase(found);
  }
}

void Alarm::run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    if (calls_.empty()) {
      changed_.wait(lock, [this] { return stopping_ || !calls_.empty(); });
      continue;
    }
    const Id first = calls_.begin()->first;
    if (const auto left = first.first - steady_now(); left > left.zero()) {
      changed_.wait_for(lock, left, [&] { return stopping_ || calls_.empty() || calls_.begin()->first != first; });
      continue;
    }
    const std::function<void()> what = std::move(calls_.begin()->second);
    calls_.erase(calls_.begin());
    lock.unlock();
    what();
    lock.lock();
  }
}

}  // namespace assent::detail
