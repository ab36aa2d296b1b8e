#include "assent/bench/workload.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <mutex>
#include <stdexcept>

#include "assent/bench/null.h"
#include "assent/bench/transfer.h"
#include "assent/recovery/file_system.h"
#include "assent/xa/error.h"

namespace assent::bench {
namespace {

constexpr double longest_round_s = 0.25;
constexpr int fewest_pairs = 3;
/// Where the scheduler puts a session and its server's process may stay with them for as long as they live, and would
/// favour one side in every round: both sides are opened anew so many times.
constexpr int openings_of_a_side = 4;
/// As many transactions are counted for each workload, over all clients.
constexpr int counted = 320;
constexpr int most_clients = 1000;

bool is_postgres(const Database& database) {
  return database.spec().url.scheme.starts_with("postgres");
}

Plan plan_for(int clients, double seconds) {
  Plan plan;
  plan.clients = clients;
  plan.floor_clients = clients;
  const double round = std::min(longest_round_s, seconds / (2 * fewest_pairs));
  plan.round = std::chrono::milliseconds(std::max<std::int64_t>(1, std::llround(round * 1000)));
  plan.pairs = std::max(fewest_pairs, static_cast<int>(std::lround(seconds / (2 * round))));
  return plan;
}

std::vector<int> pairs_of_openings(const Plan& plan) {
  std::vector<int> out(static_cast<std::size_t>(openings_of_a_side), plan.pairs / openings_of_a_side);
  out.back() += plan.pairs % openings_of_a_side;
  std::erase(out, 0);
  return out;
}

/// Not a disk, and never taken for one: where only what Assent does itself is to be measured.
constexpr const char* memory = "/dev/shm";

enum class LogIs { on_disk, in_memory, off };

constexpr int many_clients = 400;
/// Well inside of one segment of the log.
constexpr int recorded_decisions = 2000;
constexpr int decisions_to_open = 1'000'000;

/// "2 × AMD EPYC 7763, 47 GiB, Linux 6.1.0"
std::string machine() {
  std::string processor = "unknown processor";
  std::ifstream cpus("/proc/cpuinfo");
  for (std::string line; std::getline(cpus, line);) {
    if (!line.starts_with("model name")) continue;
    processor = line.substr(line.find(':') + 2);
    break;
  }
  utsname kernel{};
  ::uname(&kernel);
  const auto bytes =
      static_cast<std::uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<std::uint64_t>(::sysconf(_SC_PAGE_SIZE));
  return std::to_string(::sysconf(_SC_NPROCESSORS_ONLN)) + " × " + processor + ", " + std::to_string(bytes >> 30) +
         " GiB, Linux " + kernel.release;
}

struct Job {
  std::string workload;
  int clients = 1;
  std::size_t steps = 0;
  std::function<void(Report&)> run;
};

class Bench {
 public:
  Bench(const Settings& settings, const Tell& tell) : settings_(settings), tell_(tell) {
    const std::string table = "assent_bench_" + std::to_string(::getpid());
    for (std::size_t i = 0; i < settings.urls.size(); ++i) {
      ResourceSpec spec;
      spec.name = "db" + std::to_string(i + 1);
      spec.url = ResourceUrl::parse(settings.urls[i]);
      databases_.push_back(open_database(spec, table));
    }
    for (const int clients : settings_.clients) {
      if (clients >= 1 && clients <= most_clients) continue;
      throw Error(ErrorCode::configuration, std::to_string(clients) + " clients are too few or too many",
                  "1 to " + std::to_string(most_clients) + " are possible");
    }
    list_jobs();
    for (const std::string& name : settings.workloads) {
      if (std::ranges::none_of(workload_names(), [&](const auto& each) { return each.name == name; })) {
        throw Error(ErrorCode::configuration, "no workload is called '" + name + '\'', "the help names them all");
      }
      if (std::ranges::none_of(jobs_, [&](const auto& each) { return each.workload == name; })) {
        throw Error(ErrorCode::configuration, "the workload '" + name + "' needs more databases, or others",
                    "name each with --over URL; the help says what each workload needs");
      }
    }
  }

  Report run() {
    Report report;
    const auto volume = FileSystem::real().volume(settings_.log_directory);
    report.machine = machine();
    report.log_volume = volume ? volume.value.type : "unknown";
    for (const auto& database : databases_) {
      report.settings.push_back(database->settings());
      report.settings.back().insert(report.settings.back().begin(), database->product());
      products_[database->name()] = report.settings.back().front();
    }
    for (const Job& job : jobs_) steps_ += job.steps;
    for (const Job& job : jobs_) {
      if (going_on_) job.run(report);
    }
    return report;
  }

 private:
  void add(const std::string& workload, const std::vector<int>& clients, std::size_t other_steps,
           const std::function<void(Report&, const Plan&)>& work) {
    const auto& names = workload_names();
    const auto known = std::ranges::find_if(names, [&](const auto& each) { return each.name == workload; });
    const bool wanted =
        settings_.workloads.empty() ? known->usual : std::ranges::count(settings_.workloads, workload) != 0;
    if (!wanted) return;
    for (const int count : clients) {
      const Plan plan = plan_for(count, settings_.seconds);
      jobs_.push_back({workload, count, static_cast<std::size_t>(plan.pairs) + 1 + other_steps,
                       [work, plan](Report& report) { work(report, plan); }});
    }
  }

  void list_jobs() {
    std::vector<Database*> all;
    all.reserve(databases_.size());
    for (const auto& each : databases_) all.push_back(each.get());
    std::stable_partition(all.begin(), all.end(), [](const Database* each) { return is_postgres(*each); });
    const auto transfers = [&](const std::string& workload, const Transfer& transfer) {
      add(workload, settings_.clients, openings_of_a_side,
          [=, this](Report& report, const Plan& plan) { keep(report, run(workload, transfer, plan)); });
    };
    for (std::size_t second = 1; second < all.size(); ++second) {
      transfers("transfer", {.written = {all[0], all[second]}});
    }
    for (std::size_t second = 1; second < all.size(); ++second) {
      transfers("last-resource", {.written = {all[0], all[second]}, .last_resource = all[0]});
    }
    if (all.size() >= 3) transfers("three", {.written = {all[0], all[1], all[2]}, .read = {}});
    if (!all.empty()) transfers("one", {.written = {all[0]}, .read = {}});
    if (all.size() >= 2) transfers("read-mostly", {.written = {all[0]}, .read = {all[1]}});

    const auto nulls = [&](const std::string& workload, int clients, LogIs log, int in_flight = 0) {
      add(workload, {clients}, 0, [=, this](Report& report, const Plan& plan) {
        report.results.push_back(run_null(workload, log, in_flight, plan));
      });
    };
    nulls("null", 1, LogIs::on_disk);
    nulls("null-400", many_clients, LogIs::on_disk);
    nulls("asynchronous", 1, LogIs::on_disk, many_clients);
    nulls("in-memory", 1, LogIs::in_memory);
    nulls("protocol", 1, LogIs::off);
    if (all.size() >= 2) {
      for (const int transactions : {1000, 10'000}) {
        add("recovery-" + std::to_string(transactions), {1}, static_cast<std::size_t>(transactions),
            [=, this](Report& report, const Plan&) {
              report.recoveries.push_back(
                  time_recovery(*all[0], *all[1], transactions, new_log("recovery"), [this] { step(); }));
            });
      }
    }
    add("opening", {1}, decisions_to_open / 10'000, [this](Report& report, const Plan&) {
      report.openings.push_back(time_opening(decisions_to_open, new_log("opening"), [this] { step(); }));
    });
  }

  /// Nothing that was stopped before its first pair of rounds was over.
  static void keep(Report& report, Result result) {
    if (!result.times.assent.rates.empty()) report.results.push_back(std::move(result));
  }

  bool step() {
    const std::lock_guard lock(mutex_);
    going_on_ = tell_(steps_) && going_on_;
    return going_on_;
  }

  std::string new_log(const std::string& workload) {
    return settings_.log_directory + '/' + workload + '-' + std::to_string(++logs_);
  }

  Result run(const std::string& workload, const Transfer& transfer, const Plan& plan) {
    const std::string log = new_log(workload);
    for (Database* database : transfer.all()) database->open_accounts();
    Result result;
    result.workload = workload;
    for (Database* database : transfer.all()) result.databases.push_back(products_[database->name()]);
    result.floor = transfer.written.size() == 1 ? "local commit by hand" : "two-phase commit by hand, without a log";
    result.clients = plan.clients;
    result.round_ms = static_cast<int>(plan.round.count());

    std::int64_t committed = 0;
    for (const int pairs : pairs_of_openings(plan)) {
      if (!going_on_) break;
      Plan part = plan;
      part.pairs = pairs;
      ByHand by_hand(transfer, plan.clients);
      ThroughAssent assent(transfer, plan.clients, log);
      result.times = run_in_turn(
          &by_hand, assent, part, [this] { return step(); }, std::move(result.times));
      assent.prove_settled();
      result.decisions_a_sync = decisions_a_sync(assent.log_counters());
      committed += by_hand.committed() + assent.committed();
    }
    if (going_on_) {
      const int each = std::max(1, counted / plan.clients);
      const auto add_up = [&](std::int64_t more) { committed += more; };
      result.floor_cost = count_cost(
          transfer, plan.clients, each, [&] { return std::make_unique<ByHand>(transfer, plan.clients); }, add_up);
      result.assent_cost = count_cost(
          transfer, plan.clients, each,
          [&] { return std::make_unique<ThroughAssent>(transfer, plan.clients, log, std::chrono::hours(24)); }, add_up);
      step();
    }
    prove(transfer, committed);
    std::filesystem::remove_all(log);
    for (Database* database : transfer.all()) database->remove();
    return result;
  }

  Result run_null(const std::string& workload, LogIs log_is, int in_flight, Plan plan) {
    const bool on_disk = log_is == LogIs::on_disk;
    const auto decider =
        log_is == LogIs::off ? NullTransactions::Decider::first_resource : NullTransactions::Decider::log;
    Result result;
    result.workload = workload;
    result.databases = {"two null resources"};
    result.clients = plan.clients;
    result.round_ms = static_cast<int>(plan.round.count());
    std::string in_memory = std::string(memory) + "/assent-bench-XXXXXX";
    if (::mkdtemp(in_memory.data()) == nullptr) {
      throw Error(ErrorCode::environment, std::string("there is no room in ") + memory, "mount a tmpfs there");
    }
    const std::string log = on_disk ? new_log(workload) : in_memory + "/log";
    {
      std::optional<RawDisk> raw;
      if (on_disk) {
        raw.emplace(settings_.log_directory, record_log_writes(in_memory + "/record", recorded_decisions));
        result.floor = "one client that writes and syncs the log's bytes itself";
      }
      plan.floor_clients = 1;
      const auto null = in_flight > 0 ? std::unique_ptr<NullTransactions>(new AsyncNullTransactions(log, in_flight))
                                      : std::make_unique<NullTransactions>(log, decider);
      NullTransactions& assent = *null;
      result.times = run_in_turn(raw ? &*raw : nullptr, assent, plan, [this] { return step(); });
      assent.settle();
      const DecisionLog::Counters counters = assent.log_counters();
      if (counters.decisions != (log_is == LogIs::off ? 0 : assent.committed())) {
        throw std::logic_error(std::to_string(assent.committed()) + " transactions were committed, and " +
                               std::to_string(counters.decisions) + " decisions are in the log");
      }
      result.decisions_a_sync = decisions_a_sync(counters);
    }
    std::filesystem::remove_all(log);
    std::filesystem::remove_all(in_memory);
    return result;
  }

  static std::optional<double> decisions_a_sync(const DecisionLog::Counters& counters) {
    if (counters.decisions == 0) return std::nullopt;
    return static_cast<double>(counters.decisions) / static_cast<double>(counters.syncs);
  }

  static void prove(const Transfer& transfer, std::int64_t committed) {
    for (std::size_t i = 0; i < transfer.written.size(); ++i) {
      const std::int64_t expected = transfer.expected_sum(i, committed);
      const std::int64_t found = transfer.written[i]->sum();
      if (found == expected) continue;
      throw std::logic_error("MONEY WAS LOST OR MADE: " + transfer.written[i]->name() + " holds " +
                             std::to_string(found) + " after " + std::to_string(committed) +
                             " transfers that were committed, not " + std::to_string(expected));
    }
  }

  const Settings& settings_;
  const Tell& tell_;
  std::vector<std::unique_ptr<Database>> databases_;
  std::map<std::string, std::string> products_;
  std::vector<Job> jobs_;
  std::size_t steps_ = 0;
  std::mutex mutex_;
  bool going_on_ = true;
  int logs_ = 0;
};

}  // namespace

const std::vector<WorkloadName>& workload_names() {
  static const std::vector<WorkloadName> names = {
      {"transfer", "one UPDATE in each of two databases: the first with each of the others"},
      {"last-resource", "the same, decided by a row in the first instead of the log"},
      {"three", "one UPDATE in each of three databases"},
      {"one", "one UPDATE in one database"},
      {"read-mostly", "one UPDATE in one database, one SELECT in another that is declared read-only"},
      {"null", "two resources that cost nothing, one client: Assent and its log alone"},
      {"null-400", "the same with 400 clients, which share the log's syncs"},
      {"asynchronous", "the same with 400 coroutines in one thread; its times are from one commit to the next"},
      {"in-memory", "the same with one client and the log in memory (/dev/shm): Assent without any disk"},
      {"protocol", "the same decided by the first of the two, so without the log: protocol and driver alone"},
      {"recovery-1000", "settles 1,000 transactions that a crash left in doubt in two databases", false},
      {"recovery-10000", "the same with 10,000; PostgreSQL needs max_prepared_transactions for them", false},
      {"opening", "opens a log with 1,000,000 decisions since its last checkpoint", false},
  };
  return names;
}

Report run(const Settings& settings, const Tell& tell) {
  return Bench(settings, tell).run();
}

}  // namespace assent::bench
