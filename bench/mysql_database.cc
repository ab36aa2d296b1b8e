#include <cppconn/connection.h>
#include <cppconn/driver.h>
#include <cppconn/resultset.h>
#include <cppconn/statement.h>
#include <mysql_driver.h>

#include <algorithm>
#include <cctype>
#include <stdexcept>

#include "assent/adapters/mysql/mysql.h"
#include "assent/adapters/mysql/session.h"
#include "assent/bench/database.h"

namespace assent::bench {
namespace {

constexpr int rows_a_statement = 800;

std::string update(const std::string& table, int account, int cents) {
  return "UPDATE " + table + " SET cents = cents + " + std::to_string(cents) + " WHERE id = " + std::to_string(account);
}

std::string select(const std::string& table, int account) {
  return "SELECT cents FROM " + table + " WHERE id = " + std::to_string(account);
}

void run(sql::Connection& connection, const std::string& text) {
  const std::unique_ptr<sql::Statement> statement(connection.createStatement());
  statement->execute(text);
}

std::string value(sql::Connection& connection, const std::string& question, unsigned column = 1) {
  const std::unique_ptr<sql::Statement> statement(connection.createStatement());
  const std::unique_ptr<sql::ResultSet> rows(statement->executeQuery(question));
  if (!rows->next()) throw std::runtime_error("the server has no answer to: " + question);
  return rows->getString(column);
}

/// With the options that Assent's own sessions are opened with, as far as they are about speed.
std::unique_ptr<sql::Connection> open(const mysql::Settings& settings) {
  mysql::prepare_thread();
  sql::ConnectOptionsMap options;
  options["hostName"] =
      sql::SQLString(settings.socket.empty() ? "tcp://" + settings.host + ':' + std::to_string(settings.port)
                                             : "unix://" + settings.socket);
  options["userName"] = sql::SQLString(settings.user);
  options["password"] = sql::SQLString(settings.password);
  options["schema"] = sql::SQLString(settings.schema);
  options["OPT_CHARSET_NAME"] = sql::SQLString("utf8mb4");
  if (settings.tls != mysql::Tls::off) options["sslEnforce"] = true;
  return std::unique_ptr<sql::Connection>(sql::mysql::get_driver_instance()->connect(options));
}

class MySqlHand final : public HandSession {
 public:
  MySqlHand(const mysql::Settings& settings, std::string table)
      : connection_(open(settings)), table_(std::move(table)) {}

  void begin_branch(const std::string& id) override {
    // Always the same format id: MySQL can lose a prepared branch when several are in one binary log.
    xid_ = '\'' + id + "','bench',1095978580";
    run(*connection_, "XA START " + xid_);
  }
  void begin_local() override { run(*connection_, "START TRANSACTION"); }
  void begin_reading() override { run(*connection_, "START TRANSACTION READ ONLY"); }
  void add(int account, int cents) override { run(*connection_, update(table_, account, cents)); }
  std::int64_t read(int account) override { return std::stoll(value(*connection_, select(table_, account))); }
  void prepare() override {
    run(*connection_, "XA END " + xid_);
    run(*connection_, "XA PREPARE " + xid_);
  }
  void commit_prepared() override { run(*connection_, "XA COMMIT " + xid_); }
  void commit_local() override { run(*connection_, "COMMIT"); }

 private:
  const std::unique_ptr<sql::Connection> connection_;
  const std::string table_;
  std::string xid_;
};

class MySqlShare final : public AssentShare {
 public:
  MySqlShare(Resource<MySql> resource, std::string table) : resource_(std::move(resource)), table_(std::move(table)) {}

  void add(Transaction& transaction, int account, int cents) const override {
    transaction.on(resource_, [&](sql::Connection& connection) { run(connection, update(table_, account, cents)); });
  }
  std::int64_t read(Transaction& transaction, int account) const override {
    return transaction.on(
        resource_, {.isolation = Isolation::database_default, .read_only = true},
        [&](sql::Connection& connection) { return std::stoll(value(connection, select(table_, account))); });
  }

 private:
  const Resource<MySql> resource_;
  const std::string table_;
};

class MySqlDatabase final : public Database {
 public:
  MySqlDatabase(const ResourceSpec& spec, const std::string& table)
      : Database(spec, table), settings_(mysql::Settings::from(spec)) {}

  std::string product() override {
    std::string version = value(*open(settings_), "SELECT VERSION()");
    const bool mariadb = version.find("MariaDB") != std::string::npos;
    const auto end = std::ranges::find_if(version, [](char c) { return c != '.' && std::isdigit(c) == 0; });
    version.erase(end, version.end());
    return (mariadb ? "MariaDB " : "MySQL ") + version;
  }

  std::vector<std::string> settings() override {
    std::vector<std::string> out;
    const auto connection = open(settings_);
    for (const char* name : {"innodb_flush_log_at_trx_commit", "innodb_flush_method", "innodb_buffer_pool_size",
                             "log_bin", "sync_binlog"}) {
      out.push_back(std::string(name) + " = " +
                    value(*connection, std::string("SHOW VARIABLES LIKE '") + name + '\'', 2));
    }
    return out;
  }

  void open_accounts() override {
    const auto connection = open(settings_);
    run(*connection, "DROP TABLE IF EXISTS " + table());
    run(*connection, "CREATE TABLE " + table() + " (id INTEGER PRIMARY KEY, cents BIGINT NOT NULL) ENGINE=InnoDB");
    for (int first = 0; first < accounts; first += rows_a_statement) {
      std::string rows;
      for (int account = first; account < std::min(accounts, first + rows_a_statement); ++account) {
        rows += (rows.empty() ? "(" : ",(") + std::to_string(account) + ',' + std::to_string(opening_balance) + ')';
      }
      run(*connection, "INSERT INTO " + table() + " VALUES " + rows);
    }
  }

  void remove() override { run(*open(settings_), "DROP TABLE IF EXISTS " + table()); }

  std::int64_t sum() override { return std::stoll(value(*open(settings_), "SELECT SUM(cents) FROM " + table())); }

  ServerCounts counts() override {
    const auto connection = open(settings_);
    const auto status = [&](const char* name) {
      return std::stoull(value(*connection, std::string("SHOW GLOBAL STATUS LIKE '") + name + '\'', 2));
    };
    return {.syncs = status("Innodb_data_fsyncs"), .statements = status("Questions")};
  }

  void demand_room_for_prepared(int) override {}  // InnoDB has a hundred thousand undo slots

  std::unique_ptr<HandSession> connect() override { return std::make_unique<MySqlHand>(settings_, table()); }
  std::unique_ptr<AssentShare> share(const TransactionManager& manager) override {
    return std::make_unique<MySqlShare>(manager.resource<MySql>(name()), table());
  }
  void add_in(Branch& branch, int account, int cents) override {
    run(MySql::session(branch), update(table(), account, cents));
  }

 private:
  const mysql::Settings settings_;
};

}  // namespace

std::unique_ptr<Database> mysql_database(const ResourceSpec& spec, const std::string& table) {
  return std::make_unique<MySqlDatabase>(spec, table);
}

}  // namespace assent::bench
