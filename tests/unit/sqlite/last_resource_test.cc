// SQLite as a last resource: it commits with the decision of the whole transaction in its witness table.
#include <gtest/gtest.h>

#include "assent/tests/unit/sqlite/database.h"

namespace assent {
namespace {

const std::string decision("decided\0by the bank", 19);

class SqliteLastResource : public test::WithDatabase {
 protected:
  static Xid deciding(std::uint64_t sequence) {
    TransactionId id = *xid(sequence).transaction();
    id.kind = DeciderKind::resource;
    id.decider = "bank";
    return Xid::of(id, "bank");
  }
  std::string kept(const Xid& which) const {
    const auto all = resource_->decisions();
    if (!all) return describe(all.failure());
    for (const KeptDecision& each : *all) {
      if (each.branch == which.undecided()) return std::string(to_string(each.fate)) + ' ' + each.decision;
    }
    return "";
  }
};

TEST_F(SqliteLastResource, keeps_the_decision_exactly_if_it_commits) {
  ASSERT_TRUE(resource_->probe()->capabilities.decides);
  const Xid id = deciding(1);
  auto branch = start(id);
  ASSERT_EQ(test::execute(*branch, "UPDATE account SET balance = 60"), SQLITE_OK);
  EXPECT_EQ(kept(id), "");
  const Reply reply = branch->commit_deciding(decision);
  ASSERT_TRUE(reply.is_ok()) << describe(reply);
  EXPECT_EQ(kept(id), "committed " + decision);
  EXPECT_EQ(balance(), "60");
  EXPECT_EQ(*resource_->settle(id), Fate::committed);
  EXPECT_TRUE(resource_->forget({id}).is_ok());
  EXPECT_EQ(kept(id), "");
}

TEST_F(SqliteLastResource, cannot_begin_once_it_is_barred) {
  ASSERT_TRUE(resource_->probe());
  const Xid id = deciding(1);
  EXPECT_EQ(*resource_->settle(id), Fate::rolled_back);
  EXPECT_EQ(kept(id), "rolled back ");
  const auto branch = resource_->start(id, {});
  ASSERT_FALSE(branch);
  EXPECT_EQ(branch.failure().code, Code::duplicate);
}

TEST_F(SqliteLastResource, is_not_barred_while_it_is_at_work) {
  const Xid id = deciding(1);
  auto branch = start(id);
  EXPECT_FALSE(resource_->settle(id));
  EXPECT_FALSE(*resource_->carrier_gone(id.undecided(), {}));
  EXPECT_TRUE(branch->commit_deciding(decision).is_ok());
  EXPECT_EQ(*resource_->settle(id), Fate::committed);
}

TEST_F(SqliteLastResource, commits_nothing_without_its_row) {
  const Xid id = deciding(1);
  auto branch = start(id);
  ASSERT_EQ(test::execute(*branch, "UPDATE account SET balance = 60; DELETE FROM assent_witness"), SQLITE_OK);
  const Reply reply = branch->commit_deciding(decision);
  EXPECT_EQ(reply.certainty, Certainty::not_done) << describe(reply);
  branch.reset();
  EXPECT_EQ(balance(), "100");
  EXPECT_EQ(kept(id), "");
}

TEST_F(SqliteLastResource, refuses_to_decide_in_a_branch_that_was_declared_read_only) {
  auto branch = start(deciding(1), {.read_only = true});
  EXPECT_EQ(branch->commit_deciding(decision).code, Code::protocol_error);
}

TEST_F(SqliteLastResource, tells_what_it_decided_while_another_branch_is_in_doubt) {
  const Xid id = deciding(1);
  auto branch = start(id);
  ASSERT_TRUE(branch->commit_deciding(decision).is_ok());
  branch.reset();
  left_in_doubt(xid(2));
  EXPECT_EQ(kept(id), "committed " + decision);
  EXPECT_EQ(kept(xid(2)), "");
  EXPECT_TRUE(resource_->rollback(xid(2), {}).is_ok());
  EXPECT_EQ(kept(id), "committed " + decision);
}

}  // namespace
}  // namespace assent
