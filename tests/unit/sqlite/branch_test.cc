#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "assent/tests/unit/sqlite/database.h"
#include "assent/xa/error.h"

namespace assent {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

class SqliteBranchTest : public test::WithDatabase {};

TEST_F(SqliteBranchTest, commits_what_it_prepared) {
  auto branch = prepared(xid(1));
  const Reply reply = branch->commit();
  EXPECT_TRUE(reply.is_ok()) << describe(reply);
  EXPECT_EQ(balance(), "60");
  EXPECT_EQ(integrity(), "ok");
  EXPECT_THAT(beside(), IsEmpty());
}

TEST_F(SqliteBranchTest, rolls_back_what_it_prepared) {
  auto branch = prepared(xid(1));
  const Reply reply = branch->rollback();
  EXPECT_TRUE(reply.is_ok()) << describe(reply);
  EXPECT_EQ(balance(), "100");
  EXPECT_EQ(integrity(), "ok");
  EXPECT_THAT(beside(), IsEmpty());
}

TEST_F(SqliteBranchTest, rolls_back_before_it_is_prepared) {
  auto branch = start(xid(1));
  ASSERT_EQ(test::execute(*branch, "UPDATE account SET balance = 60"), SQLITE_OK);
  EXPECT_TRUE(branch->rollback().is_ok());
  EXPECT_EQ(balance(), "100");
}

TEST_F(SqliteBranchTest, rolls_back_when_destroyed_undecided) {
  auto branch = start(xid(1));
  ASSERT_EQ(test::execute(*branch, "UPDATE account SET balance = 60"), SQLITE_OK);
  branch.reset();
  EXPECT_EQ(balance(), "100");
  EXPECT_THAT(beside(), IsEmpty());
}

TEST_F(SqliteBranchTest, commits_in_one_phase) {
  auto branch = start(xid(1));
  ASSERT_EQ(test::execute(*branch, "UPDATE account SET balance = 60"), SQLITE_OK);
  EXPECT_TRUE(branch->commit_one_phase().is_ok());
  EXPECT_EQ(balance(), "60");
  EXPECT_EQ(resource_->fate(xid(1), "").value(), Fate::committed);
}

TEST_F(SqliteBranchTest, commits_though_the_application_wrote_nothing) {
  auto branch = start(xid(1));
  EXPECT_TRUE(branch->prepare().is_ok());
  EXPECT_TRUE(branch->commit().is_ok());
  EXPECT_EQ(resource_->fate(xid(1), "").value(), Fate::committed);
}

TEST_F(SqliteBranchTest, answers_protocol_error_after_its_end) {
  auto branch = prepared(xid(1));
  EXPECT_EQ(branch->prepare().code, Code::protocol_error);
  EXPECT_EQ(branch->commit_one_phase().code, Code::protocol_error);
  EXPECT_TRUE(branch->commit().is_ok());
  EXPECT_EQ(branch->commit().code, Code::protocol_error);
  EXPECT_EQ(branch->rollback().code, Code::protocol_error);
  EXPECT_EQ(branch->end().code, Code::protocol_error);
  EXPECT_THROW(Sqlite::session(*branch), Error);
  EXPECT_EQ(balance(), "60");
}

TEST_F(SqliteBranchTest, holds_off_plain_readers_and_writers_while_prepared) {
  test::PlainConnection early(path());
  ASSERT_EQ(early.ask("SELECT balance FROM account"), "100");
  auto branch = prepared(xid(1));
  EXPECT_THAT(early.ask("SELECT balance FROM account"), StartsWith("error"));
  EXPECT_THAT(balance(), StartsWith("error"));
  EXPECT_EQ(early.execute("UPDATE account SET balance = 1"), SQLITE_BUSY);
  EXPECT_THAT(test::ask(*branch, "SELECT balance FROM account"), StartsWith("error"));
  EXPECT_TRUE(branch->commit().is_ok());
  EXPECT_EQ(early.ask("SELECT balance FROM account"), "60");
}

TEST_F(SqliteBranchTest, a_plain_writer_works_before_and_after_and_is_turned_away_during) {
  test::PlainConnection plain(path());
  ASSERT_EQ(plain.execute("UPDATE account SET balance = balance + 1"), SQLITE_OK);
  auto branch = start(xid(1));
  ASSERT_EQ(test::execute(*branch, "UPDATE account SET balance = balance - 41"), SQLITE_OK);
  EXPECT_EQ(plain.execute("UPDATE account SET balance = 0"), SQLITE_BUSY);
  EXPECT_EQ(plain.ask("SELECT balance FROM account"), "101");
  ASSERT_TRUE(branch->prepare().is_ok());
  EXPECT_EQ(plain.execute("UPDATE account SET balance = 0"), SQLITE_BUSY);
  ASSERT_TRUE(branch->commit().is_ok());
  EXPECT_EQ(plain.execute("UPDATE account SET balance = balance + 1"), SQLITE_OK);
  EXPECT_EQ(balance(), "61");
}

TEST_F(SqliteBranchTest, catches_the_applications_own_commit_and_begin) {
  auto branch = start(xid(1));
  ASSERT_EQ(test::execute(*branch, "UPDATE account SET balance = 60"), SQLITE_OK);
  EXPECT_NE(test::execute(*branch, "COMMIT"), SQLITE_OK);
  ASSERT_EQ(test::execute(*branch, "BEGIN"), SQLITE_OK);
  ASSERT_EQ(test::execute(*branch, "UPDATE account SET balance = 61"), SQLITE_OK);
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::protocol_error) << describe(reply);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  branch->rollback();
  EXPECT_EQ(balance(), "100");
  EXPECT_THAT(resource_->recover().value(), IsEmpty());
}

TEST_F(SqliteBranchTest, catches_the_applications_own_rollback_and_begin) {
  auto branch = start(xid(1));
  ASSERT_EQ(test::execute(*branch, "ROLLBACK; BEGIN IMMEDIATE; UPDATE account SET balance = 61"), SQLITE_OK);
  EXPECT_EQ(branch->commit_one_phase().code, Code::protocol_error);
  branch.reset();
  EXPECT_EQ(balance(), "100");
}

TEST_F(SqliteBranchTest, an_application_that_ended_the_transaction_gets_a_rollback_code) {
  auto branch = start(xid(1));
  ASSERT_EQ(test::execute(*branch, "ROLLBACK"), SQLITE_OK);
  const Reply reply = branch->prepare();
  EXPECT_TRUE(is_rollback(reply.code)) << describe(reply);
  EXPECT_EQ(resource_->fate(xid(1), "").value(), Fate::rolled_back);
}

TEST_F(SqliteBranchTest, a_read_only_branch_cannot_write_and_ends_at_prepare) {
  StartOptions options;
  options.read_only = true;
  auto branch = start(xid(1), options);
  EXPECT_EQ(test::ask(*branch, "SELECT balance FROM account"), "100");
  EXPECT_EQ(test::execute(*branch, "UPDATE account SET balance = 60"), SQLITE_READONLY);
  EXPECT_EQ(branch->prepare().code, Code::read_only);
  auto next = start(xid(2));
  EXPECT_EQ(test::execute(*next, "UPDATE account SET balance = 60"), SQLITE_OK);
  EXPECT_TRUE(next->commit_one_phase().is_ok());
}

TEST_F(SqliteBranchTest, savepoints_are_the_applications) {
  auto branch = start(xid(1));
  ASSERT_EQ(test::execute(
                *branch, "UPDATE account SET balance = 60; SAVEPOINT a; UPDATE account SET balance = 0; ROLLBACK TO a"),
            SQLITE_OK);
  ASSERT_TRUE(branch->prepare().is_ok());
  ASSERT_TRUE(branch->commit().is_ok());
  EXPECT_EQ(balance(), "60");
}

TEST_F(SqliteBranchTest, a_deadline_interrupts_a_running_statement_and_the_vote_is_timeout) {
  StartOptions options;
  options.deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
  auto branch = start(xid(1), options);
  EXPECT_EQ(test::execute(*branch,
                          "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
                          "INSERT INTO account SELECT i + 1, 0 FROM n WHERE i < 0"),
            SQLITE_INTERRUPT);
  EXPECT_EQ(branch->prepare().code, Code::rb_timeout);
  EXPECT_EQ(balance(), "100");
}

TEST_F(SqliteBranchTest, a_deferred_constraint_is_judged_at_prepare) {
  resource_ = open("bank.db", "?foreign_keys=on");
  test::PlainConnection(path()).execute(
      "CREATE TABLE entry(account INTEGER REFERENCES account DEFERRABLE INITIALLY DEFERRED)");
  auto branch = start(xid(1));
  ASSERT_EQ(test::execute(*branch, "INSERT INTO entry VALUES(99)"), SQLITE_OK);
  EXPECT_EQ(branch->prepare().code, Code::rb_integrity);
  EXPECT_THAT(resource_->recover().value(), IsEmpty());
}

TEST_F(SqliteBranchTest, a_reader_that_stays_makes_prepare_vote_no) {
  test::PlainConnection reader(path());
  auto branch = start(xid(1));
  ASSERT_EQ(test::execute(*branch, "UPDATE account SET balance = 60"), SQLITE_OK);
  ASSERT_EQ(reader.execute("BEGIN; SELECT * FROM account"), SQLITE_OK);
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::rb_timeout) << describe(reply);
  EXPECT_EQ(reader.ask("SELECT balance FROM account"), "100");
}

TEST_F(SqliteBranchTest, an_open_statement_is_refused_before_prepare) {
  auto branch = start(xid(1));
  sqlite3_stmt* statement = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(&Sqlite::session(*branch), "SELECT 1 FROM account", -1, &statement, nullptr), SQLITE_OK);
  ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
  EXPECT_EQ(branch->prepare().code, Code::protocol_error);
  sqlite3_finalize(statement);
  EXPECT_TRUE(branch->prepare().is_ok());
  EXPECT_TRUE(branch->commit().is_ok());
}

TEST_F(SqliteBranchTest, a_forgotten_statement_does_not_keep_the_lock_of_a_prepared_branch) {
  auto branch = start(xid(1));
  sqlite3_stmt* statement = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(&Sqlite::session(*branch), "SELECT 1 FROM account", -1, &statement, nullptr), SQLITE_OK);
  ASSERT_TRUE(branch->prepare().is_ok());
  branch.reset();
  EXPECT_TRUE(resource_->commit(xid(1), {}).is_ok());
  sqlite3_finalize(statement);
}

TEST_F(SqliteBranchTest, no_later_reader_of_the_pool_sees_pages_of_a_branch_that_was_rolled_back) {
  auto branch = prepared(xid(1));
  ASSERT_TRUE(branch->rollback().is_ok());
  ASSERT_EQ(test::PlainConnection(path()).execute("UPDATE account SET balance = 7"), SQLITE_OK);
  auto next = start(xid(2));
  EXPECT_EQ(test::ask(*next, "SELECT balance FROM account"), "7");
}

TEST_F(SqliteBranchTest, the_second_branch_of_a_file_waits_and_is_told_why) {
  auto first = start(xid(1));
  auto second = resource_->start(xid(2), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.failure().code, Code::resource_failed);
  EXPECT_THAT(second.failure().text, HasSubstr("locked"));
}

TEST_F(SqliteBranchTest, what_one_user_left_in_the_session_does_not_reach_the_next) {
  auto branch = start(xid(1));
  ASSERT_EQ(test::execute(*branch, "CREATE TEMP TABLE mine(x)"), SQLITE_OK);
  ASSERT_TRUE(branch->commit_one_phase().is_ok());
  auto next = start(xid(2));
  EXPECT_THAT(test::ask(*next, "SELECT * FROM mine"), HasSubstr("no such table"));
}

TEST_F(SqliteBranchTest, two_branches_on_two_files_end_differently) {
  make("shop.db");
  auto shop = open("shop.db", "", "shop");
  auto first = prepared(xid(1));
  auto second = std::move(shop->start(xid(1, "shop"), {})).value();
  ASSERT_EQ(test::execute(*second, "UPDATE account SET balance = 55"), SQLITE_OK);
  ASSERT_TRUE(second->prepare().is_ok());
  EXPECT_TRUE(first->commit().is_ok());
  EXPECT_TRUE(second->rollback().is_ok());
  EXPECT_EQ(balance(), "60");
  EXPECT_EQ(test::PlainConnection(path("shop.db")).ask("SELECT balance FROM account"), "100");
}

TEST_F(SqliteBranchTest, adopts_an_idle_connection_and_leaves_it_as_it_was) {
  test::PlainConnection own(path(), SQLITE_OPEN_READWRITE, Sqlite::vfs());
  own.execute("PRAGMA busy_timeout=1234");
  for (const bool commit : {false, true}) {
    auto adopted = Sqlite::adopt(*resource_, own.connection(), xid(commit ? 2 : 1), {});
    ASSERT_TRUE(adopted) << describe(adopted.failure());
    auto branch = std::move(adopted).value();
    ASSERT_EQ(&Sqlite::session(*branch), &own.connection());
    ASSERT_EQ(own.execute("UPDATE account SET balance = 60; CREATE TABLE t(x)"), SQLITE_OK);
    ASSERT_TRUE(branch->prepare().is_ok());
    ASSERT_TRUE((commit ? branch->commit() : branch->rollback()).is_ok());
    EXPECT_EQ(own.ask("SELECT balance FROM account"), commit ? "60" : "100");
    EXPECT_EQ(own.ask("SELECT count(*) FROM sqlite_schema WHERE name = 't'"), commit ? "1" : "0");
  }
  EXPECT_EQ(own.ask("PRAGMA busy_timeout"), "1234");
}

TEST_F(SqliteBranchTest, a_borrowed_connection_sees_nothing_stale_after_a_rollback) {
  test::PlainConnection own(path(), SQLITE_OPEN_READWRITE, Sqlite::vfs());
  auto branch = std::move(Sqlite::adopt(*resource_, own.connection(), xid(1), {})).value();
  ASSERT_EQ(own.execute("UPDATE account SET balance = 60; CREATE TABLE t(x)"), SQLITE_OK);
  ASSERT_TRUE(branch->prepare().is_ok());
  ASSERT_TRUE(branch->rollback().is_ok());
  // The same change counter and schema cookie as the branch had, and other contents.
  ASSERT_EQ(test::PlainConnection(path()).execute("BEGIN; UPDATE account SET balance = 7; CREATE TABLE u(x); COMMIT"),
            SQLITE_OK);
  EXPECT_EQ(own.ask("SELECT balance FROM account"), "7");
  EXPECT_EQ(own.ask("SELECT count(*) FROM u"), "0");
}

TEST_F(SqliteBranchTest, catches_the_commit_of_a_borrowed_connection) {
  test::PlainConnection own(path(), SQLITE_OPEN_READWRITE, Sqlite::vfs());
  auto branch = std::move(Sqlite::adopt(*resource_, own.connection(), xid(1), {})).value();
  ASSERT_EQ(own.execute("UPDATE account SET balance = 60; COMMIT; BEGIN"), SQLITE_OK);
  EXPECT_EQ(branch->prepare().code, Code::protocol_error);
}

TEST_F(SqliteBranchTest, a_commit_that_sqlite_turns_into_a_rollback_is_not_prepared) {
  test::PlainConnection own(path(), SQLITE_OPEN_READWRITE, Sqlite::vfs());
  auto branch = std::move(Sqlite::adopt(*resource_, own.connection(), xid(1), {})).value();
  ASSERT_EQ(own.execute("UPDATE account SET balance = 60"), SQLITE_OK);
  sqlite3_commit_hook(
      &own.connection(), [](void*) { return 1; }, nullptr);
  const Reply reply = branch->prepare();
  EXPECT_TRUE(is_rollback(reply.code)) << describe(reply);
  EXPECT_THAT(resource_->recover().value(), IsEmpty());
  EXPECT_EQ(balance(), "100");
  EXPECT_THAT(beside(), IsEmpty());
}

}  // namespace
}  // namespace assent
