#pragma once

#include <functional>
#include <iosfwd>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "assent/bench/counting.h"
#include "assent/bench/database.h"
#include "assent/bench/recovery_bench.h"
#include "assent/bench/rounds.h"

/// What can be measured, by name.
namespace assent::bench {

/// What a bench that is told nothing else does.
struct Settings {
  std::vector<std::string> urls;       ///< databases; workloads that need others than these are left out
  std::vector<std::string> workloads;  ///< names; empty: all usual ones that the databases allow
  std::vector<int> clients{1, 16};
  double seconds = 10;        ///< of timed rounds, of each workload and number of clients, both sides together
  std::string log_directory;  ///< where the decision log is made; on the disk that is to be measured
};

/// A row of the table: two sides, measured in turn.
struct Result {
  std::string workload;
  std::vector<std::string> databases;  ///< products, in the order in which they take part
  std::string floor;                   ///< what Assent is compared with; empty: with nothing
  int clients = 1;
  int round_ms = 0;
  Compared times;
  std::optional<Cost> floor_cost;
  std::optional<Cost> assent_cost;
  std::optional<double> decisions_a_sync;  ///< how many commits shared a sync of the log, in the timed rounds
};

struct Report {
  std::string machine;                             ///< processor, memory and kernel, for people
  std::string log_volume;                          ///< the file system on which the log lay: "ext4"
  std::vector<std::vector<std::string>> settings;  ///< of each database: its product, then "name = value"
  std::vector<Result> results;
  std::vector<Recovered> recoveries;
  std::vector<Opened> openings;
};

/// Called by one thread at a time whenever one of `steps` is done. False: stop. What was measured by then is reported;
/// recovery and opening are finished all the same.
using Tell = std::function<bool(std::size_t steps)>;

struct WorkloadName {
  std::string name;
  std::string what;
  bool usual = true;  ///< run when nothing is said
};
const std::vector<WorkloadName>& workload_names();

/// Makes tables of its own in the databases and takes them away again; proves after every workload that no money was
/// lost or made, and throws when some was. When anything fails, log and tables are left in place: branches may be in
/// doubt. Throws Error and the drivers' own exceptions.
Report run(const Settings& settings, const Tell& tell);

void print(const Report& report, std::ostream& out);
nlohmann::ordered_json to_json(const Report& report);

}  // namespace assent::bench
