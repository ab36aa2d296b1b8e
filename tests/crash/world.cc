#include "assent/tests/crash/world.h"

#include <sqlite3.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "assent/recovery/file_system.h"

namespace assent::testing {

namespace fs = std::filesystem;

Balances& Balances::operator+=(const Balances& other) {
  ledger += other.ledger;
  shop += other.shop;
  local += other.local;
  return *this;
}

std::ostream& operator<<(std::ostream& out, const Balances& balances) {
  return out << "ledger " << balances.ledger << ", shop " << balances.shop << ", local " << balances.local;
}

Balances effect_of(const std::string& shape, int amount) {
  if (shape == "all" || shape == "behind" || shape.starts_with("by-")) return {-2L * amount, amount, amount};
  if (shape == "pair") return {-1L * amount, amount, 0};
  if (shape == "ledger") return {amount, 0, 0};
  if (shape == "shop") return {0, amount, 0};
  if (shape == "local") return {0, 0, amount};
  return {};
}

World::World(Bank& bank, int account) : bank_(bank), account_(account) {
  std::string name = (fs::temp_directory_path() / "assent-crash-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp");
  directory_ = fs::canonical(name).string();
  bank.open_account(account);
  sqlite3* connection = nullptr;
  const std::string make = "CREATE TABLE account (balance INTEGER NOT NULL); INSERT INTO account VALUES (" +
                           std::to_string(Bank::opening_balance) + ")";
  const bool made = sqlite3_open(local_path().c_str(), &connection) == SQLITE_OK &&
                    sqlite3_exec(connection, make.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK;
  sqlite3_close(connection);
  if (!made) throw std::runtime_error("cannot make " + local_path());
}

World::~World() {
  fs::remove_all(directory_);
}

World::Setting World::setting() const {
  Setting setting;
  setting.ledger_url = bank_.ledger_url();
  setting.shop_url = bank_.shop_url();
  return setting;
}

std::string World::write_config(const Setting& setting) {
  std::string path = directory_ + "/assent-" + std::to_string(++configs_) + ".toml";
  std::ofstream out(path);
  out << "node = \"" << setting.node << "\"\nlog = \"" << setting.log
      << "\"\nrecovery_interval_ms = " << setting.recovery_interval_ms << "\nthreads = 4\n"
      << "[resources.ledger]\nurl = \"" << setting.ledger_url << "\"\n"
      << "[resources.shop]\nurl = \"" << setting.shop_url << "\"\n";
  if (setting.local) out << "[resources.local]\nurl = \"sqlite:///local.db\"\n";
  return path;
}

std::unique_ptr<Process> World::spawn(const Setting& setting) {
  return std::make_unique<Process>(
      std::vector<std::string>{ASSENT_CRASH_WORKER, write_config(setting), bank_.table(),
                               std::to_string(setting.account == 0 ? account_ : setting.account)});
}

std::unique_ptr<Process> World::start(const Setting& setting) {
  auto worker = spawn(setting);
  worker->ask("open", "opened");
  return worker;
}

std::unique_ptr<Process> World::start() {
  return start(setting());
}

const std::set<LogId>& World::logs() {
  if (!fs::exists(directory_ + "/log")) return logs_;
  for (const SlotState& slot : NodeDirectory::open(FileSystem::real(), directory_ + "/log", "node")->slots()) {
    if (slot.log) logs_.insert(*slot.log);
  }
  return logs_;
}

std::vector<std::string> World::in_doubt() {
  auto found = bank_.in_doubt(logs());
  if (fs::is_directory(local_path() + "-journal")) found.push_back("SQLite: " + local_path() + " is guarded");
  return found;
}

std::optional<Balances> World::balances() {
  const auto ledger = bank_.ledger_balance(account_);
  const auto shop = bank_.shop_balance(account_);
  sqlite3* connection = nullptr;
  sqlite3_stmt* statement = nullptr;
  std::optional<long> local;
  // A writer's lock: a branch that still holds it is seen. Recovery's own housekeeping is over in a moment.
  if (sqlite3_open_v2(local_path().c_str(), &connection, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK &&
      sqlite3_busy_timeout(connection, 1000) == SQLITE_OK &&
      sqlite3_exec(connection, "BEGIN IMMEDIATE", nullptr, nullptr, nullptr) == SQLITE_OK &&
      sqlite3_prepare_v2(connection, "SELECT balance FROM account", -1, &statement, nullptr) == SQLITE_OK &&
      sqlite3_step(statement) == SQLITE_ROW) {
    local = sqlite3_column_int64(statement, 0);
  }
  sqlite3_finalize(statement);
  sqlite3_close(connection);
  if (!ledger || !shop || !local) return std::nullopt;
  return Balances{*ledger, *shop, *local};
}

bool World::settled() {
  return in_doubt().empty() && balances().has_value();
}

std::string World::describe() {
  std::ostringstream out;
  out << directory_ << ", account " << account_ << ": ";
  for (const std::string& each : in_doubt()) out << each << "; ";
  if (const auto now = balances()) {
    out << *now;
  } else {
    out << "a row is held";
  }
  return out.str();
}

std::size_t World::unfinished(const std::string& log) {
  const auto node = NodeDirectory::open(FileSystem::real(), directory_ + '/' + log, "node");
  std::size_t count = 0;
  for (const SlotState& state : node->slots()) {
    const auto slot = node->adopt(state.number);
    if (slot == nullptr) throw std::runtime_error(state.directory + " is held");
    count += slot->log().unfinished().size();
  }
  return count;
}

void World::expect_all_is_over() {
  EXPECT_TRUE(settled()) << describe();
  EXPECT_EQ(balances(), std::optional(expected_)) << directory_;
  EXPECT_EQ(unfinished(), 0U) << directory_;
}

std::string kind_in(const std::string& outcome_line) {
  std::istringstream words(outcome_line);
  std::string word;
  std::string kind;
  words >> word >> kind;
  return word == "outcome" || word == "what" ? kind : word;
}

std::string id_in(const std::string& begun_line) {
  return begun_line.substr(begun_line.find(' ') + 1);
}

std::set<std::string> steps_of(World& world, const std::string& shape) {
  const auto worker = world.start();
  worker->say("trace");
  const std::string outcome = worker->ask("transfer " + shape + " 1", "outcome");
  EXPECT_EQ(kind_in(outcome), shape == "no" || shape == "undo" ? "rolled_back" : "committed") << outcome;
  worker->ask("quit", "closed");
  world.expect(effect_of(shape, 1));
  std::set<std::string> steps;
  for (const std::string& line : worker->heard()) {
    if (!line.starts_with("step ")) continue;
    EXPECT_TRUE(steps.insert(line.substr(5)).second) << "twice: " << line;
  }
  return steps;
}

std::size_t others_of(const std::set<std::string>& steps, const Point& point) {
  const std::string own = steps.contains(point.verb + " shop after") ? "shop" : "local";
  return static_cast<std::size_t>(std::ranges::count_if(steps, [&](const std::string& step) {
    const Point other = Point::from(step);
    // The verb that the sending thread does itself comes before it takes the answer to what it sent.
    if (point.resource == own && is_sent_ahead(other)) return false;
    return other.verb == point.verb && other.resource != point.resource && other.executed;
  }));
}

std::vector<Point> points_of(const std::set<std::string>& steps, const std::string& shape) {
  std::vector<Point> points;
  for (const std::string& step : steps) {
    Point point = Point::from(step);
    // After a vote of no, the rollbacks begin one by one as the other votes come: none can be made to wait for all.
    const bool free = shape == "no" && point.verb == "rollback";
    if (others_of(steps, point) == 0 || free) {
      points.push_back(point);
      continue;
    }
    for (const auto others : {Point::Others::first, Point::Others::last}) {
      if (is_sent_ahead(point) && point.executed != (others == Point::Others::last)) continue;
      point.others = others;
      points.push_back(point);
    }
  }
  return points;
}

std::uint16_t port_of(const std::string& url) {
  return ResourceUrl::parse(url).port;
}

std::string through(const std::string& url, std::uint16_t port) {
  std::string out = url;
  const std::string old = ':' + std::to_string(port_of(url)) + '/';
  out.replace(out.rfind(old), old.size(), ':' + std::to_string(port) + '/');
  return url.starts_with("postgresql") ? out + "?sslmode=disable" : out;
}

void copy_directory(const std::string& from, const std::string& to) {
  Process copy({"/bin/cp", "-a", from, to});
  if (copy.wait() != 0) throw std::runtime_error("cp -a " + from + ' ' + to);
}

bool long_run() {
  const char* value = std::getenv("ASSENT_LONG");
  return value != nullptr && std::string(value) == "1";
}

}  // namespace assent::testing
