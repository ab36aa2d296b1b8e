// Several processes on one node, and names of databases: safety rules 8 and 9 as an application meets them.
#include <gmock/gmock.h>
#include <unistd.h>

#include "assent/tests/unit/tm/engine_fixture.h"

namespace assent {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class EngineSlots : public EngineFixture {
 protected:
  /// A transaction whose branch in a is decided and not finished: the answers to its commit are lost.
  TransactionId leave_pending(TransactionManager& manager) {
    const auto a = manager.resource<Scripted>("a");
    const auto b = manager.resource<Scripted>("b");
    a_->answer(Verb::commit, Reply::unknown(Code::resource_failed, "lost"));
    a_->answer(Verb::finish_commit, Reply::not_done(Code::resource_failed, "down"));
    a_->answer(Verb::finish_commit, Reply::not_done(Code::resource_failed, "down"));
    const Outcome outcome = manager.run([&](Transaction& transaction) {
      transaction.on(a, [](Branch&) {});
      transaction.on(b, [](Branch&) {});
    });
    EXPECT_TRUE(outcome.committed());
    return outcome.id();
  }
  /// Several passes: the first ones still meet the scripted failures.
  static void recover(TransactionManager& manager) {
    for (int i = 0; i < 6; ++i) static_cast<void>(manager.recover_now());
  }
  std::unique_ptr<NodeDirectory> node() const {
    return NodeDirectory::open(FileSystem::real(), config().log_directory, "test");
  }
};

TEST_F(EngineSlots, rule_9_a_survivor_adopts_the_slot_of_a_process_that_is_gone_and_finishes_its_work) {
  auto leaving = std::make_unique<TransactionManager>(open());
  auto survivor = open();
  const TransactionId id = leave_pending(*leaving);
  leaving.reset();
  ASSERT_THAT(a_->prepared(), testing::ElementsAre(Xid::of(id, "a")));

  recover(survivor);

  EXPECT_THAT(a_->prepared(), IsEmpty());
  EXPECT_EQ(a_->count(Verb::finish_rollback), 0U);
}

TEST_F(EngineSlots, rule_9_an_adopted_slot_is_released_when_nothing_is_left_of_it) {
  auto leaving = std::make_unique<TransactionManager>(open());
  auto survivor = open();
  leave_pending(*leaving);
  leaving.reset();

  recover(survivor);

  const auto slots = node()->slots();
  ASSERT_EQ(slots.size(), 2U);
  EXPECT_FALSE(slots[0].holder_pid.has_value()) << "the next process gets it, and not a third slot";
  EXPECT_TRUE(slots[1].holder_pid.has_value());
}

TEST_F(EngineSlots, rule_9_the_slot_of_a_live_process_is_left_alone) {
  auto alive = open();
  auto other = open();
  const TransactionId id = leave_pending(alive);

  for (int i = 0; i < 6; ++i) {
    const RecoveryReport report = other.recover_now();
    for (const BranchReport& branch : report.branches) EXPECT_EQ(branch.evidence.owner, Owner::held_elsewhere);
  }
  EXPECT_EQ(a_->count(Verb::finish_rollback, Xid::of(id, "a")), 0U);
}

TEST_F(EngineSlots, rule_9_a_slot_that_another_process_can_settle_is_not_held_by_one_that_cannot) {
  // One decided transaction, and one that was never decided: both prepared in a, which the next process has not.
  auto leaving = std::make_unique<TransactionManager>(open());
  leave_pending(*leaving);
  const auto a = leaving->resource<Scripted>("a");
  const auto b = leaving->resource<Scripted>("b");
  // Down from then on: the leaving process must not come to roll it back itself.
  a_->before(Verb::rollback, [&](const Xid&) { a_->set_down(true); });
  b_->answer(Verb::prepare, Reply::not_done(Code::rb_integrity, "constraint"));
  const Outcome undecided = leaving->run([&](Transaction& transaction) {
    transaction.on(a, [](Branch&) {});
    transaction.on(b, [](Branch&) {});
  });
  EXPECT_EQ(undecided.kind(), OutcomeKind::rolled_back);
  leaving.reset();
  a_->before(Verb::rollback, {});
  a_->set_down(false);
  ASSERT_EQ(a_->prepared().size(), 2U);

  const auto all = scripted_;
  scripted_ = {{"b", b_}};
  auto without_a = open();
  recover(without_a);
  ASSERT_EQ(node()->slots().size(), 2U);
  EXPECT_FALSE(node()->slots()[0].holder_pid.has_value()) << "it holds what it cannot settle";

  scripted_ = all;
  auto with_both = open();
  recover(with_both);
  EXPECT_THAT(a_->prepared(), IsEmpty());
  EXPECT_EQ(node()->slots().size(), 2U) << "the slot that fits was taken again";
}

TEST_F(EngineSlots, outcome_of_what_a_person_gave_up_is_heuristic_and_never_committed) {
  auto leaving = std::make_unique<TransactionManager>(open());
  const TransactionId id = leave_pending(*leaving);
  leaving.reset();
  node()->adopt(0)->log().forget(id);

  const auto expect_heuristic = [&](TransactionManager& manager) {
    const Outcome outcome = manager.outcome(id);
    EXPECT_EQ(outcome.kind(), OutcomeKind::heuristic) << outcome.text();
    EXPECT_THAT(outcome.reason(), HasSubstr("a person gave it up"));
  };
  auto next = open();
  expect_heuristic(next);
  auto beside = open();
  expect_heuristic(beside);
}

TEST_F(EngineSlots, rule_8_a_renamed_resource_is_refused_until_it_says_what_it_was) {
  {
    auto manager = open();
    const auto a = manager.resource<Scripted>("a");
    static_cast<void>(manager.run([&](Transaction& transaction) { transaction.on(a, [](Branch&) {}); }));
  }
  const auto renamed = std::make_shared<ScriptedResource>("new", Identity{"scripted:a", ""});
  scripted_ = {{"new", renamed}, {"b", b_}};
  const auto touch_renamed = [](TransactionManager& manager) {
    const auto handle = manager.resource<Scripted>("new");
    return manager.run([&](Transaction& transaction) { transaction.on(handle, [](Branch&) {}); });
  };
  {
    auto manager = open();
    try {
      static_cast<void>(touch_renamed(manager));
      FAIL() << "branches under the old name would be orphans";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::resource_unfit);
      EXPECT_THAT(error.hint(), HasSubstr("formerly = [\"a\"]"));
    }
  }
  Config config = this->config();
  for (ResourceSpec& spec : config.resources) {
    if (spec.name == "new") spec.formerly = {"a"};
  }
  auto manager = TransactionManager::open(config, registry(), observer_);
  EXPECT_TRUE(touch_renamed(manager).committed());
  EXPECT_EQ(node()->slots().at(0).holder_pid, ::getpid()) << "the slot of the old name is its own again";
}

}  // namespace
}  // namespace assent
