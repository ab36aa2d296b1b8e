#include "assent/tests/integration/transactions/world.h"

#include <cppconn/driver.h>
#include <cppconn/resultset.h>
#include <cppconn/statement.h>
#include <unistd.h>

#include <filesystem>
#include <stdexcept>

namespace assent::testing {
namespace {

void execute(sqlite3* db, const std::string& text) {
  char* message = nullptr;
  if (sqlite3_exec(db, text.c_str(), nullptr, nullptr, &message) == SQLITE_OK) return;
  const std::string what = message == nullptr ? "SQLite failed" : message;
  sqlite3_free(message);
  throw std::runtime_error(what);
}

ResourceSpec spec(const std::string& name, const std::string& url) {
  ResourceSpec spec;
  spec.name = name;
  spec.url = ResourceUrl::parse(url);
  return spec;
}

}  // namespace

World::World() {
  std::string pattern = (std::filesystem::temp_directory_path() / "assent-world-XXXXXX").string();
  directory_ = mkdtemp(pattern.data());
  table_ = "account_" + std::to_string(getpid());
}

World::~World() {
  try {
    if (set_up_) {
      pqxx::connection ledger(*url(Server::postgres));
      pqxx::nontransaction(ledger).exec("DROP TABLE IF EXISTS " + table_);
      const auto shop = connect_shop(false);
      const std::unique_ptr<sql::Statement> statement(shop->createStatement());
      statement->execute("DROP TABLE IF EXISTS " + table_);
    }
  } catch (const std::exception& error) {
    ADD_FAILURE() << "leaves something behind: " << error.what();
  }
  std::filesystem::remove_all(directory_);
}

void World::set_up(Server shop) {
  shop_ = shop;
  if (!url(shop)) GTEST_SKIP() << no_mysql;
  set_up_ = true;
  const std::string create = "CREATE TABLE " + table_ + " (id INTEGER PRIMARY KEY, cents BIGINT NOT NULL)";
  const std::string insert = "INSERT INTO " + table_ + " VALUES (1, 1000)";
  pqxx::connection ledger(*url(Server::postgres));
  pqxx::nontransaction sql(ledger);
  sql.exec(create);
  sql.exec(insert);
  const auto connection = connect_shop(false);
  const std::unique_ptr<sql::Statement> statement(connection->createStatement());
  statement->execute(create);
  statement->execute(insert);
  sqlite3* notes = nullptr;
  sqlite3_open((directory_ + "/notes.db").c_str(), &notes);
  execute(notes, create);
  execute(notes, insert);
  sqlite3_close(notes);
}

Config World::config() const {
  Config config;
  config.node = "world";
  config.log_directory = directory_ + "/log";
  config.resources = {spec("ledger", *url(Server::postgres)), spec("shop", *url(shop_)),
                      spec("notes", "sqlite:///" + directory_ + "/notes.db")};
  return config;
}

Registry World::registry() {
  Registry registry;
  Postgres::register_with(registry);
  MySql::register_with(registry);
  Sqlite::register_with(registry);
  return registry;
}

void World::add_to_ledger(pqxx::transaction_base& sql, long cents) const {
  sql.exec("UPDATE " + table_ + " SET cents = cents + " + std::to_string(cents) + " WHERE id = 1");
}

void World::add_to_shop(sql::Connection& sql, long cents) const {
  const std::unique_ptr<sql::Statement> statement(sql.createStatement());
  statement->execute("UPDATE " + table_ + " SET cents = cents + " + std::to_string(cents) + " WHERE id = 1");
}

void World::add_to_notes(sqlite3& sql, long cents) const {
  execute(&sql, "UPDATE " + table_ + " SET cents = cents + " + std::to_string(cents) + " WHERE id = 1");
}

long World::ledger() const {
  return std::stol(ask_postgres("SELECT cents FROM " + table_));
}
long World::shop() const {
  return std::stol(ask_shop("SELECT cents FROM " + table_));
}

long World::notes() const {
  sqlite3* db = nullptr;
  sqlite3_open_v2((directory_ + "/notes.db").c_str(), &db, SQLITE_OPEN_READONLY, nullptr);
  sqlite3_busy_timeout(db, 60'000);  // The node's own look for what is in doubt may just create its tables.
  sqlite3_stmt* statement = nullptr;
  sqlite3_prepare_v2(db, ("SELECT cents FROM " + table_).c_str(), -1, &statement, nullptr);
  const bool read = sqlite3_step(statement) == SQLITE_ROW;
  const auto cents = static_cast<long>(read ? sqlite3_column_int64(statement, 0) : -1);
  const std::string problem = sqlite3_errmsg(db);
  sqlite3_finalize(statement);
  sqlite3_close(db);
  if (!read) throw std::runtime_error("cannot read the notes: " + problem);
  return cents;
}

std::string World::ask_postgres(const std::string& question) const {
  pqxx::connection connection(*admin_url(Server::postgres));
  pqxx::nontransaction sql(connection);
  return sql.exec1(question)[0].as<std::string>();
}

std::string World::ask_shop(const std::string& question, int column) const {
  const auto connection = connect_shop(true);
  const std::unique_ptr<sql::Statement> statement(connection->createStatement());
  const std::unique_ptr<sql::ResultSet> rows(statement->executeQuery(question));
  if (!rows->next()) throw std::runtime_error("no answer to: " + question);
  return rows->getString(static_cast<std::uint32_t>(column));
}

std::unique_ptr<sql::Connection> World::connect_shop(bool admin) const {
  const ResourceUrl where = ResourceUrl::parse(admin ? *admin_url(shop_) : *url(shop_));
  sql::ConnectOptionsMap options;
  options["hostName"] = "tcp://" + where.host + ":" + std::to_string(where.port);
  options["userName"] = where.user;
  options["password"] = where.password;
  options["schema"] = where.path;
  return std::unique_ptr<sql::Connection>(get_driver_instance()->connect(options));
}

}  // namespace assent::testing
