#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <string>

#include "assent/tests/simulation/world.h"

namespace assent::simulation {
namespace {

std::string output_of(const std::string& command) {
  std::string out;
  FILE* const pipe = popen(command.c_str(), "r");
  std::array<char, 4096> buffer{};
  while (const std::size_t count = fread(buffer.data(), 1, buffer.size(), pipe)) out.append(buffer.data(), count);
  EXPECT_EQ(pclose(pipe), 0) << command;
  return out;
}

TEST(Simulation, a_seed_replays_to_the_same_story) {
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    const Report first = simulate(seed, true);
    const Report second = simulate(seed, true);
    ASSERT_EQ(first.trace, second.trace) << "seed " << seed;
    ASSERT_EQ(first.fingerprint, second.fingerprint) << "seed " << seed;
    ASSERT_GT(first.trace.size(), 20U);
  }
}

TEST(Simulation, a_seed_replays_in_another_process_and_beside_others) {
  const std::string program = ASSENT_SIMULATE;
  const std::string alone = output_of(program + " --seeds 400 --from 1000");
  EXPECT_EQ(output_of(program + " --seeds 400 --from 1000 --jobs 3"), alone);
  EXPECT_NE(output_of(program + " --seeds 400 --from 1001"), alone);
}

TEST(Simulation, listening_to_a_world_does_not_change_it) {
  for (std::uint64_t seed = 100; seed < 150; ++seed) {
    EXPECT_EQ(simulate(seed, true).fingerprint, simulate(seed, false).fingerprint) << "seed " << seed;
  }
}

// Each kind of fault is one that really comes up: a trouble that nobody meets proves nothing.
TEST(Simulation, every_kind_of_fault_and_crash_happens_within_two_thousand_seeds) {
  const std::array<const char*, 30> kinds = {"kill -9",
                                             "power fails",
                                             "the disk is replaced by a copy",
                                             "an older copy of the disk is brought back",
                                             "the server is killed",
                                             "is stopped for a while",
                                             "fails a call soon",
                                             "is full",
                                             "of node 0 is slow",
                                             "loses its connections",
                                             "a backup is restored",
                                             "leading to a copy of it",
                                             "never hears a request",
                                             "the answer is lost",
                                             "FAULT is slow",
                                             "instead of preparing it",
                                             "denies that it knows",
                                             "and hides it",
                                             "the crash lost the prepared",
                                             "its session ended",
                                             "commits for recovery",
                                             "rolls back for recovery",
                                             "the log stalls",
                                             "needs a person",
                                             "commits, asked to decide",
                                             "while its decision travels",
                                             "  bars ",
                                             "rolls back, barred",
                                             "removes the bar",
                                             "is slow to end"};
  std::array<bool, kinds.size()> seen{};
  for (std::uint64_t seed = 1; seed <= 2000 && !std::ranges::all_of(seen, std::identity{}); ++seed) {
    const Report report = simulate(seed, true);
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      seen[i] = seen[i] || std::ranges::any_of(report.trace, [&](const std::string& line) {
                  return line.find(kinds[i]) != std::string::npos;
                });
    }
  }
  for (std::size_t i = 0; i < kinds.size(); ++i) EXPECT_TRUE(seen[i]) << kinds[i];
}

}  // namespace
}  // namespace assent::simulation
