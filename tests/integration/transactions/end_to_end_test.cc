#include <cppconn/resultset.h>
#include <cppconn/statement.h>
#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <stdexcept>
#include <thread>

#include "assent/tests/integration/transactions/world.h"

namespace assent::testing {
namespace {

/// The same on MariaDB and on MySQL.
class EndToEnd : public World, public ::testing::WithParamInterface<Server> {
 protected:
  void SetUp() override { set_up(GetParam()); }

  void transfer(Transaction& tx, const TransactionManager& tm, long cents) const {
    tx.on(tm.resource<Postgres>("ledger"), [&](pqxx::transaction_base& sql) { add_to_ledger(sql, -2 * cents); });
    tx.on(tm.resource<MySql>("shop"), [&](sql::Connection& sql) { add_to_shop(sql, cents); });
    tx.on(tm.resource<Sqlite>("notes"), [&](sqlite3& sql) { add_to_notes(sql, cents); });
  }
};

INSTANTIATE_TEST_SUITE_P(Servers, EndToEnd, ::testing::Values(Server::mariadb, Server::mysql),
                         [](const auto& each) { return std::string(name(each.param)); });

TEST_P(EndToEnd, commits_across_three_databases) {
  auto tm = open();
  const Outcome outcome = tm.run([&](Transaction& tx) { transfer(tx, tm, 10); });
  EXPECT_TRUE(outcome.committed()) << outcome.text();
  EXPECT_TRUE(outcome.pending().empty()) << outcome.text();
  EXPECT_EQ(ledger(), 980);
  EXPECT_EQ(shop(), 1010);
  EXPECT_EQ(notes(), 1010);
  EXPECT_EQ(tm.recover_now().needing_person(), 0U);
}

TEST_P(EndToEnd, an_exception_leaves_nothing_anywhere) {
  auto tm = open();
  const auto work = [&](Transaction& tx) {
    transfer(tx, tm, 10);
    throw std::logic_error("changed my mind");
  };
  EXPECT_THROW(static_cast<void>(tm.run(work)), std::logic_error);
  EXPECT_EQ(ledger(), 1000);
  EXPECT_EQ(shop(), 1000);
  EXPECT_EQ(notes(), 1000);
}

TEST_P(EndToEnd, a_failed_statement_makes_the_transaction_rollback_only_although_mysql_would_commit_the_rest) {
  auto tm = open();
  Transaction tx = tm.begin();
  transfer(tx, tm, 10);
  EXPECT_ANY_THROW(tx.on(tm.resource<MySql>("shop"), [&](sql::Connection& sql) {
    add_to_shop(sql, 1);
    const std::unique_ptr<sql::Statement> statement(sql.createStatement());
    statement->execute("INSERT INTO " + table() + " VALUES (1, 1)");  // duplicate key
  }));
  EXPECT_EQ(tx.commit().kind(), OutcomeKind::rolled_back);
  EXPECT_EQ(shop(), 1000);
  EXPECT_EQ(ledger(), 1000);
}

TEST_P(EndToEnd, run_tries_again_when_the_work_meets_a_serialization_failure) {
  auto tm = open();
  int attempts = 0;
  const Outcome outcome = tm.run([&](Transaction& tx) {
    ++attempts;
    tx.on(tm.resource<MySql>("shop"), [&](sql::Connection& sql) { add_to_shop(sql, 5); });
    tx.on(tm.resource<Postgres>("ledger"), {.isolation = Isolation::repeatable_read, .read_only = false},
          [&](pqxx::transaction_base& sql) {
            sql.exec("SELECT cents FROM " + table());
            if (attempts == 1) {
              // Somebody else changes the row between this transaction's snapshot and its own change.
              pqxx::connection other(*url(Server::postgres));
              pqxx::nontransaction autocommit(other);
              add_to_ledger(autocommit, 1);
            }
            add_to_ledger(sql, -5);
          });
  });
  EXPECT_TRUE(outcome.committed()) << outcome.text();
  EXPECT_EQ(attempts, 2);
  EXPECT_EQ(ledger(), 996);
  EXPECT_EQ(shop(), 1005);
}

TEST_P(EndToEnd, run_tries_again_when_the_work_is_a_deadlock_victim) {
  auto tm = open();
  const auto shop_handle = tm.resource<MySql>("shop");
  static_cast<void>(tm.run([&](Transaction& tx) {
    tx.on(shop_handle, [&](sql::Connection& sql) {
      const std::unique_ptr<sql::Statement> statement(sql.createStatement());
      statement->execute("INSERT INTO " + table() + " VALUES (2, 1000), (3, 1000), (4, 1000)");
    });
  }));
  // Two transactions that lock rows 1 and 2 in opposite order. The first one waits until the second has its first row.
  std::atomic<int> attempts{0};
  std::barrier both{2};
  const auto work = [&](int first, int second) {
    bool met = false;
    return tm.run([&](Transaction& tx) {
      ++attempts;
      tx.on(shop_handle, [&](sql::Connection& sql) {
        const std::unique_ptr<sql::Statement> statement(sql.createStatement());
        const auto change = [&](int id) {
          statement->execute("UPDATE " + table() + " SET cents = cents + 1 WHERE id = " + std::to_string(id));
        };
        change(first);
        if (!met) both.arrive_and_wait();
        met = true;
        change(second);
      });
    });
  };
  std::thread other([&] { EXPECT_TRUE(work(2, 1).committed()); });
  EXPECT_TRUE(work(1, 2).committed());
  other.join();
  EXPECT_EQ(attempts, 3);
  EXPECT_EQ(ask_shop("SELECT SUM(cents) FROM " + table()), "4004");
}

TEST_P(EndToEnd, one_resource_alone_commits_without_the_log) {
  auto tm = open();
  const auto shop_only = tm.resource<MySql>("shop");
  const Outcome outcome =
      tm.run([&](Transaction& tx) { tx.on(shop_only, [&](sql::Connection& sql) { add_to_shop(sql, 5); }); });
  EXPECT_TRUE(outcome.committed()) << outcome.text();
  EXPECT_EQ(shop(), 1005);
  EXPECT_EQ(tm.log_counters().decisions, 0U);
}

TEST_P(EndToEnd, a_reader_beside_a_writer_costs_no_decision) {
  auto tm = open();
  const Outcome outcome = tm.run([&](Transaction& tx) {
    tx.on(tm.resource<MySql>("shop"), {.isolation = Isolation::database_default, .read_only = true},
          [&](sql::Connection& sql) {
            const std::unique_ptr<sql::Statement> statement(sql.createStatement());
            const std::unique_ptr<sql::ResultSet> rows(statement->executeQuery("SELECT cents FROM " + table()));
            while (rows->next()) EXPECT_EQ(rows->getInt64(1), 1000);
          });
    tx.on(tm.resource<Postgres>("ledger"), [&](pqxx::transaction_base& sql) { add_to_ledger(sql, 5); });
  });
  EXPECT_TRUE(outcome.committed()) << outcome.text();
  EXPECT_EQ(ledger(), 1005);
  EXPECT_EQ(tm.log_counters().decisions, 0U);
}

TEST_P(EndToEnd, an_application_that_ends_the_transaction_itself_is_caught) {
  auto tm = open();
  const Outcome outcome = tm.run([&](Transaction& tx) {
    transfer(tx, tm, 10);
    tx.on(tm.resource<Postgres>("ledger"), [&](pqxx::transaction_base& sql) { sql.exec("COMMIT; BEGIN"); });
  });
  EXPECT_EQ(outcome.kind(), OutcomeKind::rolled_back) << outcome.text();
  EXPECT_EQ(shop(), 1000);
  EXPECT_EQ(notes(), 1000);
}

TEST_P(EndToEnd, the_callers_own_connection_is_borrowed_and_idle_again) {
  auto tm = open();
  pqxx::connection own(*url(Server::postgres));
  const auto ledger_handle = tm.resource<Postgres>("ledger");
  Transaction tx = tm.begin();
  tx.adopt(ledger_handle, own);
  tx.on(ledger_handle, [&](pqxx::transaction_base& sql) { add_to_ledger(sql, 7); });
  tx.on(tm.resource<MySql>("shop"), [&](sql::Connection& sql) { add_to_shop(sql, -7); });
  const Outcome outcome = tx.commit();
  EXPECT_TRUE(outcome.committed()) << outcome.text();
  EXPECT_EQ(ledger(), 1007);
  EXPECT_EQ(shop(), 993);
}

}  // namespace
}  // namespace assent::testing
