// What single steps of the decision log cost. Arguments are Google Benchmark's own: --benchmark_filter=…
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>

#include "assent/recovery/decision_log.h"
#include "assent/recovery/file_system.h"
#include "assent/recovery/log_format.h"

namespace {

using assent::Decision;
using assent::DecisionLog;
using assent::FileSystem;
using assent::Forced;
using assent::Incarnation;

/// A log in a directory of its own below `place`.
class OwnLog {
 public:
  explicit OwnLog(const std::string& place) {
    std::string pattern = place + "/assent-log-bench-XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no directory can be made in " + place);
    directory_ = pattern;
    open();
    incarnation_ = log_->begin_incarnation();
  }
  ~OwnLog() {
    log_.reset();
    std::filesystem::remove_all(directory_);
  }
  OwnLog(const OwnLog&) = delete;
  OwnLog& operator=(const OwnLog&) = delete;

  DecisionLog& operator*() { return *log_; }
  DecisionLog* operator->() { return log_.get(); }

  void open() {
    log_.reset();
    log_ = DecisionLog::open(FileSystem::real(), directory_, {});
  }

  Decision next() {
    Decision decision;
    decision.id = {assent::DeciderKind::log, log_->id(), incarnation_, ++sequence_};
    decision.branches = {{"ledger", "7340012345678901234/16384/123456"}, {"shop", ""}};
    return decision;
  }

 private:
  std::string directory_;
  std::unique_ptr<DecisionLog> log_;
  Incarnation incarnation_{};
  std::atomic<std::uint64_t> sequence_{0};
};

const char* disk() {
  static const std::string place = std::filesystem::temp_directory_path().string();
  return place.c_str();
}
constexpr const char* memory = "/dev/shm";

std::unique_ptr<OwnLog> shared_log;

void make_shared_log(const char* place) {
  shared_log = std::make_unique<OwnLog>(place);
}

/// What a transaction asks of the log, by as many committers as there are threads.
void force_and_finish(benchmark::State& state) {
  while (state.KeepRunning()) {
    const Decision decision = shared_log->next();
    if ((*shared_log)->force(decision) != Forced::durable) state.SkipWithError("the log failed");
    (*shared_log)->finish(decision.id);
  }
  state.SetItemsProcessed(state.iterations());
  if (state.thread_index() == 0) {
    const auto counters = (*shared_log)->counters();
    state.counters["decisions a sync"] =
        static_cast<double>(counters.decisions) / static_cast<double>(std::max<std::uint64_t>(1, counters.syncs));
  }
}
BENCHMARK(force_and_finish)
    ->Name("force and finish, on disk")
    ->Setup([](const benchmark::State&) { make_shared_log(disk()); })
    ->Teardown([](const benchmark::State&) { shared_log.reset(); })
    ->UseRealTime()
    ->Threads(1)
    ->Threads(4)
    ->Threads(16)
    ->Threads(64);
BENCHMARK(force_and_finish)
    ->Name("force and finish, in memory")
    ->Setup([](const benchmark::State&) { make_shared_log(memory); })
    ->Teardown([](const benchmark::State&) { shared_log.reset(); })
    ->UseRealTime()
    ->Threads(1)
    ->Threads(16);

void open_with_unfinished(benchmark::State& state) {
  OwnLog log(memory);
  for (int64_t i = 0; i < state.range(0); ++i) {
    if (log->force(log.next()) != Forced::durable) state.SkipWithError("the log failed");
  }
  while (state.KeepRunning()) log.open();
}
BENCHMARK(open_with_unfinished)
    ->Name("open, by unfinished decisions, in memory")
    ->Arg(0)
    ->Arg(1000)
    ->Arg(10'000)
    ->Unit(benchmark::kMillisecond);

void checksum_a_block(benchmark::State& state) {
  const assent::log::Seal seal{.segment = 1, .incarnation = Incarnation{2}};
  const std::string block(assent::log::block_bytes, '\x01');
  while (state.KeepRunning()) benchmark::DoNotOptimize(seal.of_block(block, 1, 1));
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(block.size()));
}
BENCHMARK(checksum_a_block)->Name("checksum of a block");

void ask_whether_over(benchmark::State& state) {
  OwnLog log(memory);
  const Decision kept = log.next();
  if (log->force(kept) != Forced::durable) state.SkipWithError("the log failed");
  while (state.KeepRunning()) benchmark::DoNotOptimize(log->is_over(kept.id));
}
BENCHMARK(ask_whether_over)->Name("is_over");

}  // namespace

BENCHMARK_MAIN();
