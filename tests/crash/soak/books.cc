#include "assent/tests/crash/soak/books.h"

#include <sqlite3.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <sstream>
#include <stdexcept>

#include "assent/adapters/mysql/session.h"
#include "assent/adapters/mysql/settings.h"
#include "assent/adapters/postgres/session.h"
#include "assent/adapters/postgres/settings.h"
#include "assent/tests/crash/bank.h"
#include "assent/tests/crash/soak/accounts.h"
#include "assent/xa/resource_url.h"

namespace assent::testing {
namespace {

using Rows = std::vector<std::vector<std::string>>;
constexpr long opening_balance = 1000000;

Rows ask_postgres(const std::string& url, const std::vector<std::string>& statements) {
  const auto session = detail::postgres::Session::open(detail::postgres::Settings::from(ResourceUrl::parse(url)));
  if (!session) throw std::runtime_error(describe(session.failure()));
  Rows rows;
  for (const std::string& statement : statements) {
    const auto answer = session.value()->exec(statement);
    if (!answer.ok()) throw std::runtime_error(statement + ": " + answer.text);
    rows.clear();
    for (int row = 0; row < answer.rows(); ++row) {
      rows.emplace_back();
      for (int column = 0; column < PQnfields(answer.results.back().get()); ++column) {
        rows.back().push_back(answer.field(row, column));
      }
    }
  }
  return rows;
}

Rows ask_mysql(const std::string& url, const std::vector<std::string>& statements) {
  ResourceSpec spec;
  spec.name = "books";
  spec.url = ResourceUrl::parse(url);
  const auto session = mysql::Session::open(mysql::Settings::from(spec));
  if (!session) throw std::runtime_error(describe(session.failure()));
  const auto answer = session.value()->run(statements);
  if (!answer.ok()) throw std::runtime_error(statements.at(answer.completed) + ": " + answer.failure->describe());
  Rows rows;
  for (const mysql::Row& row : answer.rows.back()) {
    rows.emplace_back();
    for (const auto& field : row) rows.back().push_back(field.value_or(""));
  }
  return rows;
}

Rows ask_sqlite(const std::string& file, const std::vector<std::string>& statements) {
  sqlite3* opened = nullptr;
  const int status = sqlite3_open(file.c_str(), &opened);
  const std::unique_ptr<sqlite3, int (*)(sqlite3*)> session(opened, sqlite3_close);
  if (status != SQLITE_OK) throw std::runtime_error(file + ": " + sqlite3_errmsg(opened));
  // A worker that waits for its next round still sweeps witnesses and looks for what is in doubt.
  sqlite3_busy_timeout(opened, 10'000);
  Rows rows;
  const auto keep = [](void* to, int columns, char** fields, char**) {
    auto& row = static_cast<Rows*>(to)->emplace_back();
    for (int i = 0; i < columns; ++i) row.emplace_back(fields[i] == nullptr ? "" : fields[i]);
    return 0;
  };
  for (const std::string& statement : statements) {
    rows.clear();
    if (sqlite3_exec(opened, statement.c_str(), keep, &rows, nullptr) != SQLITE_OK) {
      throw std::runtime_error(statement + ": " + sqlite3_errmsg(opened));
    }
  }
  return rows;
}

std::vector<std::string> prepared_in_postgres(const std::string& url, const std::set<LogId>& logs) {
  std::vector<std::string> found;
  for (const auto& row : ask_postgres(url, {"SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"})) {
    const auto xid = from_gid(row.at(0));
    const auto transaction = xid ? xid->transaction() : std::nullopt;
    if (transaction && logs.contains(transaction->log)) found.push_back(xid->text());
  }
  return found;
}

std::vector<std::string> prepared_in_mysql(const std::string& url, const std::set<LogId>& logs) {
  std::vector<std::string> found;
  for (const std::string& data : Bank::listed_by_mysql(url)) {
    for (const LogId log : logs) {
      if (data.find(gtrid_prefix(log)) != std::string::npos) found.push_back(data);
    }
  }
  return found;
}

std::vector<std::string> prepared_in_sqlite(const std::string& file) {
  if (!std::filesystem::is_directory(file + "-journal")) return {};
  return {file + " is guarded by a prepared branch"};
}

}  // namespace

Books::Books(const std::vector<Server>& servers, const std::string& file)
    : tables_("soak_" + std::to_string(::getpid())) {
  const std::string hold = "SELECT id FROM " + tables_ + "_account FOR UPDATE NOWAIT";
  for (const Server server : servers) {
    const std::string at = url(server).value();
    const bool postgres = server == Server::postgres;
    databases_.push_back(
        {name(server),
         [=](const auto& all) { return postgres ? ask_postgres(at, all) : ask_mysql(at, all); },
         [=](const auto& logs) { return postgres ? prepared_in_postgres(at, logs) : prepared_in_mysql(at, logs); },
         hold,
         {}});
  }
  databases_.push_back({"sqlite",
                        [=](const auto& all) { return ask_sqlite(file, all); },
                        [=](const auto&) { return prepared_in_sqlite(file); },
                        "BEGIN IMMEDIATE",
                        {}});
  for (Database& database : databases_) {
    const bool postgres = database.name == "postgres";
    std::vector<std::string> make = {
        "CREATE TABLE " + tables_ + "_account (id INT PRIMARY KEY, balance BIGINT NOT NULL)",
        "CREATE TABLE " + tables_ +
            "_history (transfer VARCHAR(80), account INT, amount BIGINT NOT NULL, legs INT "
            "NOT NULL, vote INT NOT NULL" +
            (postgres ? " REFERENCES " + tables_ + "_vote DEFERRABLE INITIALLY DEFERRED" : "") +
            ", PRIMARY KEY (transfer, account))"};
    if (postgres) {
      make.insert(make.begin(), {"CREATE TABLE " + tables_ + "_vote (id INT PRIMARY KEY)",
                                 "INSERT INTO " + tables_ + "_vote VALUES (1)"});
    }
    for (int account = 0; account < accounts; ++account) {
      make.push_back("INSERT INTO " + tables_ + "_account VALUES (" + std::to_string(account) + ", " +
                     std::to_string(opening_balance) + ")");
      database.opening[account] = opening_balance;
    }
    database.ask(make);
  }
}

Books::~Books() {
  for (const Database& database : databases_) {
    if (database.name == "sqlite") continue;
    const bool postgres = database.name == "postgres";
    try {
      database.ask({postgres ? "SET lock_timeout = 5000" : "SET lock_wait_timeout = 5",
                    "DROP TABLE " + tables_ + "_account", "DROP TABLE " + tables_ + "_history"});
      if (postgres) database.ask({"DROP TABLE " + tables_ + "_vote"});
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s: the tables %s stay: %s\n", database.name.c_str(), tables_.c_str(), error.what());
    }
  }
}

// Lists before locks: a branch that was not yet prepared when the lists were read holds its rows until it is over.
std::vector<std::string> Books::unsettled(const std::set<LogId>& logs) const {
  std::vector<std::string> found;
  for (const Database& database : databases_) {
    try {
      for (const std::string& branch : database.prepared(logs)) {
        found.push_back(database.name + " lists as prepared: " + branch);
      }
    } catch (const std::runtime_error& error) {
      found.push_back(database.name + ": " + error.what());
    }
  }
  for (const Database& database : databases_) {
    try {
      database.ask({database.hold});
    } catch (const std::runtime_error& error) {
      found.push_back(database.name + ": " + error.what());
    }
  }
  return found;
}

Books::Rows Books::history(const Database& database) const {
  return database.ask({"SELECT transfer, account, amount, legs FROM " + tables_ + "_history"});
}

std::map<int, long> Books::balances(const Database& database) const {
  std::map<int, long> found;
  for (const auto& row : database.ask({"SELECT id, balance FROM " + tables_ + "_account"})) {
    found[std::stoi(row.at(0))] = std::stol(row.at(1));
  }
  return found;
}

std::vector<std::string> Books::mistakes(const Verdicts& verdicts) {
  struct Transfer {
    std::size_t found = 0;
    std::size_t legs = 0;
    long sum = 0;
    std::string where;
  };
  std::vector<std::string> wrong;
  std::map<std::string, Transfer> transfers;
  long total = 0;
  for (const Database& database : databases_) {
    std::map<int, long> expected = database.opening;
    for (const auto& row : history(database)) {
      Transfer& transfer = transfers[row.at(0)];
      ++transfer.found;
      transfer.legs = std::stoul(row.at(3));
      transfer.sum += std::stol(row.at(2));
      transfer.where += ' ' + database.name;
      expected[std::stoi(row.at(1))] += std::stol(row.at(2));
    }
    for (const auto& [account, balance] : balances(database)) {
      total += balance;
      if (balance != expected[account]) {
        wrong.push_back("account " + std::to_string(account) + " in " + database.name + " has " +
                        std::to_string(balance) + ", its history says " + std::to_string(expected[account]));
      }
    }
  }
  if (const long money = opening_balance * accounts * static_cast<long>(databases_.size()); total != money) {
    wrong.push_back("there is " + std::to_string(total) + " in all accounts together, not " + std::to_string(money));
  }
  for (const auto& [id, transfer] : transfers) {
    const std::string what = id + ": " + std::to_string(transfer.found) + " of " + std::to_string(transfer.legs) +
                             " legs are in the books, in" + transfer.where;
    const auto verdict = verdicts.find(id);
    if (transfer.found != transfer.legs || transfer.sum != 0) wrong.push_back("torn: " + what);
    if (verdict == verdicts.end()) {
      wrong.push_back("out of nowhere: " + what);
    } else if (verdict->second == false) {
      wrong.push_back("rolled back, it was said: " + what);
    }
  }
  for (const auto& [id, committed] : verdicts) {
    if (committed == true && !transfers.contains(id))
      wrong.push_back("committed, it was said: " + id + ": nothing is there");
  }
  return wrong;
}

void Books::begin_a_new_page() {
  for (Database& database : databases_) {
    database.ask({"DELETE FROM " + tables_ + "_history"});
    database.opening = balances(database);
  }
}

std::string Books::text() const {
  std::ostringstream out;
  for (const Database& database : databases_) {
    try {
      for (const auto& [account, balance] : balances(database)) {
        out << database.name << " account " << account << ' ' << balance << '\n';
      }
      for (const auto& row : history(database)) {
        out << database.name << " leg " << row.at(0) << " account " << row.at(1) << " amount " << row.at(2) << " of "
            << row.at(3) << '\n';
      }
    } catch (const std::exception& error) {
      out << database.name << ": " << error.what() << '\n';
    }
  }
  return out.str();
}

}  // namespace assent::testing
