#include "assent/recovery/log_state.h"
#include "assent/tests/unit/recovery/log_fixture.h"

// Rule 5: what is over is told from what was never decided, also above the mark and after the decision left the log.

namespace assent::test {
namespace {

class Over : public LogFixture {
 protected:
  TransactionId id(std::uint64_t sequence) const { return {DeciderKind::log, log_->id(), incarnation_, sequence}; }
  void begin() {
    log_ = open();
    incarnation_ = log_->begin_incarnation();
    log_->raise_mark(incarnation_, 1);
  }
  void decide(std::uint64_t sequence) {
    EXPECT_EQ(log_->force(decision_of(*log_, incarnation_, sequence)), Forced::durable);
  }
  IncarnationRecord record() const {
    for (const IncarnationRecord& each : log_->incarnations()) {
      if (each.incarnation == incarnation_) return each;
    }
    return {};
  }

  std::unique_ptr<DecisionLog> log_;
  Incarnation incarnation_{};
};

TEST_F(Over, rule_5_a_decision_finished_above_the_mark_is_over_after_a_crash) {
  begin();
  decide(2);
  log_->finish(id(2));
  decide(3);  // carries the finish with it
  kill(log_);
  log_ = open();
  EXPECT_TRUE(log_->is_over(id(2)));
  EXPECT_FALSE(log_->is_over(id(1))) << "never decided: a presumed abort";
  EXPECT_FALSE(log_->is_over(id(3))) << "decided and not finished";
  EXPECT_EQ(record().mark, 1U);
  EXPECT_EQ(record().over_to, 3U);
}

TEST_F(Over, the_mark_rises_over_what_is_over_without_a_hole) {
  begin();
  for (const std::uint64_t sequence : {1U, 2U, 4U}) {
    decide(sequence);
    log_->finish(id(sequence));
  }
  EXPECT_EQ(record().mark, 3U);
  log_->finish(id(3));  // rolled back, and confirmed
  EXPECT_EQ(record().mark, 5U);
  EXPECT_EQ(record().over_to, 5U);
}

TEST_F(Over, a_clean_close_leaves_the_mark_above_everything) {
  begin();
  log_->finish(id(1));
  decide(2);
  log_->finish(id(2));
  log_->finish(id(3));
  log_.reset();
  log_ = open();
  EXPECT_EQ(record().mark, 4U);
}

TEST_F(Over, flush_makes_durable_what_was_never_decided_also_above_the_mark) {
  begin();
  log_->finish(id(2));  // a one-phase commit, beside one that is still running
  log_->flush();
  const auto syncs = log_->counters().syncs;
  log_->flush();
  EXPECT_EQ(log_->counters().syncs, syncs) << "nothing new, nothing written";
  kill(log_);
  log_ = open();
  EXPECT_TRUE(log_->is_over(id(2)));
  EXPECT_FALSE(log_->is_over(id(1)));
}

TEST_F(Over, what_is_over_survives_the_change_of_segments_although_one_transaction_is_pending_for_long) {
  begin();
  decide(1);
  const auto first = newest();
  for (std::uint64_t sequence = 2; newest() < first + 4; ++sequence) {
    if (sequence % 3 != 0) decide(sequence);  // every third is rolled back
    log_->finish(id(sequence));
  }
  EXPECT_EQ(record().mark, 1U);
  log_->flush();
  kill(log_);
  log_ = open();
  EXPECT_EQ(log_->unfinished().size(), 1U);
  EXPECT_TRUE(log_->is_over(id(2)));
  EXPECT_TRUE(log_->is_over(id(3)));
  EXPECT_FALSE(log_->is_over(id(1)));
}

TEST_F(Over, what_a_person_gave_up_is_remembered_and_never_as_recovered) {
  begin();
  for (const std::uint64_t sequence : {1U, 2U}) decide(sequence);
  kill(log_);
  log_ = open();
  log_->forget(id(1));
  log_->finish(id(2));
  log_->flush();
  for (int opened = 0; opened < 3; ++opened) {
    power_cut(log_);
    log_ = open();
    EXPECT_TRUE(log_->unfinished().empty());
    EXPECT_TRUE(log_->forgotten(id(1)));
    EXPECT_FALSE(log_->recovered(id(1))) << "nobody knows that it committed everywhere";
    EXPECT_TRUE(log_->is_over(id(1)));
    EXPECT_FALSE(log_->forgotten(id(2)));
    EXPECT_TRUE(log_->recovered(id(2)));
  }
  EXPECT_THROW(log_->forget(id(2)), Error) << "it is committed everywhere, and must not become anything else";
}

TEST_F(Over, what_cannot_be_written_is_not_forgotten) {
  begin();
  decide(1);
  disk.fail_call(1);
  EXPECT_THROW(log_->forget(id(1)), Error);
  EXPECT_FALSE(log_->forgotten(id(1)));
  EXPECT_TRUE(log_->find(id(1)).has_value());
}

TEST(OverIntervals, touch_overlap_and_nest_into_one) {
  log::State state;
  log::Begun begun;
  begun.incarnation.incarnation = Incarnation{7};
  state.apply(begun);
  const auto over = [&](std::uint64_t from, std::uint64_t to) { state.apply(log::Over{Incarnation{7}, from, to}); };
  over(10, 12);
  over(14, 16);
  over(12, 13);
  over(11, 15);
  over(12, 13);
  EXPECT_TRUE(state.knows({Incarnation{7}, 10, 16}));
  EXPECT_FALSE(state.knows({Incarnation{7}, 9, 16}));
  EXPECT_FALSE(state.knows({Incarnation{7}, 10, 17}));
  EXPECT_EQ(state.mark(Incarnation{7}), 0U);
  over(0, 10);
  EXPECT_EQ(state.mark(Incarnation{7}), 16U);
  EXPECT_EQ(state.over_to(Incarnation{7}), 16U);
  over(3, 5);
  EXPECT_EQ(state.mark(Incarnation{7}), 16U);
  EXPECT_FALSE(state.knows({Incarnation{8}, 0, 1}));
}

TEST(OverIntervals, agree_with_a_plain_set_in_every_order) {
  // Every subset of 8 numbers, told in an order that a small generator shuffles.
  for (unsigned mask = 0; mask < 256; ++mask) {
    log::State state;
    log::Begun begun;
    begun.incarnation.incarnation = Incarnation{7};
    state.apply(begun);
    for (unsigned i = 0, at = mask % 8; i < 8; ++i, at = (at + 3) % 8) {
      if ((mask >> at & 1) != 0) state.apply(log::Over{Incarnation{7}, at, at + 1});
    }
    unsigned mark = 0;
    while ((mask >> mark & 1) != 0) ++mark;
    EXPECT_EQ(state.mark(Incarnation{7}), mark) << mask;
    for (unsigned at = 0; at < 9; ++at) {
      EXPECT_EQ(state.is_over({DeciderKind::log, LogId{1}, Incarnation{7}, at}), (mask >> at & 1) != 0) << mask;
    }
  }
}

}  // namespace
}  // namespace assent::test
