#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "assent/recovery/node_directory.h"
#include "assent/tests/crash/bank.h"
#include "assent/tests/crash/point.h"
#include "assent/tests/crash/process.h"

namespace assent::testing {

/// What an account has in the three databases.
struct Balances {
  long ledger = 0;
  long shop = 0;
  long local = 0;

  Balances& operator+=(const Balances& other);
  bool operator==(const Balances&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Balances& balances);

/// What a transfer of this shape does when it commits (worker.cc says which shapes there are).
Balances effect_of(const std::string& shape, int amount);

/// A node of its own: directory, log, SQLite database, an account of the bank. The directory goes at the end.
class World {
 public:
  struct Setting {
    std::string ledger_url;
    std::string shop_url;
    std::string log = "log";
    std::string node = "node";
    int recovery_interval_ms = 50;
    bool local = true;  ///< with the SQLite database
    int account = 0;    ///< 0: the world's own
  };

  World(Bank& bank, int account);
  World(const World&) = delete;
  World& operator=(const World&) = delete;
  ~World();

  Bank& bank() { return bank_; }
  const std::string& directory() const { return directory_; }
  int account() const { return account_; }
  Setting setting() const;

  /// A worker; with its transaction manager open.
  std::unique_ptr<Process> start();
  std::unique_ptr<Process> start(const Setting& setting);
  /// A worker that has not opened anything.
  std::unique_ptr<Process> spawn(const Setting& setting);
  std::string write_config(const Setting& setting);

  /// From now on expected on top of all that came before.
  void expect(const Balances& effect) { expected_ += effect; }
  const Balances& expected() const { return expected_; }

  /// The logs in the node directory, and those that were there earlier.
  const std::set<LogId>& logs();
  std::vector<std::string> in_doubt();
  /// Nothing while a transaction holds one of them.
  std::optional<Balances> balances();
  /// True when nothing of this node is in doubt and no row is held: in PostgreSQL, in MySQL or MariaDB, in SQLite.
  bool settled();
  /// Says what is in doubt, for a test that fails.
  std::string describe();

  /// Decisions that no slot's log has finished. Only while no worker of this node lives.
  std::size_t unfinished(const std::string& log = "log");

  /// After all processes are gone: settled, as expected, and nothing in the log.
  void expect_all_is_over();

 private:
  std::string local_path() const { return directory_ + "/local.db"; }

  Bank& bank_;
  const int account_;
  std::string directory_;
  Balances expected_{Bank::opening_balance, Bank::opening_balance, Bank::opening_balance};
  std::set<LogId> logs_;
  int configs_ = 0;
};

/// KIND of "outcome KIND ID …" and "what KIND …"; else what the line begins with.
std::string kind_in(const std::string& outcome_line);
/// What follows the first word: of "begun ID", "held ID", "kept PID".
std::string id_in(const std::string& begun_line);

/// The steps of a transfer in a run in which nothing goes wrong, each once, in order of their text.
std::set<std::string> steps_of(World& world, const std::string& shape);

/// Every point at which a transfer of this shape can be hit: each step, and where an effect has siblings in the same
/// phase, with this one first and with this one last.
std::vector<Point> points_of(const std::set<std::string>& steps, const std::string& shape);
/// On how many other resources the same effect is executed, of those for which it can be waited.
std::size_t others_of(const std::set<std::string>& steps, const Point& point);

/// The same URL with another port, and for PostgreSQL without TLS, so that TcpProxy can read along.
std::string through(const std::string& url, std::uint16_t port);
std::uint16_t port_of(const std::string& url);

/// As `cp -a`: another inode, the same bytes.
void copy_directory(const std::string& from, const std::string& to);

/// True when ASSENT_LONG=1: the nightly, longer variants.
bool long_run();

}  // namespace assent::testing
