#include "assent/recovery/log_state.h"
#include "assent/tests/unit/recovery/log_fixture.h"

namespace assent::test {
namespace {

using MovedLog = LogFixture;

TEST_F(MovedLog, a_copied_log_keeps_its_decisions_and_presumes_nothing_until_it_is_adopted) {
  auto log = open();
  const Incarnation first = log->begin_incarnation();
  const Decision decision = decision_of(*log, first, 1);
  ASSERT_EQ(log->force(decision), Forced::durable);
  log.reset();
  disk.move_everything();

  log = open();
  EXPECT_TRUE(log->moved());
  EXPECT_EQ(log->find(decision.id), decision);
  ASSERT_EQ(log->incarnations().size(), 1u);
  EXPECT_FALSE(log->incarnations()[0].presumable);
  const Incarnation second = log->begin_incarnation();
  ASSERT_EQ(log->incarnations().size(), 2u);
  EXPECT_EQ(log->incarnations()[1].incarnation, second);
  EXPECT_TRUE(log->incarnations()[1].presumable) << "this one was opened here";

  // Opening it once more in its new place does not make it less of a copy.
  power_cut(log);
  log = open();
  EXPECT_TRUE(log->moved());
  EXPECT_FALSE(log->incarnations()[0].presumable);
  EXPECT_TRUE(log->incarnations()[1].presumable);

  log->adopt();
  // First as it was said, then as it was read back, then as the checkpoint of that opening tells it.
  for (int opened = 0; opened < 3; ++opened) {
    EXPECT_FALSE(log->moved());
    EXPECT_TRUE(log->incarnations()[0].presumable);
    EXPECT_TRUE(log->incarnations()[0].adopted) << "the original may have swept its witnesses";
    EXPECT_FALSE(log->incarnations()[1].adopted) << "this one has no original";
    power_cut(log);
    log = open();
  }

  // An adoption does not speak for the next copy.
  log.reset();
  disk.move_everything();
  log = open();
  EXPECT_TRUE(log->moved());
  EXPECT_FALSE(log->incarnations()[0].presumable);
}

TEST_F(MovedLog, a_rotation_keeps_what_is_known_of_a_copy) {
  auto log = open();
  log->begin_incarnation();
  log.reset();
  disk.move_everything();
  log = open();
  const Incarnation incarnation = log->begin_incarnation();
  const std::string before = newest_path();
  for (std::uint64_t i = 1; newest_path() == before; ++i) {
    ASSERT_LT(i, 10'000u);
    const Decision decision = decision_of(*log, incarnation, i);
    ASSERT_EQ(log->force(decision), Forced::durable);
    log->finish(decision.id);
  }
  kill(log);
  log = open();
  EXPECT_TRUE(log->moved());
  EXPECT_FALSE(log->incarnations()[0].presumable);
  EXPECT_TRUE(log->incarnations()[1].presumable);
}

TEST_F(MovedLog, an_incarnation_is_on_disk_before_it_is_told) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  power_cut(log);
  ASSERT_EQ(open()->incarnations().size(), 1u);
  EXPECT_EQ(open()->incarnations()[0].incarnation, incarnation);
}

TEST_F(MovedLog, an_incarnation_that_cannot_be_forced_is_not_told) {
  auto log = open();
  disk.fail_call(2);
  try {
    log->begin_incarnation();
    ADD_FAILURE() << "an incarnation was told";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::log_failed);
  }
}

TEST_F(MovedLog, the_oldest_of_very_many_incarnations_is_forgotten) {
  log::State state;
  for (std::uint64_t i = 1; i <= log::State::max_incarnations + 10; ++i) {
    state.apply(log::Begun{{Incarnation{i}, 0, 1, 0, true}, {}});
  }
  ASSERT_EQ(state.incarnations().size(), log::State::max_incarnations);
  EXPECT_EQ(state.incarnations().front().incarnation.incarnation, Incarnation{11});
}

}  // namespace
}  // namespace assent::test
