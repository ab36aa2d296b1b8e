#include "assent/tests/integration/postgres/fixture.h"

namespace assent::testing {
namespace {

using PostgresVerbs = PostgresTest;

TEST_F(PostgresVerbs, commits_what_was_prepared) {
  auto branch = begin();
  add(*branch, 1, -30);
  EXPECT_TRUE(branch->end().is_ok());
  EXPECT_TRUE(branch->prepare().is_ok());
  EXPECT_TRUE(listed(branch->xid()));
  EXPECT_EQ(value(1), "100");
  EXPECT_TRUE(branch->commit().is_ok());
  EXPECT_FALSE(listed(branch->xid()));
  EXPECT_EQ(value(1), "70");
}

TEST_F(PostgresVerbs, rolls_back_what_was_prepared) {
  auto branch = begin();
  add(*branch, 1, -30);
  ASSERT_TRUE(branch->prepare().is_ok());
  EXPECT_TRUE(branch->rollback().is_ok());
  EXPECT_FALSE(listed(branch->xid()));
  EXPECT_EQ(value(1), "100");
}

TEST_F(PostgresVerbs, rolls_back_what_was_not_prepared) {
  auto branch = begin();
  add(*branch, 1, -30);
  EXPECT_TRUE(branch->rollback().is_ok());
  EXPECT_EQ(value(1), "100");
}

TEST_F(PostgresVerbs, rolls_back_a_branch_that_is_destroyed_undecided) {
  {
    auto branch = begin();
    add(*branch, 1, -30);
  }
  EXPECT_EQ(run("SELECT v FROM " + table_ + " WHERE id = 1 FOR UPDATE NOWAIT"), "100");
}

TEST_F(PostgresVerbs, leaves_a_prepared_branch_prepared_when_it_is_destroyed) {
  const Xid xid = next_xid();
  {
    auto branch = begin(xid);
    add(*branch, 1, -30);
    ASSERT_TRUE(branch->prepare().is_ok());
  }
  EXPECT_TRUE(listed(xid));
  EXPECT_TRUE(resource_->commit(xid, {}).is_ok());
  EXPECT_EQ(value(1), "70");
}

TEST_F(PostgresVerbs, a_verb_that_is_sent_ahead_is_done_before_its_answer_is_taken) {
  auto branch = begin();
  add(*branch, 1, -30);
  ASSERT_TRUE(branch->end().is_ok());
  branch->send_ahead(Branch::Verb::prepare);
  EXPECT_TRUE(eventually([&] { return listed(branch->xid()); }));
  EXPECT_TRUE(branch->prepare().is_ok());
  EXPECT_FALSE(branch->evidence().empty());
  branch->send_ahead(Branch::Verb::commit);
  EXPECT_TRUE(eventually([&] { return value(1) == "70"; }));
  EXPECT_TRUE(branch->commit().is_ok());
  EXPECT_FALSE(listed(branch->xid()));
}

TEST_F(PostgresVerbs, a_failure_of_what_was_sent_ahead_is_the_verbs_answer) {
  auto branch = begin();
  add(*branch, 1, -30);
  // Only the server knows that this cannot be prepared.
  Postgres::session(*branch).exec("CREATE TEMP TABLE scratch(x int)");
  ASSERT_TRUE(branch->end().is_ok());
  branch->send_ahead(Branch::Verb::prepare);
  const Reply vote = branch->prepare();
  EXPECT_EQ(vote.certainty, Certainty::not_done);
  EXPECT_THAT(vote.text, ::testing::HasSubstr("temporary"));
  EXPECT_FALSE(listed(branch->xid()));
  EXPECT_EQ(value(1), "100");
}

TEST_F(PostgresVerbs, a_branch_that_is_destroyed_with_its_prepare_under_way_is_prepared_and_its_session_clean) {
  const Xid xid = next_xid();
  auto resource = open({}, 1);
  std::string pid;
  {
    auto started = resource->start(xid, {});
    ASSERT_TRUE(started);
    pid = pid_of(**started);
    add(**started, 1, -30);
    ASSERT_TRUE((*started)->end().is_ok());
    (*started)->send_ahead(Branch::Verb::prepare);
  }
  EXPECT_TRUE(listed(xid));
  EXPECT_TRUE(resource->rollback(xid, {}).is_ok());
  auto next = resource->start(next_xid(), {});
  ASSERT_TRUE(next);
  EXPECT_EQ(pid_of(**next), pid);
}

TEST_F(PostgresVerbs, a_session_that_ends_before_the_answer_leaves_a_verb_that_was_sent_ahead_unknown) {
  auto branch = begin();
  add(*branch, 1, -30);
  const std::string pid = pid_of(*branch);
  ASSERT_TRUE(branch->prepare().is_ok());
  kill_backend(pid);
  branch->send_ahead(Branch::Verb::commit);
  const Reply reply = branch->commit();
  EXPECT_EQ(reply.code, Code::resource_failed);
  EXPECT_TRUE(listed(branch->xid()));
  EXPECT_TRUE(resource_->rollback(branch->xid(), {}).is_ok());
}

TEST_F(PostgresVerbs, another_resource_manager_finishes_a_branch_after_its_session_is_gone) {
  const Xid xid = next_xid();
  auto branch = begin(xid);
  add(*branch, 1, -30);
  const std::string pid = pid_of(*branch);
  ASSERT_TRUE(branch->prepare().is_ok());
  kill_backend(pid);
  auto recovery = open();
  EXPECT_TRUE(recovery->rollback(xid, {}).is_ok());
  EXPECT_FALSE(listed(xid));
  EXPECT_EQ(value(1), "100");
}

TEST_F(PostgresVerbs, says_not_found_for_a_branch_that_is_not_there) {
  const Reply reply = resource_->commit(next_xid(), {});
  EXPECT_EQ(reply.code, Code::not_found);
  EXPECT_EQ(reply.certainty, Certainty::unknown);
  EXPECT_EQ(resource_->rollback(next_xid(), {}).code, Code::not_found);
}

TEST_F(PostgresVerbs, refuses_verbs_in_the_wrong_state) {
  auto branch = begin();
  EXPECT_EQ(branch->commit().code, Code::protocol_error);
  EXPECT_TRUE(branch->end().is_ok());
  EXPECT_EQ(branch->end().code, Code::protocol_error);
  EXPECT_THROW(Postgres::session(*branch), Error);
  EXPECT_EQ(branch->set_deadline(std::chrono::steady_clock::now() + 5s).code, Code::protocol_error);
  ASSERT_TRUE(branch->prepare().is_ok());
  EXPECT_EQ(branch->prepare().code, Code::protocol_error);
  EXPECT_EQ(branch->commit_one_phase().code, Code::protocol_error);
  EXPECT_TRUE(branch->rollback().is_ok());
  EXPECT_EQ(branch->rollback().code, Code::protocol_error);
}

TEST_F(PostgresVerbs, refuses_xids_beyond_the_limits) {
  EXPECT_EQ(resource_->start({Xid::assent_format, "", "x"}, {}).failure().code, Code::invalid);
  EXPECT_EQ(resource_->start({Xid::assent_format, std::string(65, 'g'), "x"}, {}).failure().code, Code::invalid);
  EXPECT_EQ(resource_->commit({Xid::assent_format, "g", std::string(65, 'b')}, {}).code, Code::invalid);
}

TEST_F(PostgresVerbs, prepares_the_longest_xid_there_is) {
  std::string random = next_xid().gtrid;
  random.resize(64, '\xff');
  const Xid xid{Xid::assent_format, random, std::string(64, '\xfe')};
  auto branch = begin(xid);
  add(*branch, 1, 1);
  ASSERT_TRUE(branch->prepare().is_ok());
  EXPECT_TRUE(listed(xid));
  EXPECT_TRUE(branch->rollback().is_ok());
}

TEST_F(PostgresVerbs, answers_duplicate_for_a_second_branch_of_the_same_name) {
  const Xid xid = next_xid();
  auto first = begin(xid);
  add(*first, 1, -30);
  ASSERT_TRUE(first->prepare().is_ok());
  auto second = begin(xid);
  add(*second, 2, -30);
  const Reply reply = second->prepare();
  EXPECT_EQ(reply.code, Code::duplicate);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_TRUE(first->commit().is_ok());
  EXPECT_EQ(value(1), "70");
  EXPECT_EQ(value(2), "100");
}

TEST_F(PostgresVerbs, commits_in_one_phase_with_a_witness_row) {
  auto branch = begin();
  add(*branch, 1, -30);
  EXPECT_TRUE(branch->commit_one_phase().is_ok());
  EXPECT_EQ(value(1), "70");
  EXPECT_EQ(witness_of(branch->xid()), "committed");
  const auto fate = resource_->fate(branch->xid(), "");
  ASSERT_TRUE(fate);
  EXPECT_EQ(*fate, Fate::committed);
  EXPECT_TRUE(resource_->forget({branch->xid()}).is_ok());
  EXPECT_EQ(witness_of(branch->xid()), "");
}

TEST_F(PostgresVerbs, writes_no_witness_row_for_a_branch_that_wrote_nothing) {
  auto branch = begin();
  Postgres::session(*branch).exec("SELECT * FROM " + table_);
  EXPECT_TRUE(branch->commit_one_phase().is_ok());
  EXPECT_EQ(witness_of(branch->xid()), "");
}

TEST_F(PostgresVerbs, ends_a_declared_read_only_branch_at_prepare) {
  StartOptions options;
  options.read_only = true;
  auto branch = begin(options);
  EXPECT_EQ(Postgres::session(*branch).exec("SELECT v FROM " + table_ + " WHERE id = 1")[0][0].as<int>(), 100);
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::read_only);
  EXPECT_EQ(reply.certainty, Certainty::done);
  EXPECT_FALSE(listed(branch->xid()));
}

TEST_F(PostgresVerbs, the_database_refuses_a_write_in_a_declared_read_only_branch) {
  StartOptions options;
  options.read_only = true;
  auto branch = begin(options);
  EXPECT_THROW(add(*branch, 1, 1), pqxx::sql_error);
  EXPECT_EQ(branch->prepare().code, Code::rb_rollback);
}

TEST_F(PostgresVerbs, catches_an_application_that_makes_a_read_only_branch_writable) {
  StartOptions options;
  options.read_only = true;
  auto branch = begin(options);
  Postgres::session(*branch).exec("SET TRANSACTION READ WRITE");
  add(*branch, 1, 1);
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::protocol_error);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_EQ(value(1), "100");
}

TEST_F(PostgresVerbs, sets_the_isolation_that_was_asked_for) {
  const auto level = [&](Isolation isolation) {
    StartOptions options;
    options.isolation = isolation;
    auto branch = begin(options);
    return Postgres::session(*branch).exec("SHOW transaction_isolation")[0][0].as<std::string>();
  };
  EXPECT_EQ(level(Isolation::read_committed), "read committed");
  EXPECT_EQ(level(Isolation::repeatable_read), "repeatable read");
  EXPECT_EQ(level(Isolation::serializable), "serializable");
}

TEST_F(PostgresVerbs, a_savepoint_saves_a_branch_from_a_failed_statement) {
  auto branch = begin();
  auto& sql = Postgres::session(*branch);
  add(*branch, 1, -30);
  {
    pqxx::subtransaction attempt(sql, "attempt");
    EXPECT_THROW(attempt.exec("UPDATE " + table_ + " SET v = -1"), pqxx::sql_error);
  }
  sql.exec("SAVEPOINT again");
  EXPECT_THROW(sql.exec("SELECT 1/0"), pqxx::sql_error);
  sql.exec("ROLLBACK TO again");
  EXPECT_TRUE(branch->prepare().is_ok());
  EXPECT_TRUE(branch->commit().is_ok());
  EXPECT_EQ(value(1), "70");
}

TEST_F(PostgresVerbs, pqxx_commit_is_refused_in_a_branch) {
  auto branch = begin();
  add(*branch, 1, -30);
  EXPECT_THROW(Postgres::session(*branch).transaction().commit(), std::exception);
  EXPECT_EQ(value(1), "100");
  static_cast<void>(branch->rollback());
  EXPECT_EQ(value(1), "100");
}

}  // namespace
}  // namespace assent::testing
