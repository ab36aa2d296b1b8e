#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <thread>
#include <vector>

#include "assent/adapters/scripted/null_resource.h"

#include "assent/tests/integration/transactions/world.h"

// Forced writes, counted by the servers themselves and by the log: counts, not times. PostgreSQL's backends report what
// they did when they end, so each count spans the life of a transaction manager.

namespace assent::testing {
namespace {

constexpr int transactions = 1000;

class Counts : public World {
 protected:
  void SetUp() override { set_up(Server::mariadb); }

  struct Writes {
    int postgres = 0;
    int mariadb = 0;
    int log = 0;
  };

  /// Forced writes that `transactions` rounds of the work cost, beyond what opening and closing cost.
  Writes count(const std::function<void(TransactionManager&)>& work) {
    const Writes idle = span([](TransactionManager&) {});
    const Writes busy = span([&](TransactionManager& tm) {
      for (int i = 0; i < transactions; ++i) work(tm);
    });
    return {busy.postgres - idle.postgres, busy.mariadb - idle.mariadb, busy.log};
  }

 private:
  Writes span(const std::function<void(TransactionManager&)>& work) {
    const Writes before = counters();
    int log = 0;
    {
      auto tm = open();
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
    // Asked on a session of its own, which ends before the next: all reports are in by then.
    return {std::stoi(ask_postgres("SELECT wal_sync FROM pg_stat_wal")),
            std::stoi(ask_shop("SHOW GLOBAL STATUS LIKE 'Innodb_data_fsyncs'", 2)), 0};
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
  EXPECT_NEAR(writes.postgres, 2 * transactions, transactions / 50);
  EXPECT_NEAR(writes.mariadb, 2 * transactions, transactions / 50);
  EXPECT_NEAR(writes.log, transactions, transactions / 100);
  EXPECT_NEAR(writes.postgres + writes.mariadb + writes.log, 5 * transactions, 5 * transactions / 100);
}

TEST_F(Counts, postgresql_alone_costs_its_own_single_write) {
  const Writes writes = count([&](TransactionManager& tm) {
    const Outcome outcome = tm.run([&](Transaction& tx) {
      tx.on(tm.resource<Postgres>("ledger"), [&](pqxx::transaction_base& sql) { add_to_ledger(sql, 1); });
    });
    ASSERT_TRUE(outcome.committed()) << outcome.text();
  });
  EXPECT_NEAR(writes.postgres, transactions, transactions / 100);
  EXPECT_NEAR(writes.mariadb, 0, transactions / 100);
  EXPECT_LE(writes.log, transactions / 100);
}

TEST_F(Counts, mariadb_alone_costs_its_own_single_write) {
  const Writes writes = count([&](TransactionManager& tm) {
    const Outcome outcome = tm.run([&](Transaction& tx) {
      tx.on(tm.resource<MySql>("shop"), [&](sql::Connection& sql) { add_to_shop(sql, 1); });
    });
    ASSERT_TRUE(outcome.committed()) << outcome.text();
  });
  EXPECT_NEAR(writes.mariadb, transactions, transactions / 100);
  EXPECT_NEAR(writes.postgres, 0, transactions / 100);
  EXPECT_LE(writes.log, transactions / 100);
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
  EXPECT_NEAR(in_mariadb.mariadb, 0, transactions / 100);
  EXPECT_NEAR(in_mariadb.postgres, transactions, transactions / 100);
  const Writes in_postgres = count([&](TransactionManager& tm) {
    const Outcome outcome = tm.run([&](Transaction& tx) {
      tx.on(tm.resource<Postgres>("ledger"), reads,
            [&](pqxx::transaction_base& sql) { sql.exec("SELECT cents FROM " + table()); });
      tx.on(tm.resource<MySql>("shop"), [&](sql::Connection& sql) { add_to_shop(sql, 1); });
    });
    ASSERT_TRUE(outcome.committed()) << outcome.text();
  });
  EXPECT_NEAR(in_postgres.postgres, 0, transactions / 100);
  EXPECT_NEAR(in_postgres.mariadb, transactions, transactions / 100);
}

struct Null {
  using Session = Branch;
  using Connection = int;
  static constexpr const char* kind = "null";
  static Session& session(Branch& branch) { return branch; }
  static bool owns(const ResourceManager&) { return true; }
};

TEST(GroupCommit, sixty_four_committers_make_at_least_sixteen_decisions_a_sync) {
  std::string pattern = (std::filesystem::temp_directory_path() / "assent-group-XXXXXX").string();
  const std::string directory = mkdtemp(pattern.data());
  Config config;
  config.node = "group";
  config.log_directory = directory;
  config.threads = 64;
  for (const char* name : {"a", "b"}) {
    ResourceSpec spec;
    spec.name = name;
    spec.url = ResourceUrl::parse(std::string("null://") + name + "/");
    config.resources.push_back(spec);
  }
  Registry registry;
  registry.add("null", [](const ResourceSpec& spec) { return std::make_shared<NullResource>(spec.name); });
  std::atomic<long> committed{0};
  DecisionLog::Counters counters;
  {
    auto tm = TransactionManager::open(config, registry);
    const auto a = tm.resource<Null>("a");
    const auto b = tm.resource<Null>("b");
    std::vector<std::thread> clients;
    for (int client = 0; client < 64; ++client) {
      clients.emplace_back([&] {
        for (int i = 0; i < 500; ++i) {
          const Outcome outcome = tm.run([&](Transaction& tx) {
            tx.on(a, [](Branch&) {});
            tx.on(b, [](Branch&) {});
          });
          if (outcome.committed()) ++committed;
        }
      });
    }
    for (auto& client : clients) client.join();
    counters = tm.log_counters();
  }
  std::filesystem::remove_all(directory);
  EXPECT_EQ(committed, 64 * 500);
  EXPECT_EQ(counters.decisions, 64U * 500U);
  EXPECT_GE(counters.decisions / counters.syncs, 16U) << counters.syncs << " syncs";
}

}  // namespace
}  // namespace assent::testing
