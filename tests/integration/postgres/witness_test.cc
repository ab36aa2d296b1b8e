#include <future>

#include "assent/tests/integration/postgres/fixture.h"
#include "assent/tests/support/tcp_proxy.h"

namespace assent::testing {
namespace {

class PostgresWitness : public PostgresTest {
 protected:
  void SetUp() override {
    PostgresTest::SetUp();
    if (IsSkipped()) return;
    ResourceUrl url = ResourceUrl::parse(url_);
    proxy_ = std::make_unique<TcpProxy>(url.host, url.port);
    const std::string before = ":" + std::to_string(url.port) + "/";
    std::string through = url_;
    through.replace(through.find(before), before.size(), ":" + std::to_string(proxy_->port()) + "/");
    direct_ = resource_;
    resource_ = open_url(through + "?sslmode=disable");
    ASSERT_TRUE(resource_->probe());
  }
  void TearDown() override {
    resource_.reset();
    PostgresTest::TearDown();
  }

  Fate fate(const Xid& xid, const std::string& evidence) {
    const auto answer = direct_->fate(xid, evidence);
    EXPECT_TRUE(answer) << describe(answer.failure());
    return answer ? *answer : Fate::unknown;
  }

  std::unique_ptr<TcpProxy> proxy_;
  std::shared_ptr<ResourceManager> direct_;
};

TEST_F(PostgresWitness, tells_prepared_from_committed_from_rolled_back) {
  auto kept = begin();
  add(*kept, 1, -30);
  EXPECT_EQ(kept->evidence(), "");
  ASSERT_TRUE(kept->prepare().is_ok());
  const std::string evidence = kept->evidence();
  EXPECT_LE(evidence.size(), Branch::max_evidence);
  EXPECT_EQ(fate(kept->xid(), evidence), Fate::in_progress);
  EXPECT_EQ(fate(kept->xid(), ""), Fate::in_progress);
  ASSERT_TRUE(kept->commit().is_ok());
  EXPECT_EQ(fate(kept->xid(), evidence), Fate::committed);
  EXPECT_EQ(fate(kept->xid(), ""), Fate::unknown);

  auto dropped = begin();
  add(*dropped, 1, -30);
  ASSERT_TRUE(dropped->prepare().is_ok());
  ASSERT_TRUE(dropped->rollback().is_ok());
  EXPECT_EQ(fate(dropped->xid(), dropped->evidence()), Fate::rolled_back);
}

TEST_F(PostgresWitness, has_evidence_of_a_branch_that_wrote_only_in_a_savepoint_or_not_at_all) {
  auto branch = begin();
  Postgres::session(*branch).exec("SAVEPOINT one; UPDATE " + table_ + " SET v = 1 WHERE id = 1; RELEASE one");
  ASSERT_TRUE(branch->prepare().is_ok());
  ASSERT_TRUE(branch->commit().is_ok());
  EXPECT_EQ(fate(branch->xid(), branch->evidence()), Fate::committed);

  auto reader = begin();
  Postgres::session(*reader).exec("SELECT * FROM " + table_);
  ASSERT_TRUE(reader->prepare().is_ok());
  ASSERT_TRUE(reader->commit().is_ok());
  EXPECT_EQ(fate(reader->xid(), reader->evidence()), Fate::committed);
}

TEST_F(PostgresWitness, believes_no_evidence_of_another_system_or_of_the_future) {
  auto branch = begin();
  add(*branch, 1, -30);
  ASSERT_TRUE(branch->prepare().is_ok());
  ASSERT_TRUE(branch->commit().is_ok());
  const std::string evidence = branch->evidence();
  const std::string number = evidence.substr(evidence.rfind(':'));
  EXPECT_EQ(fate(branch->xid(), evidence), Fate::committed);
  EXPECT_EQ(fate(branch->xid(), "pg:4711" + number), Fate::unknown);
  EXPECT_EQ(fate(branch->xid(), evidence.substr(0, evidence.rfind(':')) + ":9000000000"), Fate::unknown);
  EXPECT_EQ(fate(branch->xid(), evidence.substr(0, evidence.rfind(':')) + ":'; DROP TABLE x"), Fate::unknown);
  EXPECT_EQ(fate(branch->xid(), evidence.substr(0, evidence.rfind(':')) + ":99999999999999999999"), Fate::unknown);
  EXPECT_FALSE(direct_->fate(branch->xid(), std::string(500, 'x')));
}

TEST_F(PostgresWitness, a_lost_answer_to_prepare_is_unknown_and_leaves_no_evidence) {
  auto branch = begin();
  add(*branch, 1, -30);
  proxy_->on("PREPARE TRANSACTION", TcpProxy::Fault::lose_reply);
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::resource_failed);
  EXPECT_EQ(reply.certainty, Certainty::unknown);
  EXPECT_EQ(branch->evidence(), "");
  EXPECT_TRUE(listed(branch->xid()));
  EXPECT_EQ(branch->commit().code, Code::resource_failed);
  EXPECT_TRUE(resource_->rollback(branch->xid(), {}).is_ok());
  EXPECT_EQ(value(1), "100");
}

TEST_F(PostgresWitness, a_lost_request_to_prepare_looks_the_same_and_is_not_there) {
  auto branch = begin();
  add(*branch, 1, -30);
  proxy_->on("PREPARE TRANSACTION", TcpProxy::Fault::lose_request);
  EXPECT_EQ(branch->prepare().certainty, Certainty::unknown);
  FinishOptions dead;
  dead.carrier_is_dead = true;
  const auto gone = direct_->carrier_gone(branch->xid(), dead);
  ASSERT_TRUE(gone);
  EXPECT_TRUE(*gone);
  EXPECT_FALSE(listed(branch->xid()));
}

TEST_F(PostgresWitness, a_lost_answer_to_the_owners_commit_is_settled_by_the_evidence) {
  auto branch = begin();
  add(*branch, 1, -30);
  ASSERT_TRUE(branch->prepare().is_ok());
  proxy_->on("COMMIT PREPARED", TcpProxy::Fault::lose_reply);
  const Reply reply = branch->commit();
  EXPECT_EQ(reply.code, Code::resource_failed);
  EXPECT_EQ(reply.certainty, Certainty::unknown);
  EXPECT_EQ(resource_->commit(branch->xid(), {}).code, Code::not_found);
  EXPECT_EQ(fate(branch->xid(), branch->evidence()), Fate::committed);
}

TEST_F(PostgresWitness, a_lost_answer_to_recoverys_commit_ends_as_not_found_and_evidence) {
  auto branch = begin();
  add(*branch, 1, -30);
  ASSERT_TRUE(branch->prepare().is_ok());
  proxy_->on("COMMIT PREPARED", TcpProxy::Fault::lose_reply);
  const Reply reply = resource_->commit(branch->xid(), {});
  EXPECT_EQ(reply.code, Code::not_found) << describe(reply);
  EXPECT_EQ(reply.certainty, Certainty::unknown);
  EXPECT_EQ(fate(branch->xid(), branch->evidence()), Fate::committed);
}

TEST_F(PostgresWitness, settles_a_one_phase_commit_whose_answer_was_lost_as_committed) {
  auto branch = begin();
  add(*branch, 1, -30);
  proxy_->on("COMMIT", TcpProxy::Fault::lose_reply);
  EXPECT_EQ(branch->commit_one_phase().certainty, Certainty::unknown);
  const auto fate = resource_->settle(branch->xid());
  ASSERT_TRUE(fate) << describe(fate.failure());
  EXPECT_EQ(*fate, Fate::committed);
  EXPECT_EQ(value(1), "70");
}

TEST_F(PostgresWitness, settles_a_one_phase_commit_that_never_arrived_as_rolled_back_for_ever) {
  auto branch = begin();
  add(*branch, 1, -30);
  proxy_->on("COMMIT", TcpProxy::Fault::hold_request);
  auto late = std::async(std::launch::async, [&] { return branch->commit_one_phase(); });
  proxy_->await_fault();
  const auto fate = direct_->settle(branch->xid());
  ASSERT_TRUE(fate) << describe(fate.failure());
  EXPECT_EQ(*fate, Fate::rolled_back);
  proxy_->release();
  const Reply reply = late.get();
  EXPECT_EQ(reply.code, Code::rb_integrity) << describe(reply);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_EQ(value(1), "100");
  const auto again = direct_->settle(branch->xid());
  ASSERT_TRUE(again);
  EXPECT_EQ(*again, Fate::rolled_back);
}

TEST_F(PostgresWitness, settling_waits_behind_the_branch_and_asks_to_come_again) {
  const Xid xid = next_xid();
  // A branch that has inserted its row and has not committed yet.
  auto slow = connect();
  ASSERT_EQ(run(*slow, "BEGIN; INSERT INTO public.assent_witness VALUES (" + bytes_literal(xid.gtrid) +
                           ",'ledger','committed')"),
            "");
  const auto early = direct_->settle(xid);
  ASSERT_FALSE(early);
  EXPECT_EQ(early.failure().code, Code::retry);
  auto waiting = std::async(std::launch::async, [&] { return direct_->settle(xid); });
  while (run("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%" +
             to_hex(xid.gtrid) + "%' AND pid <> pg_backend_pid()") == "0") {
  }
  ASSERT_EQ(run(*slow, "COMMIT"), "");
  const auto fate = waiting.get();
  ASSERT_TRUE(fate) << describe(fate.failure());
  EXPECT_EQ(*fate, Fate::committed);
}

TEST_F(PostgresWitness, a_late_prepare_is_seen_by_its_carrier_and_barred_by_ending_it) {
  auto branch = begin();
  const Xid xid = branch->xid();
  add(*branch, 1, -30);
  proxy_->on("PREPARE TRANSACTION", TcpProxy::Fault::hold_request);
  auto late = std::async(std::launch::async, [&] { return branch->prepare(); });
  proxy_->await_fault();
  // An empty scan, and yet the prepare is on its way.
  EXPECT_FALSE(listed(xid));
  auto gone = direct_->carrier_gone(xid, {});
  ASSERT_TRUE(gone);
  EXPECT_FALSE(*gone);
  FinishOptions dead;
  dead.carrier_is_dead = true;
  gone = direct_->carrier_gone(xid, dead);
  ASSERT_TRUE(gone);
  EXPECT_TRUE(*gone);
  proxy_->release();
  EXPECT_EQ(late.get().certainty, Certainty::unknown);
  EXPECT_FALSE(listed(xid));
  EXPECT_EQ(value(1), "100");
}

TEST_F(PostgresWitness, the_carrier_is_gone_once_the_branch_is_prepared) {
  auto branch = begin();
  auto other = begin();
  add(*branch, 1, -30);
  add(*other, 2, 1);
  auto gone = direct_->carrier_gone(branch->xid(), {});
  ASSERT_TRUE(gone);
  EXPECT_FALSE(*gone);
  ASSERT_TRUE(branch->prepare().is_ok());
  gone = direct_->carrier_gone(branch->xid(), {});
  ASSERT_TRUE(gone);
  EXPECT_TRUE(*gone);
  EXPECT_TRUE(listed(branch->xid()));
  // Only the session of that very branch is ended.
  FinishOptions dead;
  dead.carrier_is_dead = true;
  ASSERT_TRUE(direct_->carrier_gone(branch->xid(), dead));
  EXPECT_NO_THROW(add(*other, 2, 1));
  ASSERT_TRUE(branch->rollback().is_ok());
}

TEST_F(PostgresWitness, a_killed_session_is_no_mystery_before_prepare) {
  for (const int verb : {0, 1, 2}) {
    auto branch = begin();
    add(*branch, 1, -30);
    kill_backend(pid_of(*branch));
    const Reply reply = verb == 0 ? branch->prepare() : verb == 1 ? branch->commit_one_phase() : branch->rollback();
    if (verb == 2) {
      EXPECT_TRUE(reply.is_ok()) << describe(reply);
    } else {
      EXPECT_EQ(reply.code, Code::resource_failed) << describe(reply);
    }
    EXPECT_EQ(branch->evidence(), "");
    EXPECT_EQ(value(1), "100");
  }
}

TEST_F(PostgresWitness, a_killed_session_after_prepare_leaves_the_branch_to_the_resource_manager) {
  for (const bool commit : {false, true}) {
    auto branch = begin();
    add(*branch, 1, -30);
    const std::string pid = pid_of(*branch);
    ASSERT_TRUE(branch->prepare().is_ok());
    kill_backend(pid);
    const Reply reply = commit ? branch->commit() : branch->rollback();
    EXPECT_EQ(reply.code, Code::resource_failed);
    EXPECT_EQ(reply.certainty, Certainty::unknown);
    EXPECT_TRUE(listed(branch->xid()));
    EXPECT_TRUE((commit ? resource_->commit(branch->xid(), {}) : resource_->rollback(branch->xid(), {})).is_ok());
  }
  EXPECT_EQ(value(1), "70");
}

TEST_F(PostgresWitness, a_statement_on_a_killed_session_never_runs_outside_of_the_branch) {
  auto branch = begin();
  add(*branch, 1, -30);
  kill_backend(pid_of(*branch));
  EXPECT_THROW(add(*branch, 1, -30), std::exception);
  EXPECT_THROW(add(*branch, 2, -30), std::exception);
  EXPECT_EQ(branch->prepare().certainty, Certainty::not_done);
  EXPECT_EQ(value(2), "100");
}

}  // namespace
}  // namespace assent::testing
