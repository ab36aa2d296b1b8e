// assent_simulate: runs seeds, and says which broke a promise.

#include <malloc.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "assent/tests/simulation/world.h"
#include "assent/xa/planted_defect.h"

namespace assent::simulation {
namespace {

constexpr std::string_view defect_names[] = {"none",
                                             "wrong_decider",
                                             "incarnation_unchecked",
                                             "copied_log_trusted",
                                             "acts_before_sync",
                                             "failed_force_is_abort",
                                             "not_found_truncates",
                                             "decision_left_behind",
                                             "late_prepare_forgotten",
                                             "live_rolled_back",
                                             "identity_unchecked",
                                             "last_resource_presumed",
                                             "bar_removed_early",
                                             "row_forgotten_early",
                                             "log_read_once"};

bool plant(std::string_view name) {
  for (std::size_t i = 0; i < std::size(defect_names); ++i) {
    if (defect_names[i] != name) continue;
    planted_defect = static_cast<Defect>(i);
    return true;
  }
  return false;
}

struct Order {
  std::uint64_t seeds = 1000;
  std::uint64_t from = 1;
  std::uint64_t jobs = 1;
  bool trace = false;
  bool until_found = false;
  bool must_find = false;
};

// A tiny world proves nothing: what the median seed must hold.
constexpr std::uint64_t least_transactions = 10;
constexpr std::uint64_t least_crashes = 3;
constexpr std::uint64_t least_faults = 5;
constexpr std::size_t enough_to_tell = 1000;

// One line a seed, from a worker to its parent.
struct Line {
  std::uint64_t seed, steps, transactions, crashes, faults, rows, fingerprint, violated;
};

int usage(int status) {
  std::fputs(
      "Usage: assent_simulate [--seeds N] [--from SEED] [--jobs N] [--trace] [--until-found] [--must-find]\n"
      "                       [--defect NAME | --defects]\n"
      "  --seeds N      so many worlds, of consecutive seeds (default 1000; 1 with --trace)\n"
      "  --from SEED    the first (default 1)\n"
      "  --jobs N       processes that share them (default 1)\n"
      "  --trace        tell the story of each, line by line\n"
      "  --until-found  stop at the first violation\n"
      "  --must-find    the same, and its absence is the failure\n"
      "  --defect NAME  with a known mistake planted in the code; --defects lists their names\n"
      "Exit status: 0 every promise kept, 1 a violation (its seed is printed), 2 usage, 3 a worker died,\n"
      "4 the worlds are too tame to prove anything.\n",
      status == 0 ? stdout : stderr);
  return status;
}

std::uint64_t median(std::vector<std::uint64_t>& all) {
  if (all.empty()) return 0;
  const auto middle = all.begin() + static_cast<std::ptrdiff_t>(all.size() / 2);
  std::nth_element(all.begin(), middle, all.end());
  return *middle;
}

void work(const Order& order, std::uint64_t mine, int out) {
  for (std::uint64_t i = mine; i < order.seeds; i += order.jobs) {
    const Report report = simulate(order.from + i, order.trace);
    for (const std::string& line : report.trace) std::printf("%s\n", line.c_str());
    if (!report.violation.empty()) {
      std::printf("seed %llu: %s\n", static_cast<unsigned long long>(report.seed), report.violation.c_str());
    }
    std::fflush(stdout);
    const Line line{report.seed,   report.steps, report.transactions, report.crashes,
                    report.faults, report.rows,  report.fingerprint,  report.violation.empty() ? 0U : 1U};
    if (write(out, &line, sizeof line) != static_cast<ssize_t>(sizeof line)) _exit(3);
    if (order.until_found && line.violated != 0) return;
  }
}

int run(const Order& order) {
  int pipes[2];
  if (pipe(pipes) != 0) return 3;
  std::fflush(stdout);
  std::vector<pid_t> workers;
  for (std::uint64_t i = 0; i < order.jobs; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      close(pipes[0]);
      work(order, i, pipes[1]);
      _exit(0);
    }
    workers.push_back(pid);
  }
  close(pipes[1]);
  std::vector<std::uint64_t> steps;
  std::vector<std::uint64_t> transactions;
  std::vector<std::uint64_t> crashes;
  std::vector<std::uint64_t> faults;
  std::uint64_t violations = 0;
  std::uint64_t rows = 0;
  std::uint64_t fingerprint = 0;
  const bool progress = isatty(2) != 0 && !order.trace;
  Line line{};
  while (read(pipes[0], &line, sizeof line) == static_cast<ssize_t>(sizeof line)) {
    steps.push_back(line.steps);
    transactions.push_back(line.transactions);
    crashes.push_back(line.crashes);
    faults.push_back(line.faults);
    violations += line.violated;
    rows += line.rows;
    fingerprint ^= line.fingerprint * (line.seed | 1U);
    if (progress && steps.size() % 500 == 0) {
      std::fprintf(stderr, "\r%zu of %llu seeds, %llu violations", steps.size(),
                   static_cast<unsigned long long>(order.seeds), static_cast<unsigned long long>(violations));
    }
    if (order.until_found && violations != 0) break;
  }
  if (progress) std::fputs("\r\033[K", stderr);
  bool died = false;
  for (const pid_t pid : workers) {
    if (order.until_found && violations != 0) kill(pid, SIGTERM);
    int status = 0;
    waitpid(pid, &status, 0);
    died = died || (violations == 0 && status != 0);
  }
  if (died) std::printf("a worker died\n");
  std::printf(
      "%zu seeds from %llu, %llu violations; median of a seed: %llu steps, %llu transactions, %llu crashes, %llu other "
      "faults; %llu rows left with last resources; fingerprint %016llx\n",
      steps.size(), static_cast<unsigned long long>(order.from), static_cast<unsigned long long>(violations),
      static_cast<unsigned long long>(median(steps)), static_cast<unsigned long long>(median(transactions)),
      static_cast<unsigned long long>(median(crashes)), static_cast<unsigned long long>(median(faults)),
      static_cast<unsigned long long>(rows), static_cast<unsigned long long>(fingerprint));
  if (died) return 3;
  if (order.must_find) return violations != 0 ? 0 : 1;
  if (violations != 0) return 1;
  const bool tame =
      median(transactions) < least_transactions || median(crashes) < least_crashes || median(faults) < least_faults;
  if (steps.size() < enough_to_tell || !tame) return 0;
  std::printf("too tame: a median seed must hold 10 transactions, 3 crashes and 5 other faults at least\n");
  return 4;
}

}  // namespace
}  // namespace assent::simulation

int main(int argc, char** argv) {
  using namespace assent::simulation;
  Order order;
  bool seeds_given = false;
  for (int i = 1; i < argc; ++i) {
    const std::string_view argument = argv[i];
    const auto number = [&](std::uint64_t& to) {
      if (++i >= argc) return false;
      const char* const end = argv[i] + std::strlen(argv[i]);
      return std::from_chars(argv[i], end, to).ptr == end && to > 0;
    };
    bool good = true;
    if (argument == "--seeds") {
      good = number(order.seeds);
      seeds_given = true;
    } else if (argument == "--from") {
      good = number(order.from);
    } else if (argument == "--jobs") {
      good = number(order.jobs);
    } else if (argument == "--trace") {
      order.trace = true;
    } else if (argument == "--until-found") {
      order.until_found = true;
    } else if (argument == "--must-find") {
      order.until_found = order.must_find = true;
    } else if (argument == "--defect") {
      good = ++i < argc && plant(argv[i]);
    } else if (argument == "--defects") {
      for (const std::string_view name : defect_names) std::printf("%s\n", std::string(name).c_str());
      return 0;
    } else if (argument == "--help") {
      return usage(0);
    } else {
      good = false;
    }
    if (!good) return usage(2);
  }
  if (order.trace && !seeds_given) order.seeds = 1;
  // Every seed needs the memory of the one before: given back and asked for again it would cost a third of the time.
  mallopt(M_TRIM_THRESHOLD, 256 << 20);
  mallopt(M_MMAP_THRESHOLD, 256 << 20);
  mallopt(M_TOP_PAD, 16 << 20);
  return run(order);
}
