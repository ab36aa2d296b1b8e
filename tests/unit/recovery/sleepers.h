#pragma once

#include <sys/types.h>

#include <algorithm>
#include <cstdint>
#include <fstream>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <vector>

namespace assent::test {

/// How often the thread has gone to sleep (proc(5)), if it sleeps now; 0 if it is gone.
inline std::optional<std::uint64_t> naps(pid_t thread) {
  std::ifstream file("/proc/self/task/" + std::to_string(thread) + "/status");
  std::uint64_t count = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("State:") && line.find('S', line.find(':')) == std::string::npos) return std::nullopt;
    if (line.starts_with("voluntary_ctxt_switches:")) count = std::stoull(line.substr(line.find(':') + 1));
  }
  return count;
}

/// Returns when all of them slept, or were gone, at one and the same moment: two looks at each found it asleep, and in
/// between none had woken. One look would not do: who waits for another's mutex sleeps as well, but soon goes on.
inline void wait_until_asleep(const std::set<pid_t>& threads) {
  const auto look = [&] {
    std::vector<std::optional<std::uint64_t>> seen;
    for (const pid_t thread : threads) seen.push_back(naps(thread));
    return seen;
  };
  for (auto before = look();; std::this_thread::yield()) {
    auto now = look();
    if (now == before && std::find(now.begin(), now.end(), std::nullopt) == now.end()) return;
    before = std::move(now);
  }
}

}  // namespace assent::test
