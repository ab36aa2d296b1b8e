// The owner of a prepared branch hangs. On MariaDB only the owner's session can finish it, so recovery must neither
// lose patience while the process lives nor wait for ever once it is dead.
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <csignal>

#include "assent/tests/crash/world.h"

namespace assent::testing {
namespace {

class HungClient : public ::testing::Test {
 protected:
  /// A worker stopped at the point of a transfer of 7, its sessions open.
  void stop_at(const std::string& point) {
    worker_ = world_.start();
    ASSERT_EQ(kind_in(worker_->ask("transfer all 100", "outcome")), "committed");
    world_.expect(effect_of("all", 100));
    worker_->say("at " + point + " stop");
    worker_->say("transfer all 7");
    id_ = id_in(worker_->hear("begun "));
    worker_->hear("at point");
  }

  Bank bank_{Server::mariadb};
  World world_{bank_, 1};
  std::unique_ptr<Process> worker_;
  std::string id_;
};

TEST_F(HungClient, a_stopped_process_is_left_alone_and_goes_on) {
  for (const char* point : {"prepare ledger after last 2", "commit shop before last 1", "commit shop before first 1"}) {
    SCOPED_TRACE(point);
    stop_at(point);
    worker_->signal(SIGSTOP);
    worker_->await_stop();
    const auto before = world_.in_doubt();
    EXPECT_FALSE(before.empty());

    const auto other = world_.start();
    for (int pass = 0; pass < 5; ++pass) other->ask("recover", "recovered 0 0 0");
    EXPECT_EQ(world_.in_doubt(), before);

    worker_->signal(SIGCONT);
    worker_->say("go");
    EXPECT_EQ(kind_in(worker_->hear("outcome")), "committed");
    world_.expect(effect_of("all", 7));
    worker_->ask("quit", "closed");
    other->ask("quit", "closed");
    world_.expect_all_is_over();
  }
}

/// Dead processes do not always close their sessions: here a child keeps the sockets, as a network that is cut would.
class DeadClientWithSessions : public HungClient {
 protected:
  void die_at(const std::string& point) {
    worker_ = world_.start();
    ASSERT_EQ(kind_in(worker_->ask("transfer all 100", "outcome")), "committed");
    world_.expect(effect_of("all", 100));
    keeper_ = static_cast<pid_t>(std::stol(id_in(worker_->ask("keep-sessions", "kept "))));
    worker_->say("at " + point + " stop");
    worker_->say("transfer all 7");
    const auto id = TransactionId::from_text(id_in(worker_->hear("begun ")));
    ASSERT_TRUE(id);
    worker_->hear("at point");
    worker_->signal(SIGSTOP);
    worker_->await_stop();
    worker_->kill_9();
    // The session lives on: nobody else may finish its branch.
    const std::string rollback =
        "XA ROLLBACK 0x" + to_hex(id->gtrid()) + ",'shop'," + std::to_string(Xid::assent_format);
    try {
      Bank::on_mysql(bank_.shop_url(), rollback);
      FAIL() << "the owner's session has ended";
    } catch (const std::runtime_error& refused) {
      ASSERT_NE(std::string(refused.what()).find("1397"), std::string::npos) << refused.what();
    }
  }

  void TearDown() override {
    if (keeper_ > 0) ::kill(keeper_, SIGKILL);
  }

  pid_t keeper_ = 0;
};

TEST_F(DeadClientWithSessions, recovery_ends_the_session_and_commits_what_was_decided) {
  die_at("commit shop before last 1");
  const auto other = world_.start();
  world_.expect(effect_of("all", 7));
  EXPECT_TRUE(eventually([&] { return world_.settled(); })) << world_.describe();
  other->ask("quit", "closed");
  world_.expect_all_is_over();
}

TEST_F(DeadClientWithSessions, recovery_ends_the_session_and_rolls_back_what_was_not_decided) {
  die_at("prepare ledger after last 2");
  const auto other = world_.start();
  EXPECT_TRUE(eventually([&] { return world_.settled(); })) << world_.describe();
  other->ask("quit", "closed");
  world_.expect_all_is_over();
}

}  // namespace
}  // namespace assent::testing
