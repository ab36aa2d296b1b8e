// The commands of scripts/ are refused what they cannot mean, before they install, build or run anything.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <string>

namespace assent {
namespace {

int exit_of(const std::string& command) {
  const int status = std::system((ASSENT_SOURCE_DIR "/scripts/" + command + " > /dev/null 2>&1").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST(Usage, a_wrong_seed_duration_or_argument_is_exit_2) {
  for (const char* command : {"simulate --seeds x",       "simulate --seeds 0",     "simulate --from -1",
                              "simulate --nonsense",      "soak --minutes abc",     "soak --minutes 0",
                              "soak --seed -1",           "mutate --sample x",      "mutate --sample -1",
                              "mutate --workers 0",       "mutate --only nonsense", "coverage --seeds -1",
                              "coverage --only nonsense", "model-check --nonsense", "fuzz --seconds x",
                              "fuzz --seconds 0",         "sanitize nonsense",      "nightly nonsense",
                              "bench --seconds x",        "demo --nonsense",        "check nonsense"}) {
    EXPECT_EQ(exit_of(command), 2) << "scripts/" << command;
  }
}

TEST(Usage, help_is_to_be_had_of_every_command) {
  for (const char* command : {"simulate", "soak", "mutate", "coverage", "model-check", "fuzz", "sanitize", "nightly",
                              "bench", "demo", "check", "test", "build", "install"}) {
    EXPECT_EQ(exit_of(std::string(command) + " --help"), 0) << "scripts/" << command;
  }
}

}  // namespace
}  // namespace assent
