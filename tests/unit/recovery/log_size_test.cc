#include <algorithm>
#include <utility>
#include <vector>

#include "assent/recovery/log_record.h"
#include "assent/recovery/log_segment.h"
#include "assent/tests/unit/recovery/log_fixture.h"

namespace assent::test {
namespace {

using LogSize = LogFixture;

TEST_F(LogSize, stays_bounded_over_a_million_decisions_with_one_that_is_never_finished) {
  options.segment_bytes = 1 << 20;
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  const Decision stuck = decision_of(*log, incarnation, 1, "its database is down");
  ASSERT_EQ(log->force(stuck), Forced::durable);
  Decision decision = decision_of(*log, incarnation, 2);
  std::uint64_t most = 0;
  for (; decision.id.sequence <= 1'000'000; ++decision.id.sequence) {
    ASSERT_EQ(log->force(decision), Forced::durable);
    log->finish(decision.id);
    if (decision.id.sequence % 1024 == 0) most = std::max(most, disk.used());
  }
  // One segment, and the next one made in time.
  EXPECT_LE(most, 2 * options.segment_bytes);
  power_cut(log);
  log = open();
  EXPECT_EQ(log->find(stuck.id), stuck);
  EXPECT_LE(log->unfinished().size(), 2u);
}

TEST_F(LogSize, a_large_checkpoint_makes_a_larger_segment_and_a_small_one_a_small_one_again) {
  options.segment_bytes = 20 << 10;
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  constexpr std::uint64_t many = 3000;
  for (std::uint64_t i = 1; i <= many; ++i) {
    ASSERT_EQ(log->force(decision_of(*log, incarnation, i)), Forced::durable);
  }
  EXPECT_GT(log->counters().bytes, 200u << 10);
  power_cut(log);
  log = open();
  EXPECT_EQ(log->unfinished().size(), many);
  for (std::uint64_t i = 1; i <= many; ++i) log->finish(decision_of(*log, incarnation, i).id);
  log.reset();
  log = open();
  EXPECT_TRUE(log->unfinished().empty());
  // The newest recovered commits stay in it.
  EXPECT_LT(log->counters().bytes, 128u << 10);
}

class EveryRotation : public LogFixture, public ::testing::WithParamInterface<std::size_t> {};

TEST_P(EveryRotation, uses_the_segment_made_in_time_and_costs_what_the_last_one_cost) {
  options.segment_bytes = GetParam();
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  struct Cost {
    std::uint64_t batches = 0;
    std::uint64_t syncs = 0;
    std::uint64_t calls = 0;
  };
  std::vector<Cost> costs;  // from one rotation to the next
  std::uint64_t at = newest();
  Cost before;
  Decision decision = decision_of(*log, incarnation, 1);
  while (costs.size() < 12) {
    ASSERT_EQ(log->force(decision), Forced::durable);
    log->finish(decision.id);
    ++decision.id.sequence;
    const std::uint64_t now = disk.calls();
    if (std::exchange(at, newest()) != at) {
      const Cost total{log->counters().syncs, disk.syncs(), now};
      costs.push_back({total.batches - before.batches, total.syncs - before.syncs, total.calls - before.calls});
      before = {total.batches, total.syncs, disk.calls()};
    } else {
      before.calls += disk.calls() - now;  // newest() looked
    }
  }
  for (std::size_t i = 2; i < costs.size(); ++i) {
    // The zeros of the next segment, and its beginning.
    EXPECT_EQ(costs[i].syncs, costs[i].batches + 2) << "rotation " << i;
    EXPECT_EQ(costs[i].batches, costs[2].batches) << "rotation " << i;
    EXPECT_EQ(costs[i].calls, costs[2].calls) << "rotation " << i << ": what is superseded is removed once";
  }
}

// As large as they are told to be, and as small as they can be.
INSTANTIATE_TEST_SUITE_P(Of, EveryRotation, ::testing::Values(40U << 10, 0U));

TEST_F(LogSize, saying_again_what_is_known_writes_nothing) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  log->raise_mark(incarnation, 0);
  EXPECT_TRUE(log->flush());
  const std::uint64_t syncs = log->counters().syncs;
  log->raise_mark(incarnation, 5);
  EXPECT_TRUE(log->flush());
  EXPECT_EQ(log->counters().syncs, syncs + 1);
  log->raise_mark(incarnation, 5);
  log->raise_mark(incarnation, 0);
  EXPECT_TRUE(log->flush());
  EXPECT_EQ(log->counters().syncs, syncs + 1);
}

TEST_F(LogSize, leaves_one_segment_behind_and_removes_leftovers) {
  auto log = open();
  log.reset();
  disk.set_contents(std::string("slot/") + log::spare_name, "half made");
  disk.set_contents("slot/" + log::segment_name(0), "superseded");
  log = open();
  EXPECT_EQ(disk.list("slot").value, std::vector<std::string>{log::segment_name(newest())});
}

TEST(LogRecord, decoding_refuses_every_cut_and_every_length_that_lies) {
  Decision decision{
      {DeciderKind::log, LogId{1}, Incarnation{2}, 3}, "label", 4, {{"ledger", "evidence"}, {"shop", ""}}};
  std::string bytes;
  log::append(bytes, decision);
  const std::string contents = bytes.substr(log::record_head);
  const auto type = static_cast<std::uint8_t>(bytes[4]);
  const auto whole = log::decode(type, contents);
  ASSERT_TRUE(whole.has_value());
  EXPECT_EQ(std::get<Decision>(*whole), decision);
  for (std::size_t cut = 0; cut < contents.size(); ++cut) {
    EXPECT_FALSE(log::decode(type, contents.substr(0, cut)).has_value()) << cut;
  }
  EXPECT_FALSE(log::decode(type, contents + 'x').has_value());
  EXPECT_FALSE(log::decode(200, contents).has_value());
  // Whatever a byte says, decoding stays within its bounds (run under the address sanitizer, too).
  for (std::uint8_t other = 0; other < 12; ++other) {
    for (std::size_t at = 0; at < contents.size(); ++at) {
      std::string lie = contents;
      lie[at] = '\xff';
      const auto record = log::decode(other, lie);
      EXPECT_TRUE(!record || log::unfit(*record).find("longer") == std::string::npos);
    }
  }
}

}  // namespace
}  // namespace assent::test
