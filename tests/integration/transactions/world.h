#pragma once

#include <cppconn/connection.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <memory>
#include <optional>
#include <pqxx/pqxx>
#include <string>

#include "assent/adapters/mysql/mysql.h"
#include "assent/adapters/postgres/postgres.h"
#include "assent/adapters/sqlite/sqlite.h"
#include "assent/tests/support/servers.h"
#include "assent/tm/transaction_manager.h"

namespace assent::testing {

/// One account in each of PostgreSQL, MariaDB (or MySQL) and SQLite, in tables of this process's own, and a node
/// directory of its own. Everything is taken away at the end.
class World : public ::testing::Test {
 public:
  ~World() override;

 protected:
  World();

  /// Resources ledger (PostgreSQL), shop (the given server) and notes (SQLite). Skips the test where there is no MySQL.
  void set_up(Server shop);
  Config config() const;
  static Registry registry();
  TransactionManager open() const { return TransactionManager::open(config(), registry()); }

  void add_to_ledger(pqxx::transaction_base& sql, long cents) const;
  void add_to_shop(sql::Connection& sql, long cents) const;
  void add_to_notes(sqlite3& sql, long cents) const;

  // What an outsider sees.
  long ledger() const;
  long shop() const;
  long notes() const;

  /// One value asked outside of Assent, as the superuser.
  std::string ask_postgres(const std::string& question) const;
  std::string ask_shop(const std::string& question, int column = 1) const;

  const std::string& directory() const { return directory_; }
  const std::string& table() const { return table_; }

 private:
  std::unique_ptr<sql::Connection> connect_shop(bool admin) const;

  std::string directory_;
  std::string table_;
  Server shop_ = Server::mariadb;
  bool set_up_ = false;
};

}  // namespace assent::testing
