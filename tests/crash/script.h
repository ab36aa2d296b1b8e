#pragma once

#include <condition_variable>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "assent/tests/crash/point.h"
#include "assent/tm/observer.h"

namespace assent::testing {

/// A line to whoever started this process; whole, whatever other processes write on the same pipe.
void say(const std::string& line);

/// The worker's observer: says every step when asked, and dies or stops at a point.
class Script : public Observer {
 public:
  enum class Deed {
    die,   ///< SIGKILL to this process
    stop,  ///< says "at point", then waits for the line "go"
  };

  /// The next time the protocol comes to the point. `others`: on how many other resources the same effect is executed.
  void at(const Point& point, std::size_t others, Deed deed);
  void trace(bool on);

  void step(const Step& step) override;
  void needs_person(const TransactionId& id, const std::string& resource, const std::string& why) override;

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool tracing_ = false;
  std::optional<Point> point_;
  std::size_t others_ = 0;
  std::size_t others_done_ = 0;
  bool reached_ = false;
  Deed deed_ = Deed::die;
  std::set<std::string> persons_;
};

}  // namespace assent::testing
