// A log directory that exists twice. Two managers with the same log cannot know of each other, so a copy commits what
// was recorded and presumes nothing (safety rule 2).
#include <gtest/gtest.h>

#include <filesystem>

#include "assent/recovery/file_system.h"
#include "assent/tests/crash/world.h"

namespace assent::testing {
namespace {

class CopiedLog : public ::testing::Test {
 protected:
  /// A worker stopped at the point of a transfer of 7.
  void stop_at(const std::string& point) {
    worker_ = world_.start();
    ASSERT_EQ(kind_in(worker_->ask("transfer all 100", "outcome")), "committed");
    world_.expect(effect_of("all", 100));
    worker_->say("at " + point);
    worker_->say("transfer all 7");
  }
  std::unique_ptr<Process> open_copy() {
    World::Setting setting = world_.setting();
    setting.log = "copy";
    return world_.start(setting);
  }
  std::string log() const { return world_.directory() + "/log"; }

  Bank bank_{Server::mariadb};
  World world_{bank_, 1};
  std::unique_ptr<Process> worker_;
};

TEST_F(CopiedLog, a_copy_leaves_the_undecided_branches_of_the_living_original_alone) {
  stop_at("prepare ledger after last 2 stop");
  worker_->hear("at point");
  copy_directory(log(), world_.directory() + "/copy");
  const auto before = world_.in_doubt();
  ASSERT_GE(before.size(), 3U);

  const auto copy = open_copy();
  for (int pass = 0; pass < 5; ++pass) copy->ask("recover", "recovered");
  EXPECT_EQ(world_.in_doubt(), before);

  worker_->say("go");
  EXPECT_EQ(kind_in(worker_->hear("outcome")), "committed");
  world_.expect(effect_of("all", 7));
  EXPECT_EQ(kind_in(worker_->ask("transfer all 3", "outcome")), "committed");
  world_.expect(effect_of("all", 3));
  for (int pass = 0; pass < 5; ++pass) copy->ask("recover", "recovered");
  worker_->ask("recover", "recovered 0 0 0");
  copy->ask("quit", "closed");
  worker_->ask("quit", "closed");
  world_.expect_all_is_over();
}

// What the original finished and forgot after the copy was made is for a person in the copy: its witnesses are gone.
TEST_F(CopiedLog, a_copy_may_finish_recorded_commits_under_the_original_which_finds_them_committed) {
  stop_at("commit ledger before first 2 stop");
  worker_->hear("at point");
  world_.expect(effect_of("all", 7));
  copy_directory(log(), world_.directory() + "/copy");

  const auto copy = open_copy();
  // PostgreSQL lets anybody finish what is prepared; the others wait for the session that holds the branch.
  EXPECT_TRUE(eventually([&] { return bank_.ledger_balance(1) == world_.expected().ledger; })) << world_.describe();
  worker_->say("go");
  EXPECT_EQ(kind_in(worker_->hear("outcome")), "committed");
  EXPECT_TRUE(eventually([&] { return world_.settled(); })) << world_.describe();
  EXPECT_EQ(world_.balances(), std::optional(world_.expected()));
  EXPECT_TRUE(eventually([&] { return worker_->ask("recover", "recovered") == "recovered 0 0 0"; }));
  copy->ask("quit", "closed");
  worker_->ask("quit", "closed");
  world_.expect_all_is_over();
}

TEST_F(CopiedLog, an_older_copy_that_was_restored_presumes_nothing_until_a_person_adopts_it) {
  stop_at("prepare ledger after last 2 stop");
  worker_->hear("at point");
  copy_directory(log(), world_.directory() + "/backup");
  worker_->kill_9();
  static_cast<void>(world_.logs());
  std::filesystem::remove_all(log());
  copy_directory(world_.directory() + "/backup", log());
  const auto before = world_.in_doubt();
  ASSERT_GE(before.size(), 3U);
  {
    const auto next = world_.start();
    for (int pass = 0; pass < 5; ++pass) next->ask("recover", "recovered 0 ");
    EXPECT_EQ(world_.in_doubt(), before);
    next->ask("quit", "closed");
  }
  EXPECT_EQ(world_.in_doubt(), before);

  const auto node = NodeDirectory::open(FileSystem::real(), log(), "node");
  for (const SlotState& state : node->slots()) {
    const auto slot = node->adopt(state.number);
    ASSERT_TRUE(slot);
    EXPECT_TRUE(slot->log().moved());
    slot->log().adopt();
  }
  const auto next = world_.start();
  EXPECT_TRUE(eventually([&] { return world_.settled(); })) << world_.describe();
  next->ask("quit", "closed");
  world_.expect_all_is_over();
}

}  // namespace
}  // namespace assent::testing
