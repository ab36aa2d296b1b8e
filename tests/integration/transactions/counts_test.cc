#include <gtest/gtest.h>

#include <chrono>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "assent/adapters/mysql/session.h"
#include "assent/adapters/mysql/settings.h"
#include "assent/bench/database.h"
#include "assent/bench/recovery_bench.h"
#include "assent/tests/integration/transactions/world.h"

// Forced writes, counted by the servers themselves and by the log: counts, not times. PostgreSQL's backends report what
// they did when they end, so each count spans the life of a transaction manager.

namespace assent::testing {
namespace {

constexpr int transactions = 1000;
constexpr double one_percent = transactions / 100.0;

class Counts : public World {
 protected:
  void SetUp() override {
    set_up(Server::mariadb);
    // What the servers force by themselves meanwhile is not the question: PostgreSQL's WAL writer does so five times a
    // second, MariaDB's master thread once, and its page cleaner as often as a tenth of its log is not in the pages
    // yet.
    tell_postgres({"ALTER SYSTEM SET wal_writer_delay = '10s'", "ALTER SYSTEM SET autovacuum = off"});
    tell_mariadb("SET GLOBAL innodb_flush_log_at_timeout = 2700, innodb_adaptive_flushing = OFF");
    write_checkpoint();
  }
  void TearDown() override {
    tell_postgres({"ALTER SYSTEM RESET wal_writer_delay", "ALTER SYSTEM RESET autovacuum"});
    tell_mariadb("SET GLOBAL innodb_flush_log_at_timeout = DEFAULT, innodb_adaptive_flushing = DEFAULT");
  }

  static mysql::Answer tell_mariadb(const std::string& statement) {
    ResourceSpec spec;
    spec.name = "admin";
    spec.url = ResourceUrl::parse(*admin_url(Server::mariadb));
    const auto session = mysql::Session::open(mysql::Settings::from(spec));
    if (!session) throw std::runtime_error(describe(session.failure()));
    mysql::Answer answer = (*session)->run({statement});
    EXPECT_TRUE(answer.ok()) << statement;
    return answer;
  }

  /// What other tests left in MariaDB's log has its pages written and forced when that is nearly full: not meanwhile.
  static void write_checkpoint() {
    tell_mariadb("SET GLOBAL innodb_io_capacity = 20000, innodb_max_dirty_pages_pct = 0");
    constexpr long room_for_all = 1 << 20;
    const auto behind = [] {
      return std::stol(*tell_mariadb("SHOW GLOBAL STATUS LIKE 'Innodb_checkpoint_age'").rows.at(0).at(0).at(1));
    };
    while (behind() > room_for_all) std::this_thread::yield();
    tell_mariadb(
        "SET GLOBAL innodb_max_dirty_pages_pct = DEFAULT, innodb_io_capacity = DEFAULT, innodb_io_capacity_max = 2000");
  }

  static void tell_postgres(const std::vector<std::string>& settings) {
    pqxx::connection connection(*admin_url(Server::postgres));
    pqxx::nontransaction sql(connection);
    for (const std::string& setting : settings) sql.exec0(setting);
    sql.exec1("SELECT pg_reload_conf()");
  }

  struct Writes {
    int postgres = 0;
    int mariadb = 0;
    int log = 0;
  };

  /// Forced writes that `transactions` rounds of the work cost, beyond what opening and closing cost.
  Writes count(const std::function<void(TransactionManager&)>& work) {
    const auto all = [&](TransactionManager& tm) {
      for (int i = 0; i < transactions; ++i) work(tm);
    };
    // Once for nothing: InnoDB forces a table's file each time that it grows, and the witnesses' is as large as it
    // gets.
    span(all);
    const Writes idle = span([](TransactionManager&) {});
    const Writes busy = span(all);
    return {busy.postgres - idle.postgres, busy.mariadb - idle.mariadb, busy.log};
  }

 private:
  Writes span(const std::function<void(TransactionManager&)>& work) {
    const Writes before = counters();
    int log = 0;
    {
      // Recovery looks when it is opened, and not once a second besides: a look forces what a last resource shows it.
      Config looks_once = config();
      looks_once.recovery_interval = std::chrono::hours(24);
      auto tm = TransactionManager::open(looks_once, registry());
      // Everybody is connected, known and noted.
      warm_up(tm);
      const auto at_first = tm.log_counters().syncs;
      work(tm);
      log = static_cast<int>(tm.log_counters().syncs - at_first);
    }
    const Writes after = counters();
    return {after.postgres - before.postgres, after.mariadb - before.mariadb, log};
  }

  void warm_up(TransactionManager& tm) {
    const Outcome outcome = tm.run([&](Transaction& tx) {
      tx.on(tm.resource<Postgres>("ledger"), [&](pqxx::transaction_base& sql) { add_to_ledger(sql, 1); });
      tx.on(tm.resource<MySql>("shop"), [&](sql::Connection& sql) { add_to_shop(sql, 1); });
    });
    ASSERT_TRUE(outcome.committed()) << outcome.text();
  }

  Writes counters() const {
    const auto syncs = [&](const ResourceSpec& resource) {
      return static_cast<int>(bench::open_database(resource, table())->counts().syncs.value());
    };
    return {syncs(config().resources.at(0)), syncs(config().resources.at(1)), 0};
  }
};

TEST_F(Counts, two_databases_cost_five_forced_writes_a_transaction) {
  const Writes writes = count([&](TransactionManager& tm) {
    const Outcome outcome = tm.run([&](Transaction& tx) {
      tx.on(tm.resource<Postgres>("ledger"), [&](pqxx::transaction_base& sql) { add_to_ledger(sql, -1); });
      tx.on(tm.resource<MySql>("shop"), [&](sql::Connection& sql) { add_to_shop(sql, 1); });
    });
    ASSERT_TRUE(outcome.committed()) << outcome.text();
  });
  EXPECT_NEAR(writes.postgres, 2 * transactions, 2 * one_percent);
  EXPECT_NEAR(writes.mariadb, 2 * transactions, 2 * one_percent);
  EXPECT_NEAR(writes.log, transactions, one_percent);
  EXPECT_NEAR(writes.postgres + writes.mariadb + writes.log, 5 * transactions, 5 * one_percent);
}

TEST_F(Counts, two_databases_of_which_one_decides_cost_three_forced_writes_a_transaction) {
  for (const char* last : {"ledger", "shop"}) {
    SCOPED_TRACE(last);
    const Writes writes = count([&](TransactionManager& tm) {
      const Outcome outcome = tm.run({.last_resource = last}, [&](Transaction& tx) {
        tx.on(tm.resource<Postgres>("ledger"), [&](pqxx::transaction_base& sql) {
          // The decision is durable whatever the session says of itself.
          sql.exec0("SET LOCAL synchronous_commit = off");
          add_to_ledger(sql, -1);
        });
        tx.on(tm.resource<MySql>("shop"), [&](sql::Connection& sql) { add_to_shop(sql, 1); });
      });
      ASSERT_TRUE(outcome.committed()) << outcome.text();
    });
    const bool ledger_decides = last == std::string("ledger");
    EXPECT_NEAR(writes.postgres, (ledger_decides ? 1 : 2) * transactions, 2 * one_percent);
    EXPECT_NEAR(writes.mariadb, (ledger_decides ? 2 : 1) * transactions, 2 * one_percent);
    EXPECT_LE(writes.log, one_percent);
    EXPECT_NEAR(writes.postgres + writes.mariadb + writes.log, 3 * transactions, 3 * one_percent);
  }
}

TEST_F(Counts, postgresql_alone_costs_its_own_single_write) {
  const Writes writes = count([&](TransactionManager& tm) {
    const Outcome outcome = tm.run([&](Transaction& tx) {
      tx.on(tm.resource<Postgres>("ledger"), [&](pqxx::transaction_base& sql) { add_to_ledger(sql, 1); });
    });
    ASSERT_TRUE(outcome.committed()) << outcome.text();
  });
  EXPECT_NEAR(writes.postgres, transactions, one_percent);
  EXPECT_NEAR(writes.mariadb, 0, one_percent);
  EXPECT_LE(writes.log, one_percent);
}

TEST_F(Counts, mariadb_alone_costs_its_own_single_write) {
  const Writes writes = count([&](TransactionManager& tm) {
    const Outcome outcome = tm.run([&](Transaction& tx) {
      tx.on(tm.resource<MySql>("shop"), [&](sql::Connection& sql) { add_to_shop(sql, 1); });
    });
    ASSERT_TRUE(outcome.committed()) << outcome.text();
  });
  EXPECT_NEAR(writes.mariadb, transactions, one_percent);
  EXPECT_NEAR(writes.postgres, 0, one_percent);
  EXPECT_LE(writes.log, one_percent);
}

TEST_F(Counts, a_branch_declared_read_only_costs_no_forced_write_in_its_database) {
  const BranchOptions reads{.isolation = Isolation::database_default, .read_only = true};
  const Writes in_mariadb = count([&](TransactionManager& tm) {
    const Outcome outcome = tm.run([&](Transaction& tx) {
      tx.on(tm.resource<MySql>("shop"), reads, [](sql::Connection&) {});
      tx.on(tm.resource<Postgres>("ledger"), [&](pqxx::transaction_base& sql) { add_to_ledger(sql, 1); });
    });
    ASSERT_TRUE(outcome.committed()) << outcome.text();
  });
  EXPECT_NEAR(in_mariadb.mariadb, 0, one_percent);
  EXPECT_NEAR(in_mariadb.postgres, transactions, one_percent);
  const Writes in_postgres = count([&](TransactionManager& tm) {
    const Outcome outcome = tm.run([&](Transaction& tx) {
      tx.on(tm.resource<Postgres>("ledger"), reads,
            [&](pqxx::transaction_base& sql) { sql.exec("SELECT cents FROM " + table()); });
      tx.on(tm.resource<MySql>("shop"), [&](sql::Connection& sql) { add_to_shop(sql, 1); });
    });
    ASSERT_TRUE(outcome.committed()) << outcome.text();
  });
  EXPECT_NEAR(in_postgres.postgres, 0, one_percent);
  EXPECT_NEAR(in_postgres.mariadb, transactions, one_percent);
}

// Twice as much in doubt costs at most twice as much to settle, in every database: nothing is asked for each branch
// that grows with their number, such as the list of all of them.
TEST_F(Counts, recovery_costs_statements_in_proportion_to_what_is_in_doubt) {
  const auto ledger = bench::open_database(config().resources.at(0), table() + "_recovery");
  const auto shop = bench::open_database(config().resources.at(1), table() + "_recovery");
  const auto settle = [&](int in_doubt) {
    return bench::time_recovery(*ledger, *shop, in_doubt, directory() + "/recovery-" + std::to_string(in_doubt), [] {});
  };
  const bench::Recovered some = settle(40);
  const bench::Recovered twice = settle(80);
  EXPECT_EQ(twice.passes, some.passes);
  for (std::size_t i = 0; i < 2; ++i) {
    SCOPED_TRACE(some.databases[i]);
    ASSERT_TRUE(some.costs[i].messages && twice.costs[i].messages);
    EXPECT_GE(*some.costs[i].messages, 40U) << "each branch is settled by a statement of its own";
    EXPECT_LE(*twice.costs[i].messages, 2 * *some.costs[i].messages);
    if (!some.costs[i].statements) continue;
    EXPECT_LE(*twice.costs[i].statements, 2 * *some.costs[i].statements);
  }
}

}  // namespace
}  // namespace assent::testing
