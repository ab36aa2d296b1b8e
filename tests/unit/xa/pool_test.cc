#include "assent/adapters/pool.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <future>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "assent/tests/unit/recovery/sleepers.h"

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
  /// Who waits without a thread, and what they were told.
  struct Waits {
    std::vector<std::string> told;
    std::vector<std::shared_ptr<Place>> places;
    void drop_places() { std::exchange(places, {}).clear(); }
    std::optional<PlaceWait> await(Pool<FakeSession>& pool, const std::string& who) {
      return pool.await_place(std::nullopt, [this, who](Result<std::shared_ptr<Place>> place) {
        told.push_back(place ? who : who + ": " + describe(place.failure()));
        if (place) places.push_back(*place);
      });
    }
  };
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

TEST_F(PoolTest, a_place_is_at_once_there_while_there_is_room_and_is_used_by_one_take) {
  auto pool = make(1);
  Waits waits;
  EXPECT_FALSE(waits.await(*pool, "first"));
  ASSERT_EQ(waits.told, (std::vector<std::string>{"first"}));
  EXPECT_FALSE(pool->take()) << "the only place is kept";
  auto lease = pool->take({}, waits.places.at(0));
  ASSERT_TRUE(lease);
  EXPECT_FALSE(pool->take({}, waits.places.at(0))) << "it is used up";
  lease->give_back();
  EXPECT_TRUE(pool->take());
}

TEST_F(PoolTest, a_place_that_is_not_used_goes_to_the_next) {
  auto pool = make(1);
  Waits waits;
  EXPECT_FALSE(waits.await(*pool, "first"));
  EXPECT_TRUE(waits.await(*pool, "second"));
  waits.drop_places();
  EXPECT_EQ(waits.told, (std::vector<std::string>{"first", "second"}));
  waits.drop_places();
  EXPECT_TRUE(pool->take());
}

TEST_F(PoolTest, a_place_of_another_pool_is_none_here) {
  auto pool = make(1);
  auto other = make(1);
  Waits waits;
  EXPECT_FALSE(waits.await(*other, "there"));
  auto lease = pool->take();
  EXPECT_FALSE(pool->take({}, waits.places.at(0)));
  EXPECT_TRUE(other->take({}, waits.places.at(0))) << "and stays one there";
}

TEST_F(PoolTest, who_waits_longest_is_first_with_a_thread_or_without) {
  auto pool = make(1);
  auto lease = pool->take();
  Waits waits;
  EXPECT_TRUE(waits.await(*pool, "first"));
  std::promise<pid_t> id;
  std::thread thread([&] {
    id.set_value(::gettid());
    auto second = pool->take(std::chrono::steady_clock::now() + std::chrono::hours(1));
    ASSERT_TRUE(second);
    waits.told.push_back("second");
    second->give_back();
  });
  test::wait_until_asleep({id.get_future().get()});
  EXPECT_TRUE(waits.await(*pool, "third"));
  EXPECT_EQ(waits.told.size(), 0U);
  lease->give_back();
  EXPECT_EQ(waits.told, (std::vector<std::string>{"first"}));
  waits.drop_places();
  thread.join();
  EXPECT_EQ(waits.told, (std::vector<std::string>{"first", "second", "third"}));
}

TEST_F(PoolTest, who_gives_up_is_told_what_take_would_answer_and_only_once) {
  auto pool = make(1);
  auto lease = pool->take();
  const Reply refusal = pool->take().failure();
  Waits waits;
  const auto first = waits.await(*pool, "first");
  const auto second = waits.await(*pool, "second");
  ASSERT_TRUE(first && second);
  first->give_up();
  first->give_up();
  EXPECT_EQ(waits.told, (std::vector<std::string>{"first: " + describe(refusal)}));
  lease->give_back();
  EXPECT_EQ(waits.told.back(), "second");
  second->give_up();
  EXPECT_EQ(waits.told.size(), 2U);
  EXPECT_TRUE(pool->take({}, waits.places.at(0)));
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
