#include "assent/tests/integration/postgres/fixture.h"

namespace assent::testing {
namespace {

using PostgresGuard = PostgresTest;

TEST_F(PostgresGuard, sees_the_silent_rollback_of_a_failed_transaction) {
  // The fact: no error, and the tag ROLLBACK.
  const Answer fact = plain_->exec("BEGIN");
  ASSERT_TRUE(fact.ok());
  ASSERT_EQ(run("SELECT 1/0"), "ERROR 22012");
  const Xid alone = next_xid();
  const Answer silent = plain_->exec("PREPARE TRANSACTION " + text_literal(to_gid(alone)));
  EXPECT_TRUE(silent.ok());
  EXPECT_EQ(silent.tag(), "ROLLBACK");
  EXPECT_FALSE(listed(alone));

  auto branch = begin();
  add(*branch, 1, -30);
  EXPECT_THROW(Postgres::session(*branch).exec("SELECT 1/0"), pqxx::sql_error);
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::rb_rollback);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_FALSE(listed(branch->xid()));
  EXPECT_EQ(value(1), "100");
}

TEST_F(PostgresGuard, sees_the_rollback_of_a_failed_transaction_at_one_phase_commit) {
  auto branch = begin();
  add(*branch, 1, -30);
  EXPECT_THROW(Postgres::session(*branch).exec("SELECT 1/0"), pqxx::sql_error);
  EXPECT_EQ(branch->commit_one_phase().code, Code::rb_rollback);
  EXPECT_EQ(value(1), "100");
}

TEST_F(PostgresGuard, catches_commit_and_begin_by_the_application) {
  auto branch = begin();
  add(*branch, 1, -30);
  Postgres::session(*branch).exec("COMMIT; BEGIN");
  add(*branch, 2, +30);
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::protocol_error);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_THAT(reply.text, ::testing::HasSubstr("ended the branch's transaction itself and began another"));
  EXPECT_FALSE(listed(branch->xid()));
  EXPECT_EQ(value(2), "100");
}

TEST_F(PostgresGuard, catches_commit_and_begin_before_a_one_phase_commit) {
  auto branch = begin();
  add(*branch, 1, -30);
  Postgres::session(*branch).exec("ROLLBACK; BEGIN");
  add(*branch, 2, +30);
  EXPECT_EQ(branch->commit_one_phase().code, Code::protocol_error);
  EXPECT_EQ(value(2), "100");
  EXPECT_EQ(witness_of(branch->xid()), "");
}

TEST_F(PostgresGuard, prepares_nothing_outside_of_a_transaction) {
  // The fact: in one string with a SELECT, PREPARE outside of a block makes an empty prepared transaction.
  const Xid alone = next_xid();
  EXPECT_EQ(run("SELECT 1; PREPARE TRANSACTION " + text_literal(to_gid(alone))), "1");
  EXPECT_TRUE(listed(alone));

  auto branch = begin();
  Postgres::session(*branch).exec("COMMIT");
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::protocol_error);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_FALSE(listed(branch->xid()));
}

TEST_F(PostgresGuard, does_not_call_a_branch_rolled_back_that_the_application_committed) {
  auto branch = begin();
  add(*branch, 1, -30);
  Postgres::session(*branch).exec("COMMIT");
  const Reply reply = branch->rollback();
  EXPECT_EQ(reply.code, Code::heuristic_hazard);
  EXPECT_EQ(reply.certainty, Certainty::unknown);
}

TEST_F(PostgresGuard, does_not_call_a_branch_rolled_back_that_the_application_committed_to_begin_another) {
  auto branch = begin();
  add(*branch, 1, -30);
  Postgres::session(*branch).exec("COMMIT; BEGIN");
  const Reply reply = branch->rollback();
  EXPECT_EQ(reply.code, Code::heuristic_hazard);
  EXPECT_EQ(reply.certainty, Certainty::unknown);
  EXPECT_EQ(value(1), "70");
}

TEST_F(PostgresGuard, refuses_a_branch_whose_application_name_was_changed) {
  auto branch = begin();
  add(*branch, 1, -30);
  Postgres::session(*branch).exec("SET application_name = 'mine'");
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::protocol_error);
  EXPECT_THAT(reply.text, ::testing::HasSubstr("application_name"));
  EXPECT_FALSE(listed(branch->xid()));
  EXPECT_EQ(value(1), "100");
}

TEST_F(PostgresGuard, refuses_to_prepare_behind_an_unfinished_command) {
  for (const bool one_phase : {false, true}) {
    auto branch = begin();
    add(*branch, 1, -30);
    PGconn* const raw = detail::postgres::Native::below(Postgres::session(*branch).transaction().conn());
    ASSERT_EQ(PQsendQuery(raw, "SELECT 1"), 1);
    const Reply reply = one_phase ? branch->commit_one_phase() : branch->prepare();
    EXPECT_EQ(reply.code, Code::protocol_error);
    EXPECT_EQ(reply.certainty, Certainty::not_done);
    EXPECT_FALSE(listed(branch->xid()));
  }
  EXPECT_EQ(run("SELECT v FROM " + table_ + " WHERE id = 1 FOR UPDATE"), "100");
}

TEST_F(PostgresGuard, answers_resource_error_for_what_postgres_cannot_prepare) {
  for (const std::string statement : {"CREATE TEMP TABLE scratch(x int)", "NOTIFY somebody", "LISTEN somebody",
                                      "DECLARE c CURSOR WITH HOLD FOR SELECT 1", "SELECT pg_export_snapshot()"}) {
    auto branch = begin();
    add(*branch, 1, -30);
    Postgres::session(*branch).exec(statement);
    const Reply reply = branch->prepare();
    EXPECT_EQ(reply.code, Code::resource_error) << statement;
    EXPECT_EQ(reply.certainty, Certainty::not_done) << statement;
    EXPECT_FALSE(reply.text.empty());
    EXPECT_FALSE(listed(branch->xid())) << statement;
  }
  EXPECT_EQ(value(1), "100");
}

TEST_F(PostgresGuard, refuses_the_same_advisory_key_held_by_session_and_transaction) {
  auto branch = begin();
  add(*branch, 1, -30);
  Postgres::session(*branch).exec("SELECT pg_advisory_lock(77, " + std::to_string(getpid()) +
                                  "), pg_advisory_xact_lock(77, " + std::to_string(getpid()) + ")");
  EXPECT_EQ(branch->prepare().code, Code::resource_error);
}

TEST_F(PostgresGuard, a_deferred_constraint_fails_at_prepare_as_an_integrity_rollback) {
  ASSERT_EQ(run("ALTER TABLE " + table_ + " ADD CONSTRAINT own FOREIGN KEY (v) REFERENCES " + table_ +
                "(id) DEFERRABLE INITIALLY DEFERRED NOT VALID"),
            "");
  for (const bool with_deadline : {false, true}) {
    StartOptions options;
    if (with_deadline) options.deadline = std::chrono::steady_clock::now() + 30s;
    auto branch = begin(options);
    Postgres::session(*branch).exec("INSERT INTO " + table_ + " VALUES (7, 4711)");
    const Reply reply = branch->prepare();
    EXPECT_EQ(reply.code, Code::rb_integrity);
    EXPECT_EQ(reply.certainty, Certainty::not_done);
    EXPECT_FALSE(listed(branch->xid()));
  }
}

TEST_F(PostgresGuard, the_deadline_bounds_a_deferred_trigger_at_prepare_and_at_one_phase_commit) {
  ASSERT_EQ(
      run("CREATE FUNCTION slow_" + table_ +
          "() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN NULL; END'; CREATE CONSTRAINT "
          "TRIGGER slow AFTER UPDATE ON " +
          table_ + " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION slow_" + table_ + "()"),
      "");
  for (const bool one_phase : {false, true}) {
    StartOptions options;
    options.deadline = std::chrono::steady_clock::now() + 500ms;
    auto branch = begin(options);
    add(*branch, 1, 1);
    const Reply reply = one_phase ? branch->commit_one_phase() : branch->prepare();
    EXPECT_EQ(reply.code, Code::rb_timeout);
    EXPECT_EQ(reply.certainty, Certainty::not_done);
    EXPECT_FALSE(listed(branch->xid()));
  }
  EXPECT_EQ(run("DROP FUNCTION slow_" + table_ + "() CASCADE"), "");
}

TEST_F(PostgresGuard, nothing_an_application_leaves_in_a_session_reaches_the_next_branch) {
  resource_ = open({}, 1);
  ASSERT_TRUE(resource_->probe());
  const std::string key = std::to_string(getpid());
  std::string pid;
  {
    auto branch = begin();
    auto& sql = Postgres::session(*branch);
    pid = pid_of(*branch);
    sql.exec("SET search_path = pg_catalog; SET statement_timeout = 12345");
    sql.exec("PREPARE mine AS SELECT 1");
    sql.exec("SELECT pg_advisory_lock(78, " + key + ")");
    ASSERT_TRUE(branch->prepare().is_ok());
    ASSERT_TRUE(branch->commit().is_ok());
  }
  // The lock goes away by itself, though nobody uses the session.
  ASSERT_EQ(run("SET lock_timeout = '20s'"), "");
  EXPECT_EQ(run("SELECT pg_advisory_lock(78, " + key + ")"), "");
  auto next = begin();
  EXPECT_EQ(pid_of(*next), pid);
  auto& sql = Postgres::session(*next);
  EXPECT_NE(sql.exec("SHOW search_path")[0][0].as<std::string>(), "pg_catalog");
  EXPECT_EQ(sql.exec("SHOW statement_timeout")[0][0].as<std::string>(), "0");
  EXPECT_NO_THROW(sql.exec("PREPARE mine AS SELECT 2"));
}

}  // namespace
}  // namespace assent::testing
