#include <future>

#include "assent/tests/integration/postgres/fixture.h"

namespace assent::testing {
namespace {

using std::chrono::steady_clock;
using PostgresDeadline = PostgresTest;

StartOptions within(std::chrono::milliseconds time) {
  StartOptions options;
  options.deadline = steady_clock::now() + time;
  return options;
}

TEST_F(PostgresDeadline, refuses_to_start_after_it) {
  const auto branch = resource_->start(next_xid(), within(-1ms));
  ASSERT_FALSE(branch);
  EXPECT_EQ(branch.failure().code, Code::rb_timeout);
}

TEST_F(PostgresDeadline, ends_a_statement_that_waits_for_a_lock) {
  auto holder = begin();
  add(*holder, 1, -30);
  auto waiter = begin(within(300ms));
  EXPECT_THROW(add(*waiter, 1, -1), pqxx::sql_error);
  const Reply reply = waiter->prepare();
  EXPECT_TRUE(is_rollback(reply.code));
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_TRUE(holder->commit_one_phase().is_ok());
  EXPECT_EQ(value(1), "70");
}

TEST_F(PostgresDeadline, a_late_statement_gets_only_what_is_left) {
  auto branch = begin(within(60s));
  ASSERT_TRUE(branch->set_deadline(steady_clock::now() + 30s).is_ok());
  const auto granted = Postgres::session(*branch)
                           .exec("SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout'")[0][0]
                           .as<int>();
  EXPECT_LE(granted, 30000);
  EXPECT_GT(granted, 20000);
  ASSERT_TRUE(branch->set_deadline(std::nullopt).is_ok());
  EXPECT_EQ(Postgres::session(*branch).exec("SHOW statement_timeout")[0][0].as<std::string>(), "0");
}

TEST_F(PostgresDeadline, an_idle_session_past_it_is_ended_and_answers_timeout_for_certain) {
  auto branch = begin(within(50ms));
  auto& sql = Postgres::session(*branch);
  sql.exec("SET LOCAL statement_timeout = 0");
  sql.exec("UPDATE " + table_ + " SET v = 0 WHERE id = 1");
  const std::string pid = sql.exec("SELECT pg_backend_pid()")[0][0].as<std::string>();
  while (run("SELECT count(*) FROM pg_stat_activity WHERE pid = " + pid) != "0") {
  }
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::rb_timeout) << describe(reply);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_EQ(value(1), "100");
}

TEST_F(PostgresDeadline, does_not_outlive_its_branch) {
  resource_ = open({}, 1);
  ASSERT_TRUE(resource_->probe());
  ASSERT_TRUE(begin(within(60s))->rollback().is_ok());
  auto next = begin();
  EXPECT_EQ(Postgres::session(*next).exec("SHOW statement_timeout")[0][0].as<std::string>(), "0");
  EXPECT_EQ(Postgres::session(*next).exec("SHOW idle_in_transaction_session_timeout")[0][0].as<std::string>(), "0");
}

TEST_F(PostgresDeadline, a_deadlock_victim_can_only_roll_back) {
  auto one = begin();
  auto two = begin();
  add(*one, 1, -1);
  add(*two, 2, -1);
  const std::string pid = pid_of(*one);
  auto crossing = std::async(std::launch::async, [&] {
    try {
      add(*one, 2, -1);
      return true;
    } catch (const std::exception&) {
      return false;
    }
  });
  await_lock_wait(pid);
  bool second = true;
  try {
    add(*two, 1, -1);
  } catch (const std::exception&) {
    second = false;
    EXPECT_EQ(two->prepare().code, Code::rb_rollback);
  }
  if (second) static_cast<void>(two->rollback());
  const bool first = crossing.get();
  EXPECT_NE(first, second);
  if (!first) {
    EXPECT_EQ(one->prepare().code, Code::rb_rollback);
  }
}

TEST_F(PostgresDeadline, a_serialization_failure_at_prepare_is_a_deadlock_rollback) {
  StartOptions serializable;
  serializable.isolation = Isolation::serializable;
  auto one = begin(serializable);
  auto two = begin(serializable);
  const std::string sum = "SELECT sum(v) FROM " + table_;
  Postgres::session(*one).exec(sum);
  Postgres::session(*two).exec(sum);
  Postgres::session(*one).exec("INSERT INTO " + table_ + " VALUES (11, 1)");
  Postgres::session(*two).exec("INSERT INTO " + table_ + " VALUES (12, 1)");
  ASSERT_TRUE(one->prepare().is_ok());
  ASSERT_TRUE(one->commit().is_ok());
  const Reply reply = two->prepare();
  EXPECT_EQ(reply.code, Code::rb_deadlock);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_FALSE(listed(two->xid()));
}

}  // namespace
}  // namespace assent::testing
