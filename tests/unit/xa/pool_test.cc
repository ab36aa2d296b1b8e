#include "assent/adapters/pool.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <optional>
#include <thread>

namespace assent {
namespace {

struct FakeSession {
  int* closed;
  bool healthy = true;
  explicit FakeSession(int* count) : closed(count) {}
  ~FakeSession() { ++*closed; }
};

class PoolTest : public testing::Test {
 protected:
  std::unique_ptr<Pool<FakeSession>> make(std::size_t most, std::chrono::milliseconds trust = std::chrono::hours(1)) {
    return std::make_unique<Pool<FakeSession>>(
        Pool<FakeSession>::Options{.max_sessions = most, .wait = std::chrono::milliseconds(0), .trust = trust},
        [this]() -> Result<std::unique_ptr<FakeSession>> {
          ++opened_;
          return std::make_unique<FakeSession>(&closed_);
        },
        [this](FakeSession& session) {
          ++validated_;
          return session.healthy;
        });
  }
  int opened_ = 0;
  int closed_ = 0;
  int validated_ = 0;
};

TEST_F(PoolTest, hands_out_what_came_back_idle) {
  auto pool = make(1);
  pool->take()->give_back();
  pool->take()->give_back();
  EXPECT_EQ(opened_, 1);
  EXPECT_EQ(closed_, 0);
}

TEST_F(PoolTest, closes_what_nobody_proved_idle) {
  auto pool = make(1);
  { auto lease = pool->take(); }
  EXPECT_EQ(closed_, 1);
  EXPECT_TRUE(pool->take());
  EXPECT_EQ(opened_, 2);
}

TEST_F(PoolTest, is_bounded) {
  auto pool = make(2);
  auto one = pool->take();
  auto two = pool->take();
  const auto three = pool->take();
  ASSERT_FALSE(three);
  EXPECT_EQ(three.failure().code, Code::resource_failed);
  EXPECT_EQ(three.failure().certainty, Certainty::not_done);
  one->give_back();
  EXPECT_TRUE(pool->take());
}

TEST_F(PoolTest, validates_what_lay_idle_and_evicts_the_broken) {
  auto pool = make(1, std::chrono::milliseconds(-1));
  auto lease = pool->take();
  (*lease)->healthy = false;
  lease->give_back();
  EXPECT_TRUE(pool->take());
  EXPECT_EQ(validated_, 1);
  EXPECT_EQ(opened_, 2);
  EXPECT_EQ(closed_, 2);
}

TEST_F(PoolTest, wakes_a_waiter) {
  auto pool = make(1);
  auto lease = pool->take();
  std::thread waiter([&] { EXPECT_TRUE(pool->take(std::chrono::steady_clock::now() + std::chrono::hours(1))); });
  lease->give_back();
  waiter.join();
}

TEST_F(PoolTest, in_a_forked_child_closes_nothing_of_the_parents) {
  auto pool = make(2);
  pool->take()->give_back();
  auto held = std::make_optional(pool->take());
  const pid_t child = fork();
  if (child == 0) {
    held.reset();
    pool.reset();
    _exit(closed_);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  held.reset();
  pool.reset();
  EXPECT_EQ(closed_, opened_);
}

}  // namespace
}  // namespace assent
