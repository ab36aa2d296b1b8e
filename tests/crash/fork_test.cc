// Processes that fork, that exit with open transactions, and pre-forked workers that share a node.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>

#include "assent/tests/crash/world.h"

namespace assent::testing {
namespace {

class Forks : public ::testing::TestWithParam<Server> {
 protected:
  void SetUp() override {
    if (!url(GetParam())) GTEST_SKIP() << no_mysql;
    bank_ = std::make_unique<Bank>(GetParam());
    world_ = std::make_unique<World>(*bank_, 1);
  }

  std::unique_ptr<Bank> bank_;
  std::unique_ptr<World> world_;
};

TEST_P(Forks, a_child_can_use_nothing_of_its_parents_and_harms_nothing_of_it) {
  const auto worker = world_->start();
  ASSERT_EQ(kind_in(worker->ask("transfer all 100", "outcome")), "committed");
  world_->expect(effect_of("all", 100));
  worker->ask("hold all 7", "held");
  worker->say("fork");
  EXPECT_EQ(worker->hear("child "), "child refused");
  worker->hear("forked");
  EXPECT_EQ(kind_in(worker->ask("finish", "outcome")), "committed");
  world_->expect(effect_of("all", 7));
  EXPECT_EQ(kind_in(worker->ask("transfer all 3", "outcome")), "committed");
  world_->expect(effect_of("all", 3));
  worker->ask("recover", "recovered 0 0 0");
  worker->ask("quit", "closed");
  world_->expect_all_is_over();
}

TEST_P(Forks, a_process_that_exits_with_open_transactions_leaves_nothing) {
  for (const char* way : {"exit", "_exit"}) {
    SCOPED_TRACE(way);
    const auto worker = world_->start();
    ASSERT_EQ(kind_in(worker->ask("transfer all 100", "outcome")), "committed");
    world_->expect(effect_of("all", 100));
    worker->ask("hold all 7", "held");
    EXPECT_FALSE(world_->settled());
    worker->say(way);
    EXPECT_EQ(worker->wait(), 0);
    EXPECT_TRUE(eventually([&] { return world_->settled(); })) << world_->describe();
    EXPECT_EQ(world_->balances(), std::optional(world_->expected()));
    // That the first transfer is over was not forced to the log: the next process asks once more, and writes it.
    const auto next = world_->start();
    next->ask("recover", "recovered 0 0 0");
    next->ask("quit", "closed");
    world_->expect_all_is_over();
  }
}

TEST_P(Forks, survivors_among_preforked_workers_finish_what_the_dead_left) {
  for (const int account : {2, 3, 4, 5}) bank_->open_account(account);
  const auto parent = world_->spawn(world_->setting());
  parent->say("prefork 4");
  for (int child = 0; child < 4; ++child) parent->hear("child ");
  for (const char* child : {"0", "1", "2", "3"}) parent->ask(std::string(child) + " open", "opened");
  parent->say("2 load pair 30");
  parent->say("3 load pair 30");
  parent->say("0 at commit ledger before first 1 die");
  parent->say("0 transfer pair 7");
  parent->say("1 at prepare ledger after last 1 die");
  parent->say("1 transfer pair 7");
  parent->hear("loaded");
  parent->hear("loaded");
  const auto is = [&](int account, long ledger, long shop) {
    return bank_->ledger_balance(account) == Bank::opening_balance + ledger &&
           bank_->shop_balance(account) == Bank::opening_balance + shop;
  };
  // Nobody asks: the survivors' own recovery must come upon it.
  EXPECT_TRUE(eventually([&] { return world_->in_doubt().empty() && is(2, -7, 7) && is(3, 0, 0); }))
      << world_->describe();
  EXPECT_TRUE(is(4, -30, 30));
  EXPECT_TRUE(is(5, -30, 30));
  EXPECT_EQ(world_->logs().size(), 4U);
  EXPECT_EQ(std::ranges::count_if(parent->heard(),
                                  [](const std::string& line) { return line.starts_with("outcome committed"); }),
            60);
  parent->ask("2 quit", "closed");
  parent->ask("3 quit", "closed");
  parent->say_no_more();
  EXPECT_EQ(parent->wait(), 0);
  world_->expect_all_is_over();
}

INSTANTIATE_TEST_SUITE_P(With, Forks, ::testing::Values(Server::mariadb, Server::mysql),
                         [](const auto& each) { return std::string(name(each.param)); });

}  // namespace
}  // namespace assent::testing
