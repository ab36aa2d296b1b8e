#include <algorithm>
#include <future>

#include "assent/tests/integration/postgres/fixture.h"

namespace assent::testing {
namespace {

using ::testing::HasSubstr;

class PostgresRecovery : public PostgresTest {
 protected:
  std::vector<PreparedBranch> recover() {
    auto found = resource_->recover();
    EXPECT_TRUE(found) << describe(found.failure());
    return found ? std::move(found).value() : std::vector<PreparedBranch>{};
  }
  static const PreparedBranch* find(const std::vector<PreparedBranch>& all, const std::string& raw) {
    const auto at = std::find_if(all.begin(), all.end(), [&](const PreparedBranch& each) { return each.raw == raw; });
    return at == all.end() ? nullptr : &*at;
  }
  // The same user and server, another database.
  std::string other_database() const {
    std::string other = url_;
    other.replace(other.rfind('/'), std::string::npos, "/assent_test2");
    return other;
  }
};

TEST_F(PostgresRecovery, lists_a_prepared_branch_with_owner_database_and_age) {
  auto branch = begin();
  add(*branch, 1, -30);
  ASSERT_TRUE(branch->prepare().is_ok());
  const auto all = recover();
  const PreparedBranch* found = find(all, to_gid(branch->xid()));
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->xid, branch->xid());
  EXPECT_EQ(found->owner, "assent");
  EXPECT_EQ(found->database, "assent_test");
  ASSERT_TRUE(found->age);
  EXPECT_GE(found->age->count(), 0);
  EXPECT_TRUE(found->ours_to_finish);
  EXPECT_EQ(found->note, "");
  EXPECT_TRUE(branch->rollback().is_ok());
  EXPECT_EQ(find(recover(), to_gid(branch->xid())), nullptr);
}

TEST_F(PostgresRecovery, shows_foreign_gids_decoded_where_they_can_be_and_leaves_them_alone) {
  const std::string free_text = "somebody's own name " + table_;
  const std::string pgjdbc = "131077_" + std::string("AAECAw==_BAUG");
  ASSERT_EQ(run("BEGIN; PREPARE TRANSACTION " + text_literal(free_text)), "");
  const bool mine = run("BEGIN; PREPARE TRANSACTION " + text_literal(pgjdbc)).empty();
  const auto all = recover();
  const PreparedBranch* text = find(all, free_text);
  ASSERT_NE(text, nullptr);
  EXPECT_EQ(text->xid.format_id, 0);
  EXPECT_FALSE(text->xid.transaction());
  const PreparedBranch* decoded = find(all, pgjdbc);
  ASSERT_NE(decoded, nullptr);
  EXPECT_EQ(decoded->xid.format_id, 131077);
  EXPECT_EQ(decoded->xid.gtrid, std::string("\0\1\2\3", 4));
  EXPECT_FALSE(decoded->xid.transaction());
  EXPECT_EQ(run("ROLLBACK PREPARED " + text_literal(free_text)), "");
  if (mine) {
    EXPECT_EQ(run("ROLLBACK PREPARED " + text_literal(pgjdbc)), "");
  }
}

TEST_F(PostgresRecovery, marks_branches_of_another_database_and_cannot_finish_them_from_here) {
  auto elsewhere = open_url(other_database());
  const Xid xid = next_xid();
  auto started = elsewhere->start(xid, {});
  ASSERT_TRUE(started) << describe(started.failure());
  ASSERT_TRUE((*started)->prepare().is_ok());
  const auto all = recover();
  const PreparedBranch* found = find(all, to_gid(xid));
  ASSERT_NE(found, nullptr);
  EXPECT_FALSE(found->ours_to_finish);
  EXPECT_THAT(found->note, HasSubstr("assent_test2"));
  const Reply reply = resource_->commit(xid, {});
  EXPECT_EQ(reply.code, Code::resource_error);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_TRUE((*started)->rollback().is_ok());
}

TEST_F(PostgresRecovery, marks_branches_of_another_owner_and_says_who_can_finish_them) {
  auto admin = connect_as_admin();
  const Xid xid = next_xid();
  ASSERT_EQ(run(*admin, "BEGIN; PREPARE TRANSACTION " + text_literal(to_gid(xid))), "");
  const auto all = recover();
  const PreparedBranch* found = find(all, to_gid(xid));
  ASSERT_NE(found, nullptr);
  EXPECT_FALSE(found->ours_to_finish);
  EXPECT_THAT(found->note, HasSubstr("admin"));
  const Reply reply = resource_->rollback(xid, {});
  EXPECT_EQ(reply.code, Code::resource_error);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_EQ(run(*admin, "ROLLBACK PREPARED " + text_literal(to_gid(xid))), "");
}

TEST_F(PostgresRecovery, a_superuser_may_finish_other_owners_branches) {
  auto branch = begin();
  ASSERT_TRUE(branch->prepare().is_ok());
  auto admin = open_url(environment("ASSENT_TEST_POSTGRES_ADMIN_URL"));
  const auto all = admin->recover();
  ASSERT_TRUE(all);
  const PreparedBranch* found = find(*all, to_gid(branch->xid()));
  ASSERT_NE(found, nullptr);
  EXPECT_TRUE(found->ours_to_finish);
  EXPECT_TRUE(admin->rollback(branch->xid(), {}).is_ok());
}

TEST_F(PostgresRecovery, shows_what_a_prepared_branch_blocks) {
  auto branch = begin();
  add(*branch, 1, -30);
  ASSERT_TRUE(branch->prepare().is_ok());
  auto row_waiter = connect();
  auto table_waiter = connect();
  const std::string row_pid = run(*row_waiter, "SELECT pg_backend_pid()");
  const std::string table_pid = run(*table_waiter, "SELECT pg_backend_pid()");
  auto row =
      std::async(std::launch::async, [&] { return run(*row_waiter, "UPDATE " + table_ + " SET v = 5 WHERE id = 1"); });
  await_lock_wait(row_pid);
  auto lock = std::async(std::launch::async, [&] {
    return run(*table_waiter, "BEGIN; LOCK TABLE " + table_ + " IN ACCESS EXCLUSIVE MODE; COMMIT");
  });
  await_lock_wait(table_pid);
  const auto impact = resource_->impact(branch->xid());
  EXPECT_TRUE(impact) << describe(impact.failure());
  ASSERT_TRUE(branch->commit().is_ok());
  EXPECT_EQ(row.get(), "");
  EXPECT_EQ(lock.get(), "");
  ASSERT_TRUE(impact);
  EXPECT_GE(impact->locks.value_or(0), 2U);
  EXPECT_THAT(impact->waiting_sessions, ::testing::Contains(HasSubstr("pid " + row_pid)));
  EXPECT_THAT(impact->waiting_sessions, ::testing::Contains(HasSubstr("pid " + table_pid)));
  EXPECT_EQ(resource_->impact(branch->xid()).failure().code, Code::not_found);
}

TEST_F(PostgresRecovery, forgets_only_the_rows_that_are_named) {
  std::vector<Xid> done;
  for (int turn = 0; turn < 3; ++turn) {
    auto branch = begin();
    add(*branch, 1, -1);
    ASSERT_TRUE(branch->commit_one_phase().is_ok());
    done.push_back(branch->xid());
  }
  EXPECT_TRUE(resource_->forget({done[0], done[2], next_xid()}).is_ok());
  EXPECT_EQ(witness_of(done[0]), "");
  EXPECT_EQ(witness_of(done[1]), "committed");
  EXPECT_EQ(witness_of(done[2]), "");
  EXPECT_TRUE(resource_->forget({}).is_ok());
}

TEST_F(PostgresRecovery, knows_the_database_by_what_it_is_not_by_how_it_is_reached) {
  const auto here = resource_->probe();
  const auto admin = open_url(environment("ASSENT_TEST_POSTGRES_ADMIN_URL"))->probe();
  const auto other = open_url(other_database())->probe();
  ASSERT_TRUE(here);
  ASSERT_TRUE(admin);
  ASSERT_TRUE(other);
  EXPECT_EQ(here->identity.system, "postgresql:" + run("SELECT system_identifier FROM pg_control_system()"));
  EXPECT_EQ(here->identity.database, "assent_test");
  EXPECT_EQ(here->identity, admin->identity);
  EXPECT_NE(here->identity, other->identity);
  EXPECT_THAT(here->product, ::testing::StartsWith("PostgreSQL 1"));
  EXPECT_TRUE(here->capabilities.two_phase);
  EXPECT_TRUE(here->capabilities.prepared_survives_disconnect);
  EXPECT_TRUE(here->capabilities.any_session_finishes_prepared);
  EXPECT_TRUE(here->capabilities.settles_one_phase);
}

TEST_F(PostgresRecovery, a_user_who_may_not_create_the_witness_table_cannot_settle_and_is_told_the_statement) {
  auto admin = connect_as_admin();
  const std::string poor = "poor_" + table_;
  ASSERT_EQ(
      run(*admin, "CREATE ROLE " + poor + " LOGIN PASSWORD 'pw'; GRANT SELECT, UPDATE ON " + table_ + " TO " + poor),
      "");
  ResourceUrl url = ResourceUrl::parse(url_);
  auto resource =
      open_url("postgresql://" + poor + ":pw@" + url.host + ":" + std::to_string(url.port) + "/" + url.path);
  const auto probe = resource->probe();
  EXPECT_TRUE(probe) << describe(probe.failure());
  if (probe) {
    EXPECT_FALSE(probe->capabilities.settles_one_phase);
  }
  {
    auto branch = resource->start(next_xid(), {});
    ASSERT_TRUE(branch);
    Postgres::session(**branch).exec("UPDATE " + table_ + " SET v = 1 WHERE id = 1");
    EXPECT_TRUE((*branch)->commit_one_phase().is_ok());
    EXPECT_FALSE(resource->settle((*branch)->xid()));
  }
  bool told = false;
  for (const Finding& finding : resource->examine()) {
    told = told ||
           finding.mend.find("GRANT SELECT, INSERT, DELETE ON public.assent_witness TO " + poor) != std::string::npos;
  }
  EXPECT_TRUE(told);
  resource.reset();
  EXPECT_EQ(run(*admin, "DROP OWNED BY " + poor + "; DROP ROLE " + poor), "");
}

TEST_F(PostgresRecovery, doctor_finds_a_fit_server_good_and_an_old_branch_worth_a_word) {
  for (const Finding& finding : resource_->examine()) {
    EXPECT_NE(finding.severity, Finding::Severity::problem) << finding.what << " / " << finding.mend;
    EXPECT_FALSE(finding.what.empty());
    EXPECT_EQ(finding.severity == Finding::Severity::good, finding.mend.empty()) << finding.what;
  }
}

}  // namespace
}  // namespace assent::testing
