#include "assent/tests/crash/bank.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <stdexcept>

#include "assent/adapters/mysql/session.h"
#include "assent/adapters/mysql/settings.h"
#include "assent/adapters/postgres/session.h"
#include "assent/adapters/postgres/settings.h"

namespace assent::testing {
namespace {

using PostgresSession = detail::postgres::Session;
using MySqlSession = mysql::Session;

std::unique_ptr<PostgresSession> postgres_session(const std::string& url) {
  auto session = PostgresSession::open(detail::postgres::Settings::from(ResourceUrl::parse(url)));
  if (!session) throw std::runtime_error(describe(session.failure()));
  return std::move(session).value();
}

std::unique_ptr<MySqlSession> mysql_session(const std::string& url) {
  ResourceSpec spec;
  spec.name = "look";
  spec.url = ResourceUrl::parse(url);
  auto session = MySqlSession::open(mysql::Settings::from(spec));
  if (!session) throw std::runtime_error(describe(session.failure()));
  return std::move(session).value();
}

std::string own_table() {
  static std::atomic<int> made = 0;
  return "crash_" + std::to_string(::getpid()) + '_' + std::to_string(++made);
}

std::optional<long> number(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return std::stol(text);
}

std::string required(Server server) {
  const auto found = url(server);
  if (!found) throw std::runtime_error(no_mysql);
  return *found;
}

}  // namespace

std::string gtrid_prefix(LogId log) {
  return to_hex(TransactionId{DeciderKind::log, log, {}, 0}.gtrid().substr(0, 9));
}

Bank::Bank(Server shop)
    : shop_(shop), ledger_url_(required(Server::postgres)), shop_url_(required(shop)), table_(own_table()) {
  on_postgres(ledger_url_,
              "CREATE TABLE " + table_ + "_branch (id int PRIMARY KEY); INSERT INTO " + table_ +
                  "_branch VALUES (1); CREATE TABLE " + table_ +
                  " (id int PRIMARY KEY, balance bigint NOT NULL, branch int NOT NULL DEFAULT 1 REFERENCES " + table_ +
                  "_branch DEFERRABLE INITIALLY DEFERRED)");
  on_mysql(shop_url_, "CREATE TABLE " + table_ + " (id INT PRIMARY KEY, balance BIGINT NOT NULL) ENGINE=InnoDB");
}

Bank::~Bank() {
  try {
    on_postgres(ledger_url_, "SET lock_timeout = 5000; DROP TABLE " + table_ + ", " + table_ + "_branch");
    on_mysql(shop_url_, "SET lock_wait_timeout = 5");
    on_mysql(shop_url_, "DROP TABLE " + table_);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s stays: %s\n", table_.c_str(), error.what());
  }
}

void Bank::open_account(int id) {
  const std::string values =
      " (id, balance) VALUES (" + std::to_string(id) + ", " + std::to_string(opening_balance) + ")";
  on_postgres(ledger_url_, "INSERT INTO " + table_ + values);
  on_mysql(shop_url_, "INSERT INTO " + table_ + values);
}

std::string Bank::on_postgres(const std::string& url, const std::string& sql) {
  const auto answer = postgres_session(url)->exec(sql);
  if (!answer.ok()) throw std::runtime_error(sql + ": " + answer.text);
  return answer.field(0, 0);
}

std::string Bank::on_mysql(const std::string& url, const std::string& sql) {
  const auto answer = mysql_session(url)->run({sql});
  if (!answer.ok()) throw std::runtime_error(sql + ": " + answer.failure->describe());
  return answer.value(0).value_or("");
}

void Bank::on_mysql(const std::string& url, const std::vector<std::string>& statements) {
  const auto answer = mysql_session(url)->run(statements);
  if (!answer.ok()) throw std::runtime_error(statements.at(answer.completed) + ": " + answer.failure->describe());
}

std::vector<std::string> Bank::listed_by_mysql(const std::string& url) {
  const auto session = mysql_session(url);
  const auto answer = session->run({session->facts().mariadb ? "XA RECOVER FORMAT='SQL'" : "XA RECOVER CONVERT XID"});
  if (!answer.ok()) throw std::runtime_error(answer.failure->describe());
  std::vector<std::string> found;
  for (const mysql::Row& row : answer.rows[0]) {
    std::string data = row.at(3).value_or("");
    std::ranges::transform(data, data.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
    found.push_back(std::move(data));
  }
  return found;
}

std::optional<long> Bank::ledger_balance(int id) const {
  try {
    return number(on_postgres(
        ledger_url_, "SELECT balance FROM " + table_ + " WHERE id = " + std::to_string(id) + " FOR UPDATE NOWAIT"));
  } catch (const std::runtime_error&) {
    return std::nullopt;
  }
}

std::optional<long> Bank::shop_balance(int id) const {
  try {
    return number(on_mysql(
        shop_url_, "SELECT balance FROM " + table_ + " WHERE id = " + std::to_string(id) + " FOR UPDATE NOWAIT"));
  } catch (const std::runtime_error&) {
    return std::nullopt;
  }
}

std::vector<std::string> Bank::in_doubt(const std::set<LogId>& logs) const {
  std::vector<std::string> found;
  try {
    const auto answer =
        postgres_session(ledger_url_)->exec("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()");
    if (!answer.ok()) throw std::runtime_error(answer.text);
    for (int row = 0; row < answer.rows(); ++row) {
      const auto xid = from_gid(answer.field(row, 0));
      const auto transaction = xid ? xid->transaction() : std::nullopt;
      if (transaction && logs.contains(transaction->log)) found.push_back("PostgreSQL: " + xid->text());
    }
  } catch (const std::runtime_error& error) {
    found.push_back(std::string("PostgreSQL does not answer: ") + error.what());
  }
  try {
    for (const std::string& data : listed_by_mysql(shop_url_)) {
      for (const LogId log : logs) {
        if (data.find(gtrid_prefix(log)) != std::string::npos) found.push_back(std::string(name(shop_)) + ": " + data);
      }
    }
  } catch (const std::runtime_error& error) {
    found.push_back(std::string(name(shop_)) + " does not answer: " + error.what());
  }
  return found;
}

}  // namespace assent::testing
