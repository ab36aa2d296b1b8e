#include "assent/bench/workload.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <stdexcept>

#include "assent/bench/transfer.h"
#include "assent/recovery/file_system.h"
#include "assent/xa/error.h"

namespace assent::bench {
namespace {

constexpr double longest_round_s = 0.25;
constexpr int fewest_pairs = 3;
/// As many transactions are counted for each workload, over all clients.
constexpr int counted = 640;

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

struct Job {
  std::string workload;
  Transfer transfer;
};

class Bench {
 public:
  Bench(const Settings& settings, const Tell& tell) : settings_(settings), tell_(tell) {
    for (const std::string& name : settings.workloads) {
      if (std::ranges::none_of(workload_names(), [&](const auto& each) { return each.name == name; })) {
        throw Error(ErrorCode::configuration, "no workload is called '" + name + '\'', "the help names them all");
      }
    }
    const std::string table = "assent_bench_" + std::to_string(::getpid());
    for (std::size_t i = 0; i < settings.urls.size(); ++i) {
      ResourceSpec spec;
      spec.name = "db" + std::to_string(i + 1);
      spec.url = ResourceUrl::parse(settings.urls[i]);
      databases_.push_back(open_database(spec, table));
    }
    list_jobs();
  }

  Report run() {
    Report report;
    const auto volume = FileSystem::real().volume(settings_.log_directory);
    report.log_volume = volume ? volume.value.type : "unknown";
    for (const auto& database : databases_) {
      report.settings.push_back(database->settings());
      report.settings.back().insert(report.settings.back().begin(), database->product());
      products_[database->name()] = report.settings.back().front();
    }
    steps_ = 0;
    for (int clients : settings_.clients) {
      steps_ += jobs_.size() * (static_cast<std::size_t>(plan_for(clients, settings_.seconds).pairs) + 2);
    }
    for (const Job& job : jobs_) {
      for (const int clients : settings_.clients) report.results.push_back(run(job, clients));
    }
    return report;
  }

 private:
  bool wanted(const std::string& workload) const {
    return settings_.workloads.empty() || std::ranges::count(settings_.workloads, workload) != 0;
  }

  void list_jobs() {
    std::vector<Database*> postgres;
    std::vector<Database*> others;
    for (const auto& each : databases_) (is_postgres(*each) ? postgres : others).push_back(each.get());
    std::vector<Database*> all = postgres;
    all.insert(all.end(), others.begin(), others.end());
    if (wanted("transfer")) {
      for (std::size_t second = 1; second < all.size(); ++second) {
        jobs_.push_back({"transfer", {.written = {all[0], all[second]}, .read = {}}});
      }
    }
    if (wanted("three") && all.size() >= 3) {
      jobs_.push_back({"three", {.written = {all[0], all[1], all[2]}, .read = {}}});
    }
    if (wanted("one") && !all.empty()) jobs_.push_back({"one", {.written = {all[0]}, .read = {}}});
    if (wanted("read-mostly") && all.size() >= 2) {
      jobs_.push_back({"read-mostly", {.written = {all[0]}, .read = {all[1]}}});
    }
  }

  void step(const std::string& what) { tell_(what, ++done_, steps_); }

  Result run(const Job& job, int clients) {
    if (clients < 1 || clients > accounts) {
      throw Error(ErrorCode::configuration, "the number of clients must be 1 to " + std::to_string(accounts), "");
    }
    const Transfer& transfer = job.transfer;
    const Plan plan = plan_for(clients, settings_.seconds);
    const std::string log =
        settings_.log_directory + "/" + job.workload + '-' + std::to_string(clients) + '-' + std::to_string(++logs_);
    for (Database* database : transfer.all()) database->open_accounts();

    Result result;
    result.workload = job.workload;
    for (Database* database : transfer.all()) result.databases.push_back(products_[database->name()]);
    result.floor = transfer.written.size() == 1 ? "local commit by hand" : "two-phase commit by hand, without a log";
    result.clients = clients;
    result.round_ms = static_cast<int>(plan.round.count());

    std::int64_t committed = 0;
    {
      ByHand by_hand(transfer, clients);
      ThroughAssent assent(transfer, clients, log);
      result.times = run_in_turn(&by_hand, assent, plan, [&] { step(job.workload); });
      assent.prove_settled();
      committed = by_hand.committed() + assent.committed();
    }
    const int each = std::max(1, counted / clients);
    const auto add = [&](std::int64_t more) { committed += more; };
    result.floor_cost = count_cost(
        transfer, clients, each, [&] { return std::make_unique<ByHand>(transfer, clients); }, add);
    result.assent_cost = count_cost(
        transfer, clients, each, [&] { return std::make_unique<ThroughAssent>(transfer, clients, log); }, add);
    step(job.workload);
    prove(transfer, committed);
    std::filesystem::remove_all(log);
    for (Database* database : transfer.all()) database->remove();
    return result;
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
  std::size_t done_ = 0;
  int logs_ = 0;
};

}  // namespace

const std::vector<WorkloadName>& workload_names() {
  static const std::vector<WorkloadName> names = {
      {"transfer", "one UPDATE in each of two databases: the first with each of the others"},
      {"three", "one UPDATE in each of three databases"},
      {"one", "one UPDATE in one database"},
      {"read-mostly", "one UPDATE in one database, and one SELECT in another that is declared read-only"},
  };
  return names;
}

Report run(const Settings& settings, const Tell& tell) {
  return Bench(settings, tell).run();
}

}  // namespace assent::bench
