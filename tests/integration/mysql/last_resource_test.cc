// MySQL and MariaDB as a last resource: it commits with the decision of the whole transaction in its witness table.
#include "fixture.h"

namespace assent::mysql_test {
namespace {

const std::string decision("decided\0by the shop", 19);

class LastResource : public Server {
 protected:
  Xid deciding_xid() {
    TransactionId id = *fresh_xid().transaction();
    id.kind = DeciderKind::resource;
    id.decider = "shop";
    xids_.push_back(Xid::of(id, "shop"));
    return xids_.back();
  }
  std::string kept(const Xid& xid) const {
    const auto all = shop_->decisions();
    if (!all) return describe(all.failure());
    for (const KeptDecision& each : *all) {
      if (each.branch == xid.undecided()) return std::string(to_string(each.fate)) + ' ' + each.decision;
    }
    return "";
  }
  /// Asked until it is known: a session that is just ending holds its row for a moment.
  Fate settled(const Xid& xid) const {
    while (true) {
      const auto fate = shop_->settle(xid);
      if (fate) return *fate;
      EXPECT_EQ(fate.failure().code, Code::retry) << describe(fate.failure());
      if (fate.failure().code != Code::retry) return Fate::unknown;
    }
  }
};

TEST_P(LastResource, keeps_the_decision_exactly_if_it_commits) {
  ASSERT_TRUE(shop_->probe()->capabilities.decides);
  const Xid xid = deciding_xid();
  auto branch = start(xid);
  write(*branch, 7);
  EXPECT_EQ(kept(xid), "");
  ASSERT_TRUE(branch->end().is_ok());
  const Reply reply = branch->commit_deciding(decision);
  ASSERT_TRUE(reply.is_ok()) << describe(reply);
  EXPECT_EQ(kept(xid), "committed " + decision);
  EXPECT_EQ(v(1), 7);
  EXPECT_EQ(settled(xid), Fate::committed);
  EXPECT_TRUE(shop_->forget({xid}).is_ok());
  EXPECT_EQ(kept(xid), "");
}

TEST_P(LastResource, cannot_begin_once_it_is_barred) {
  const Xid xid = deciding_xid();
  EXPECT_EQ(settled(xid), Fate::rolled_back);
  EXPECT_EQ(kept(xid), "rolled back ");
  const auto branch = shop_->start(xid, {});
  ASSERT_FALSE(branch);
  EXPECT_EQ(branch.failure().code, Code::duplicate) << describe(branch.failure());
}

TEST_P(LastResource, is_asked_again_while_its_session_is_at_work_and_barred_when_that_has_ended) {
  const Xid xid = deciding_xid();
  auto branch = start(xid);
  write(*branch, 7);
  const auto while_at_work = shop_->settle(xid);
  ASSERT_FALSE(while_at_work);
  EXPECT_EQ(while_at_work.failure().code, Code::retry);
  // As recovery asks that knows log, incarnation and number only.
  EXPECT_FALSE(*shop_->carrier_gone(xid.undecided(), {}));
  EXPECT_TRUE(*shop_->carrier_gone(xid.undecided(), {.carrier_is_dead = true}));
  EXPECT_EQ(settled(xid), Fate::rolled_back);
  const Reply reply = branch->commit_deciding(decision);
  EXPECT_NE(reply.certainty, Certainty::done) << describe(reply);
  EXPECT_EQ(v(1), 0);
  EXPECT_EQ(kept(xid), "rolled back ");
}

TEST_P(LastResource, commits_nothing_without_its_row) {
  const Xid xid = deciding_xid();
  auto branch = start(xid);
  write(*branch, 7);
  run(*branch, "DELETE FROM assent_witness WHERE gtrid=" + mysql::binary_literal(xid.undecided().gtrid));
  const Reply reply = branch->commit_deciding(decision);
  EXPECT_TRUE(is_rollback(reply.code) && reply.certainty == Certainty::not_done) << describe(reply);
  EXPECT_EQ(v(1), 0);
  EXPECT_EQ(kept(xid), "");
}

TEST_P(LastResource, commits_nothing_where_the_server_would_not_make_it_durable) {
  const auto admin = mysql::Session::open(mysql::Settings::from(spec_of(admin_url_)));
  ASSERT_TRUE(admin) << describe(admin.failure());
  for (const char* setting : {"innodb_flush_log_at_trx_commit", "sync_binlog"}) {
    if (setting == std::string("sync_binlog") && sql("SELECT @@GLOBAL.log_bin") == "0") continue;
    const Xid xid = deciding_xid();
    auto branch = start(xid);
    write(*branch, 7);
    const std::string was = admin.value()->run({std::string("SELECT @@GLOBAL.") + setting}).value(0).value_or("1");
    ASSERT_TRUE(admin.value()->run({std::string("SET GLOBAL ") + setting + "=0"}).ok());
    const Reply reply = branch->commit_deciding(decision);
    EXPECT_TRUE(admin.value()->run({std::string("SET GLOBAL ") + setting + "=" + was}).ok());
    EXPECT_TRUE(is_rollback(reply.code) && reply.certainty == Certainty::not_done) << describe(reply);
    EXPECT_NE(reply.text.find("innodb_flush_log_at_trx_commit"), std::string::npos) << reply.text;
    EXPECT_EQ(v(1), 0);
  }
}

TEST_P(LastResource, a_branch_that_the_application_committed_itself_is_committed) {
  const Xid xid = deciding_xid();
  auto branch = start(xid);
  write(*branch, 7);
  run(*branch, "XA END " + mysql::xid_literal(xid));
  run(*branch, "XA COMMIT " + mysql::xid_literal(xid) + " ONE PHASE");
  const Reply reply = branch->commit_deciding(decision);
  EXPECT_EQ(reply.certainty, Certainty::unknown) << describe(reply);
  EXPECT_EQ(settled(xid), Fate::committed);
}

TEST_P(LastResource, a_branch_that_the_application_rolled_back_itself_is_not) {
  const Xid xid = deciding_xid();
  auto branch = start(xid);
  write(*branch, 7);
  run(*branch, "XA END " + mysql::xid_literal(xid));
  run(*branch, "XA ROLLBACK " + mysql::xid_literal(xid));
  const Reply reply = branch->commit_deciding(decision);
  EXPECT_NE(reply.certainty, Certainty::done) << describe(reply);
  EXPECT_EQ(settled(xid), Fate::rolled_back);
  EXPECT_EQ(kept(xid), "rolled back ");
}

TEST_P(LastResource, refuses_to_decide_in_a_branch_that_was_declared_read_only) {
  auto branch = start(deciding_xid(), {.read_only = true});
  EXPECT_EQ(branch->commit_deciding(decision).code, Code::protocol_error);
}

ASSENT_ON_EACH_SERVER(LastResource);

}  // namespace
}  // namespace assent::mysql_test
