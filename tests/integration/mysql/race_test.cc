// MariaDB can answer OK to a recovery that meets the branch's owner just leaving, do nothing, and hide the branch, with
// its locks, until a restart. Here 5,000 recoveries race with such an owner, half of them with one that is killed:
// none may be lost, none may be reported falsely.

#include <atomic>
#include <thread>
#include <tuple>

#include "fixture.h"

namespace assent::mysql_test {
namespace {

constexpr int shards = 4;
constexpr int rounds = 625;  // in a shard
constexpr int racers = 5;    // side by side, because each waits for most of its time

enum class Leaves { killed, closes };

class Race : public OnServer, public ::testing::WithParamInterface<std::tuple<const char*, Leaves, int>> {
 protected:
  std::string server() const override { return std::get<0>(GetParam()); }
  void race(int racer);

  std::atomic<int> wrong_{0};
};

void Race::race(int racer) {
  const int row = 100 + racer;
  const auto killer = connect();
  const auto reader = connect();
  for (int round = 1; round <= rounds / racers; ++round) {
    const Xid id = fresh_xid();
    const bool commit = round % 2 == 1;
    auto started = shop_->start(id, {});
    ASSERT_TRUE(started) << describe(started.failure());
    std::unique_ptr<Branch> branch = std::move(started).value();
    const std::string owner = query(*branch, "SELECT CONNECTION_ID()");
    write(*branch, round, row);
    ASSERT_EQ(branch->prepare().code, Code::ok);

    Reply reply;
    std::atomic<bool> go = false;
    std::thread leaving([&] {
      while (!go) std::this_thread::yield();
      if (std::get<1>(GetParam()) == Leaves::killed) {
        static_cast<void>(killer->run({"KILL CONNECTION " + owner}));
      } else {
        branch.reset();
      }
    });
    go = true;
    // Both ways: a recovery that may end the owner itself, and one that asks again until the owner has ended.
    const FinishOptions options{.carrier_is_dead = round % 4 < 2};
    do {
      reply = commit ? shop_->commit(id, options) : shop_->rollback(id, options);
    } while (reply.code == Code::retry);
    leaving.join();
    branch.reset();

    const auto found = reader->run({"SELECT v FROM " + table_ + " WHERE id=" + std::to_string(row)}).value(0);
    const bool took_effect = (found == std::to_string(round)) == commit;
    if (!reply.is_ok() || !took_effect) {
      ++wrong_;
      // What is left must not hold up the next shard.
      static_cast<void>(shop_->rollback(id, {.carrier_is_dead = true}));
      ADD_FAILURE() << "round " << round << ": " << describe(reply) << ", row " << found.value_or("?");
    }
    ASSERT_EQ(shop_->fate(id, "").value(), commit ? Fate::committed : Fate::rolled_back);
    static_cast<void>(shop_->forget({id}));
  }
}

TEST_P(Race, with_a_leaving_owner_loses_no_branch_and_tells_no_lie) {
  for (int racer = 0; racer < racers; ++racer)
    sql("INSERT INTO " + table_ + " VALUES (" + std::to_string(100 + racer) + ",0)");
  std::vector<std::thread> all;
  all.reserve(racers);
  for (int racer = 0; racer < racers; ++racer) all.emplace_back([this, racer] { race(racer); });
  for (std::thread& each : all) each.join();
  EXPECT_EQ(wrong_, 0);
}

INSTANTIATE_TEST_SUITE_P(On, Race,
                         ::testing::Combine(::testing::Values("MARIADB", "MYSQL"),
                                            ::testing::Values(Leaves::killed, Leaves::closes),
                                            ::testing::Range(1, shards + 1)),
                         [](const auto& each) {
                           return std::string(std::get<0>(each.param)) +
                                  (std::get<1>(each.param) == Leaves::killed ? "_killed_" : "_closed_") +
                                  std::to_string(std::get<2>(each.param));
                         });

}  // namespace
}  // namespace assent::mysql_test
