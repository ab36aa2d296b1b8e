#include <chrono>
#include <pqxx/connection>
#include <pqxx/nontransaction>
#include <thread>

#include "assent/adapters/postgres/postgres.h"
#include "assent/adapters/postgres/settings.h"
#include "assent/bench/database.h"
#include "assent/xa/error.h"

namespace assent::bench {
namespace {

/// The keywords that Assent's own sessions are opened with, so that both sides have the same connection.
std::string connection_string(const ResourceSpec& spec) {
  std::string out;
  for (const auto& [key, value] : detail::postgres::Settings::from(spec.url).keywords) {
    out += key + "='";
    for (const char c : value) {
      if (c == '\'' || c == '\\') out += '\\';
      out += c;
    }
    out += "' ";
  }
  return out;
}

std::string update(const std::string& table, int account, int cents) {
  return "UPDATE " + table + " SET cents = cents + " + std::to_string(cents) + " WHERE id = " + std::to_string(account);
}

std::string select(const std::string& table, int account) {
  return "SELECT cents FROM " + table + " WHERE id = " + std::to_string(account);
}

class PostgresHand final : public HandSession {
 public:
  PostgresHand(const std::string& options, std::string table)
      : connection_(options), work_(connection_), table_(std::move(table)) {}

  void begin_branch(const std::string& id) override {
    id_ = id;
    work_.exec("BEGIN");
  }
  void begin_local() override { work_.exec("BEGIN"); }
  void begin_reading() override { work_.exec("BEGIN READ ONLY"); }
  void add(int account, int cents) override { work_.exec(update(table_, account, cents)); }
  std::int64_t read(int account) override { return work_.exec1(select(table_, account))[0].as<std::int64_t>(); }
  void prepare() override { work_.exec("PREPARE TRANSACTION '" + id_ + '\''); }
  void commit_prepared() override { work_.exec("COMMIT PREPARED '" + id_ + '\''); }
  void commit_local() override { work_.exec("COMMIT"); }

 private:
  pqxx::connection connection_;
  pqxx::nontransaction work_;
  const std::string table_;
  std::string id_;
};

class PostgresShare final : public AssentShare {
 public:
  PostgresShare(Resource<Postgres> resource, std::string table)
      : resource_(std::move(resource)), table_(std::move(table)) {}

  void add(Transaction& transaction, int account, int cents) const override {
    transaction.on(resource_, [&](Postgres::Session& session) { session.exec(update(table_, account, cents)); });
  }
  std::int64_t read(Transaction& transaction, int account) const override {
    return transaction.on(
        resource_, {.isolation = Isolation::database_default, .read_only = true},
        [&](Postgres::Session& session) { return session.exec(select(table_, account))[0][0].as<std::int64_t>(); });
  }

 private:
  const Resource<Postgres> resource_;
  const std::string table_;
};

class PostgresDatabase final : public Database {
 public:
  PostgresDatabase(const ResourceSpec& spec, const std::string& table)
      : Database(spec, table), options_(connection_string(spec)) {}

  std::string product() override {
    const std::string version = ask("SHOW server_version");
    return "PostgreSQL " + version.substr(0, version.find(' '));
  }

  std::vector<std::string> settings() override {
    std::vector<std::string> out;
    for (const char* name : {"fsync", "synchronous_commit", "wal_sync_method", "full_page_writes", "shared_buffers"}) {
      out.push_back(std::string(name) + " = " + ask(std::string("SHOW ") + name));
    }
    return out;
  }

  void open_accounts() override {
    pqxx::connection connection(options_);
    pqxx::nontransaction work(connection);
    work.exec("SET client_min_messages = warning");
    work.exec("DROP TABLE IF EXISTS " + table());
    work.exec("CREATE TABLE " + table() + " (id INTEGER PRIMARY KEY, cents BIGINT NOT NULL)");
    work.exec("INSERT INTO " + table() + " SELECT n, " + std::to_string(opening_balance) + " FROM generate_series(0, " +
              std::to_string(accounts - 1) + ") n");
    // The planner takes a table it knows nothing of for a large one, in the first rounds only.
    work.exec("ANALYZE " + table());
  }

  void remove() override {
    pqxx::connection connection(options_);
    pqxx::nontransaction work(connection);
    work.exec("SET client_min_messages = warning");
    work.exec("DROP TABLE IF EXISTS " + table());
  }

  std::int64_t sum() override { return std::stoll(ask("SELECT SUM(cents) FROM " + table())); }

  ServerCounts counts() override {
    await_goodbyes();
    return {.syncs = std::stoull(ask("SELECT wal_sync FROM pg_stat_wal")), .statements = std::nullopt};
  }

  void demand_room_for_prepared(int transactions) override {
    if (std::stoi(ask("SHOW max_prepared_transactions")) >= transactions) return;
    const std::string wanted = std::to_string(transactions);
    throw Error(ErrorCode::resource_unfit, "PostgreSQL has no room for " + wanted + " prepared transactions",
                "ALTER SYSTEM SET max_prepared_transactions = " + wanted + "; then restart it");
  }

  std::unique_ptr<HandSession> connect() override { return std::make_unique<PostgresHand>(options_, table()); }
  std::unique_ptr<AssentShare> share(const TransactionManager& manager) override {
    return std::make_unique<PostgresShare>(manager.resource<Postgres>(name()), table());
  }
  void add_in(Branch& branch, int account, int cents) override {
    Postgres::session(branch).exec(update(table(), account, cents));
  }

 private:
  std::string ask(const std::string& question) {
    pqxx::connection connection(options_);
    pqxx::nontransaction work(connection);
    return work.exec1(question)[0].as<std::string>();
  }

  /// A backend reports what it did before it leaves pg_stat_activity; nothing tells that it left but asking. Sessions
  /// of other programs are not waited for for ever.
  void await_goodbyes() {
    for (int i = 0; i < 200; ++i) {
      if (ask("SELECT count(*) FROM pg_stat_activity WHERE usename = current_user AND datname = current_database() "
              "AND application_name LIKE 'assent%' AND pid <> pg_backend_pid()") == "0") {
        return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }

  const std::string options_;
};

}  // namespace

std::unique_ptr<Database> postgres_database(const ResourceSpec& spec, const std::string& table) {
  return std::make_unique<PostgresDatabase>(spec, table);
}

}  // namespace assent::bench
