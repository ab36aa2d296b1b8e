#include "assent/tests/simulation/trace.h"

#include <cstdio>

namespace assent::simulation {

void Trace::say(Time now, std::string_view who, const std::string& what) {
  mix(static_cast<std::uint64_t>(now.count()));
  mix(what.size());
  if (keep_) tell(now, who, what);
}

void Trace::tell(Time now, std::string_view who, const std::string& what) {
  const InTheWorld world;
  char time[32];
  std::snprintf(time, sizeof time, "%10.6f  ", static_cast<double>(now.count()) / 1e9);
  std::string line = time;
  line += who;
  line.resize(std::max<std::size_t>(line.size() + 2, 28), ' ');
  line += what;
  lines_.push_back(std::move(line));
}

}  // namespace assent::simulation
