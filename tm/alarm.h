#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <utility>

#include "assent/xa/machine.h"

namespace assent::detail {

/// Calls back when a time has come, on a thread of its own: what is called must not block. Destruction forgets what has
/// not come. Thread-safe.
class Alarm {
 public:
  using Time = std::chrono::steady_clock::time_point;
  using Id = std::pair<Time, std::uint64_t>;

  Alarm();
  ~Alarm();
  Alarm(const Alarm&) = delete;
  Alarm& operator=(const Alarm&) = delete;

  Id at(Time when, std::function<void()> what);
  /// Without effect when it has been called, or is being called now.
  void cancel(const Id& id);

 private:
  void run();

  Mutex mutex_;
  Condition changed_;
  std::map<Id, std::function<void()>> calls_;
  std::uint64_t next_ = 0;
  bool stopping_ = false;
  Thread thread_;  ///< last: it uses the rest
};

}  // namespace assent::detail
