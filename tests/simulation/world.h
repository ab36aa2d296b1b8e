#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "assent/tests/simulation/database.h"
#include "assent/tests/simulation/disk.h"
#include "assent/tests/simulation/ledger.h"
#include "assent/tests/simulation/scheduler.h"
#include "assent/tests/simulation/trace.h"

namespace assent::simulation {

/// What a seed came to.
struct Report {
  std::uint64_t seed = 0;
  std::string violation;  ///< empty: every promise was kept
  std::uint64_t fingerprint = 0;
  std::uint64_t steps = 0;
  std::uint64_t transactions = 0;
  std::uint64_t crashes = 0;  ///< of processes, machines and databases
  std::uint64_t faults = 0;   ///< of every other kind
  std::uint64_t rows = 0;     ///< of last resources, in the end: decisions and bars
  std::vector<std::string> trace;
};

/// A world so small that everything can be tried: one process, one transaction over all of its databases, and at most
/// one fault.
struct SmallPlan {
  enum class Vote { ok, read_only, refuse, idle };  ///< idle: the application does not use it
  struct Site {
    Kind kind = Kind::postgres;
    Vote vote = Vote::ok;
    Pace pace;
    Mishap mishap;
  };
  enum class Fault {
    none,
    kill_process,
    lose_power,
    stop_process,
    crash_database,
    cut_connections,
    fail_disk_call,
    fail_allocation
  };
  std::vector<Site> sites;
  Fault fault = Fault::none;
  std::uint64_t at = 0;   ///< the step before which it happens; of fail_…: the call or allocation that fails
  std::size_t where = 0;  ///< the database
  /// Which site decides; without it, the log.
  std::optional<std::size_t> last_resource = {};
};
struct SmallReport {
  std::string violation;
  std::uint64_t steps = 0;  ///< until the process had nothing more to do
  std::uint64_t disk_calls = 0;
  std::uint64_t allocations = 0;        ///< of the process
  std::vector<std::uint64_t> messages;  ///< to each database
  std::optional<OutcomeKind> told;
  std::vector<std::string> trace;
};
SmallReport simulate(const SmallPlan& plan, bool trace);

/// One seed, from its first step to its last. The same seed gives the same report, always.
Report simulate(std::uint64_t seed, bool trace);

/// Nodes with a disk each, processes on them that run the production engine, log and recovery, and databases that all
/// of them share. For a while everything goes wrong that can; then nothing does, and all must end by itself.
class World {
 public:
  World(std::uint64_t seed, bool trace);
  ~World();

  Report run();
  SmallReport run(const SmallPlan& plan);

  static World* running;
  FileSystem& files_of(const Process& process);

 private:
  struct Node {
    int number = 0;
    std::unique_ptr<Disk> disk;
    std::map<std::string, Database*> databases;  ///< by resource name: where the URL leads
    Disk::Copy old;
    bool is_moved = false;
  };
  struct App {
    App(int which, std::int64_t pid) : node(which), process(pid) {}
    int node;
    Process process;
    bool alive = true;
    bool closing = false;      ///< shall end cleanly
    bool must_reopen = false;  ///< its log failed
    std::string name;
  };
  class Watch;

  void build();
  void plan_faults();
  void one_fault();
  void heal();
  bool settled() const;
  bool is_for_a_person(const TransactionId& id, const Ledger::Transaction& transaction) const;
  void last_checks();

  void start_app(Node& node, int clients);
  void end_app(App& app);
  void kill_app(App& app, const std::string& why);
  void lose_power(Node& node, const std::string& why);
  void keep_running(Node& node);
  void app_main(App& app, int clients);
  template <class Manager, class Handles>
  void small_client(App& app, Manager& tm, Handles& handles);
  template <class Manager, class Handles>
  void client(App& app, Manager& tm, Handles& handles);
  template <class Manager>
  void ask_for_old_ones(App& app, Manager& tm);
  App* some_app();
  std::string any_database(const Node& node);

  void say(std::string_view who, const std::string& what) { trace_.say(scheduler_.now(), who, what); }
  void tell(std::string_view who, const std::string& what) { trace_.tell(scheduler_.now(), who, what); }
  void crash(std::string_view who, const std::string& what);
  void fault(std::string_view who, const std::string& what);

  const std::uint64_t seed_;
  Dice dice_;
  Scheduler scheduler_;
  Trace trace_;
  Ledger ledger_;
  std::vector<std::unique_ptr<Database>> databases_;
  std::vector<std::unique_ptr<Database>> clones_;
  std::vector<std::unique_ptr<Node>> nodes_;
  std::vector<std::unique_ptr<App>> apps_;
  std::vector<TransactionId> begun_;
  bool healed_ = false;
  const SmallPlan* plan_ = nullptr;
  bool client_done_ = false;
  std::int64_t next_pid_ = 1000;
  std::uint64_t crashes_ = 0;
  std::uint64_t faults_ = 0;
};

}  // namespace assent::simulation
