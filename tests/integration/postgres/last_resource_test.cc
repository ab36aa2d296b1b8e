// PostgreSQL as a last resource: it commits with the decision of the whole transaction in its witness table.
#include "assent/tests/integration/postgres/fixture.h"
#include "assent/tests/support/tcp_proxy.h"

namespace assent::testing {
namespace {

const std::string decision("decided\0by the ledger", 22);

class PostgresLastResource : public PostgresTest {
 protected:
  Xid deciding_xid() {
    TransactionId id = *next_xid().transaction();
    id.kind = DeciderKind::resource;
    id.decider = "ledger";
    return Xid::of(id, "ledger");
  }
  /// What is kept of this branch: "committed DECISION", "rolled back", or nothing.
  std::string kept(const Xid& xid) const {
    const auto all = resource_->decisions();
    if (!all) return describe(all.failure());
    for (const KeptDecision& each : *all) {
      if (each.branch == xid.undecided()) return std::string(to_string(each.fate)) + ' ' + each.decision;
    }
    return "";
  }
  Fate settled(const Xid& xid) const {
    const auto fate = resource_->settle(xid);
    EXPECT_TRUE(fate) << describe(fate.failure());
    return fate ? *fate : Fate::unknown;
  }
};

TEST_F(PostgresLastResource, keeps_the_decision_exactly_if_it_commits) {
  ASSERT_TRUE(resource_->probe()->capabilities.decides);
  const Xid xid = deciding_xid();
  auto branch = begin(xid);
  add(*branch, 1, -30);
  EXPECT_EQ(kept(xid), "");
  ASSERT_TRUE(branch->end().is_ok());
  const Reply reply = branch->commit_deciding(decision);
  ASSERT_TRUE(reply.is_ok()) << describe(reply);
  EXPECT_EQ(kept(xid), "committed " + decision);
  EXPECT_EQ(value(1), "70");
  EXPECT_EQ(settled(xid), Fate::committed);
  EXPECT_TRUE(resource_->forget({xid}).is_ok());
  EXPECT_EQ(kept(xid), "");
}

TEST_F(PostgresLastResource, keeps_it_also_when_the_branch_wrote_nothing_else) {
  const Xid xid = deciding_xid();
  auto branch = begin(xid);
  ASSERT_TRUE(branch->commit_deciding(decision).is_ok());
  EXPECT_EQ(kept(xid), "committed " + decision);
}

TEST_F(PostgresLastResource, cannot_commit_any_more_once_it_is_barred) {
  const Xid xid = deciding_xid();
  auto branch = begin(xid);
  add(*branch, 1, -30);
  EXPECT_EQ(settled(xid), Fate::rolled_back);
  const Reply reply = branch->commit_deciding(decision);
  EXPECT_EQ(reply.certainty, Certainty::not_done) << describe(reply);
  EXPECT_TRUE(is_rollback(reply.code)) << describe(reply);
  EXPECT_EQ(value(1), "100");
  EXPECT_EQ(kept(xid), "rolled back ");
}

TEST_F(PostgresLastResource, commits_nothing_when_its_work_fails_at_the_end) {
  const Xid xid = deciding_xid();
  auto branch = begin(xid);
  Postgres::session(*branch).exec("CREATE TABLE " + table_ + "_child (id int REFERENCES " + table_ +
                                  " (id) DEFERRABLE INITIALLY DEFERRED)");
  Postgres::session(*branch).exec("INSERT INTO " + table_ + "_child VALUES (4711)");
  const Reply reply = branch->commit_deciding(decision);
  EXPECT_EQ(reply.certainty, Certainty::not_done) << describe(reply);
  EXPECT_EQ(kept(xid), "");
  EXPECT_EQ(settled(xid), Fate::rolled_back);
}

TEST_F(PostgresLastResource, keeps_no_decision_for_a_transaction_that_the_application_ended_itself) {
  const Xid xid = deciding_xid();
  auto branch = begin(xid);
  add(*branch, 1, -30);
  Postgres::session(*branch).exec("COMMIT; BEGIN");
  const Reply reply = branch->commit_deciding(decision);
  EXPECT_EQ(reply.code, Code::protocol_error) << describe(reply);
  EXPECT_EQ(kept(xid), "");
}

TEST_F(PostgresLastResource, refuses_to_decide_in_a_branch_that_was_declared_read_only) {
  auto branch = begin(deciding_xid(), {.read_only = true});
  EXPECT_EQ(branch->commit_deciding(decision).code, Code::protocol_error);
}

TEST_F(PostgresLastResource, whose_session_goes_under_other_names_is_found_by_its_number) {
  const Xid xid = deciding_xid();
  auto branch = begin(xid);
  add(*branch, 1, -30);
  // As recovery asks that knows log, incarnation and number only.
  EXPECT_FALSE(*resource_->carrier_gone(xid.undecided(), {}));
  EXPECT_TRUE(*resource_->carrier_gone(xid.undecided(), {.carrier_is_dead = true}));
  EXPECT_EQ(settled(xid), Fate::rolled_back);
  EXPECT_EQ(branch->commit_deciding(decision).certainty == Certainty::done, false);
  EXPECT_EQ(value(1), "100");
}

TEST_F(PostgresLastResource, whose_answer_is_lost_is_settled_as_it_ended) {
  ResourceUrl url = ResourceUrl::parse(url_);
  TcpProxy proxy(url.host, url.port);
  const std::string before = ":" + std::to_string(url.port) + "/";
  std::string through = url_;
  through.replace(through.find(before), before.size(), ":" + std::to_string(proxy.port()) + "/");
  const auto far = open_url(through + "?sslmode=disable");
  ASSERT_TRUE(far->probe());
  for (const auto fault : {TcpProxy::Fault::lose_request, TcpProxy::Fault::lose_reply}) {
    const Xid xid = deciding_xid();
    auto branch = far->start(xid, {});
    ASSERT_TRUE(branch) << describe(branch.failure());
    proxy.on("assent_witness", fault);
    const Reply reply = (*branch)->commit_deciding(decision);
    EXPECT_EQ(reply.certainty, Certainty::unknown) << describe(reply);
    const bool heard = fault == TcpProxy::Fault::lose_reply;
    EXPECT_EQ(settled(xid), heard ? Fate::committed : Fate::rolled_back);
    EXPECT_EQ(kept(xid), heard ? "committed " + decision : "rolled back ");
  }
}

}  // namespace
}  // namespace assent::testing
