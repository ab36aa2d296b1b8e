#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <stdexcept>

#include <nlohmann/json.hpp>

#include "assent/bench/workload.h"
#include "assent/tools/assent/command.h"
#include "assent/tools/assent/json.h"
#include "assent/tools/assent/progress.h"
#include "assent/tools/assent/stop.h"
#include "assent/xa/error.h"

namespace assent::tool {
namespace {

/// SIGINT and SIGTERM, blocked for this thread and all that it starts from here on: a transfer is never cut off in the
/// middle, where it would leave prepared branches behind.
class Interruption {
 public:
  Interruption() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  bool came() const {
    const timespec now{};
    return sigtimedwait(&signals_, nullptr, &now) > 0;
  }

 private:
  sigset_t signals_{};
};

/// Where the logs are made: a directory of the bench's own in the given one, or in the temporary one.
class LogPlace {
 public:
  explicit LogPlace(const std::string& where) {
    const std::string parent = where.empty() ? std::filesystem::temp_directory_path().string() : where;
    path_ = parent + "/assent-bench-XXXXXX";
    if (::mkdtemp(path_.data()) == nullptr) {
      throw Stop(Exit::environment, "no directory can be made in " + parent, "name another one with --log");
    }
  }
  ~LogPlace() {
    std::error_code error;
    if (!kept_) std::filesystem::remove_all(path_, error);
  }
  LogPlace(const LogPlace&) = delete;
  LogPlace& operator=(const LogPlace&) = delete;

  const std::string& path() const { return path_; }
  /// Were a log thrown away that decides what is in doubt, nobody could settle it.
  void keep() { kept_ = true; }

 private:
  std::string path_;
  bool kept_ = false;
};

/// Drivers' messages have lines.
std::string in_one_line(std::string text) {
  std::ranges::replace_if(
      text, [](char c) { return c == '\n' || c == '\t'; }, ' ');
  return text;
}

}  // namespace

Exit bench(const Context& context, const BenchOptions& options, Terminal& terminal) {
  const Interruption interruption;
  LogPlace place(options.log);
  const assent::bench::Settings settings{.urls = options.over,
                                         .workloads = options.workloads,
                                         .clients = options.clients,
                                         .seconds = options.seconds,
                                         .log_directory = place.path()};
  Progress progress("measuring");
  bool begun = false;
  bool stopped = false;
  const auto tell = [&](std::size_t steps) {
    if (!std::exchange(begun, true)) progress.expect(steps);
    progress.step();
    stopped = stopped || interruption.came();
    return !stopped;
  };
  assent::bench::Report report;
  try {
    report = assent::bench::run(settings, tell);
  } catch (const Error&) {
    if (begun) place.keep();
    throw;
  } catch (const std::runtime_error& failure) {
    if (!begun)
      throw Stop(Exit::unreachable, in_one_line(failure.what()),
                 "is the server up, and may this user make tables in it?");
    place.keep();
    throw Stop(Exit::unreachable, in_one_line(failure.what()),
               "branches may be in doubt: the logs that decide them, of node \"bench\", are left in " + place.path() +
                   ", and the tables assent_bench_… in the databases");
  } catch (...) {
    place.keep();
    throw;
  }
  progress.end();
  if (context.json) {
    Json out = envelope(Exit::done);
    out.update(assent::bench::to_json(report));
    print_json(out, terminal);
    return Exit::done;
  }
  assent::bench::print(report, terminal.out());
  if (stopped) terminal.line("Interrupted: not everything was measured.");
  return Exit::done;
}

}  // namespace assent::tool
