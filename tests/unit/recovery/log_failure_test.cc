#include <algorithm>
#include <map>
#include <set>

#include "assent/tests/unit/recovery/log_fixture.h"

namespace assent::test {
namespace {

using FailingLog = LogFixture;

TEST_F(FailingLog, a_failed_sync_leaves_the_decision_uncertain_and_poisons_the_log) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  const Decision one = decision_of(*log, incarnation, 1);
  disk.fail_call(2);
  EXPECT_EQ(log->force(one), Forced::uncertain);
  ASSERT_TRUE(log->poisoned().has_value());
  EXPECT_EQ(log->find(one.id), one) << "an uncertain decision must be seen, so that nobody rolls it back";
  const std::uint64_t calls = disk.calls();
  EXPECT_EQ(log->force(decision_of(*log, incarnation, 2)), Forced::refused);
  log->finish(one.id);
  log->flush();
  EXPECT_THROW(log->note_resource({"ledger", {"postgresql:1", "bank"}}), Error);
  log.reset();
  EXPECT_EQ(disk.calls(), calls) << "nothing is retried over a failed sync";
  log = open();
  EXPECT_EQ(log->force(decision_of(*log, log->begin_incarnation(), 1)), Forced::durable);
}

TEST_F(FailingLog, a_write_that_failed_in_between_is_uncertain) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  disk.fail_call(1);
  EXPECT_EQ(log->force(decision_of(*log, incarnation, 1)), Forced::uncertain);
  EXPECT_TRUE(log->poisoned().has_value());
  log.reset();
  log = open();
  EXPECT_NE(log->repaired(), "");
  EXPECT_TRUE(log->unfinished().empty());
}

TEST_F(FailingLog, a_write_that_failed_before_its_first_byte_is_refused) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  disk.refuse_next_write(std::errc::io_error);
  EXPECT_EQ(log->force(decision_of(*log, incarnation, 1)), Forced::refused);
  EXPECT_TRUE(log->poisoned().has_value());
  EXPECT_TRUE(log->unfinished().empty());
}

TEST_F(FailingLog, a_full_disk_at_the_write_refuses_and_the_log_works_again) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  disk.refuse_next_write(std::errc::no_space_on_device);
  EXPECT_EQ(log->force(decision_of(*log, incarnation, 1)), Forced::refused);
  EXPECT_FALSE(log->poisoned().has_value());
  EXPECT_EQ(log->force(decision_of(*log, incarnation, 2)), Forced::durable);
  power_cut(log);
  EXPECT_EQ(open()->unfinished().size(), 1u);
}

TEST_F(FailingLog, a_full_disk_refuses_new_commits_loses_nothing_and_goes_on_when_there_is_room) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  disk.set_capacity(disk.used());
  std::set<TransactionId> acknowledged;
  std::uint64_t sequence = 0;
  int refused = 0;
  while (refused < 5) {
    const Decision decision = decision_of(*log, incarnation, ++sequence);
    const Forced forced = log->force(decision);
    ASSERT_NE(forced, Forced::uncertain);
    if (forced == Forced::durable) {
      acknowledged.insert(decision.id);
      ASSERT_EQ(refused, 0) << "a later commit got through, which is odd on a full disk";
    } else {
      ++refused;
    }
    ASSERT_LT(sequence, 10'000u) << "the disk never filled";
  }
  EXPECT_GT(acknowledged.size(), 50u);
  EXPECT_FALSE(log->poisoned().has_value());
  EXPECT_THROW(log->note_resource({"ledger", {"postgresql:1", "bank"}}), Error);

  disk.set_capacity(std::nullopt);
  const Decision decision = decision_of(*log, incarnation, ++sequence);
  EXPECT_EQ(log->force(decision), Forced::durable);
  acknowledged.insert(decision.id);
  power_cut(log);
  std::set<TransactionId> found;
  for (const auto& [id, known] : open()->unfinished()) found.insert(id);
  EXPECT_EQ(found, acknowledged);
}

TEST_F(FailingLog, opening_on_a_full_disk_is_refused_with_a_hint_and_loses_nothing) {
  auto log = open();
  const Decision decision = decision_of(*log, log->begin_incarnation(), 1);
  ASSERT_EQ(log->force(decision), Forced::durable);
  log.reset();
  disk.set_capacity(disk.used());
  const Error error = refusal();
  EXPECT_EQ(error.code(), ErrorCode::environment);
  EXPECT_NE(error.hint().find("make room"), std::string::npos);
  EXPECT_EQ(std::ranges::count(disk.list("slot").value, log::spare_name), 0) << "what found no room takes none";
  disk.set_capacity(std::nullopt);
  EXPECT_EQ(open()->find(decision.id), decision);
}

TEST_F(FailingLog, the_new_segment_is_made_before_the_old_one_is_full) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  const std::string old = newest_path();
  const std::uint64_t one_segment = log->counters().bytes;
  std::uint64_t sequence = 0;
  while (log->counters().bytes == one_segment) {
    const Decision decision = decision_of(*log, incarnation, ++sequence);
    ASSERT_EQ(log->force(decision), Forced::durable);
    log->finish(decision.id);
    ASSERT_LT(sequence, 10'000u);
  }
  EXPECT_EQ(newest_path(), old);
  disk.set_capacity(disk.used());
  for (int i = 0; i < 100; ++i) {
    const Decision decision = decision_of(*log, incarnation, ++sequence);
    ASSERT_EQ(log->force(decision), Forced::durable) << "the room was taken in time";
    log->finish(decision.id);
  }
  EXPECT_NE(newest_path(), old);
}

/// What may be true after a life of a log, whatever went wrong in it.
struct Ledger {
  std::map<TransactionId, bool> acknowledged;  // true: finish() was called
  std::set<TransactionId> uncertain;
  std::set<TransactionId> refused;
};

class LogLife : public LogFixture {
 protected:
  /// A short life with rotations; stops at the first thing that is not well. True: all was well.
  bool live(Ledger& ledger, std::uint64_t& sequence, Incarnation* seen) {
    std::unique_ptr<DecisionLog> log;
    try {
      log = open();
      const Incarnation incarnation = log->begin_incarnation();
      *seen = incarnation;
      log->note_resource({"ledger", {"postgresql:" + std::to_string(sequence), "bank"}});
      std::uint64_t below = sequence + 1;
      for (int i = 0; i < 90; ++i) {
        const Decision decision = decision_of(*log, incarnation, ++sequence, std::string(250, 'x'));
        switch (log->force(decision)) {
          case Forced::durable:
            ledger.acknowledged[decision.id] = false;
            break;
          case Forced::uncertain:
            ledger.uncertain.insert(decision.id);
            return false;
          case Forced::refused:
            ledger.refused.insert(decision.id);
            return false;
        }
        // Every seventh is never finished, so the mark stays below it.
        if (i % 7 == 6 || i % 9 == 0) continue;
        ledger.acknowledged[decision.id] = true;
        log->finish(decision.id);
        if (i < 6 && decision.id.sequence == below) log->raise_mark(incarnation, ++below);
      }
      return true;
    } catch (const Error& error) {
      EXPECT_TRUE(error.code() == ErrorCode::environment || error.code() == ErrorCode::log_failed) << error.what();
      EXPECT_FALSE(error.hint().empty());
      return false;
    }
  }

  void check(const Ledger& ledger, const std::string& when) {
    const auto log = open();
    const auto found = log->unfinished();
    for (const auto& [id, finished] : ledger.acknowledged) {
      if (!finished) {
        EXPECT_TRUE(found.contains(id)) << when << ": lost " << id.text();
      }
    }
    std::map<Incarnation, std::uint64_t> marks;
    for (const IncarnationRecord& record : log->incarnations()) marks[record.incarnation] = record.mark;
    for (const auto& [id, decision] : found) {
      EXPECT_TRUE(ledger.acknowledged.contains(id) || ledger.uncertain.contains(id)) << when << ": " << id.text();
      EXPECT_FALSE(ledger.refused.contains(id)) << when << ": refused, but there: " << id.text();
      ASSERT_TRUE(marks.contains(id.incarnation)) << when << ": its incarnation is not known";
      EXPECT_GE(id.sequence, marks[id.incarnation]) << when << ": the mark says that it is over";
    }
  }

  void forget_all() {
    const auto names = disk.list("slot");
    for (const std::string& name : names.value) EXPECT_FALSE(disk.remove("slot/" + name));
  }
};

TEST_F(LogLife, whichever_call_fails_nothing_acknowledged_is_lost) {
  options.segment_bytes = 20 << 10;
  bool survived = false;
  for (std::uint64_t n = 1; !survived; ++n) {
    ASSERT_LT(n, 5000u);
    for (const std::errc failure : {std::errc::io_error, std::errc::no_space_on_device}) {
      forget_all();
      Ledger ledger;
      std::uint64_t sequence = 0;
      Incarnation incarnation{};
      disk.fail_call(n, failure);
      const bool well = live(ledger, sequence, &incarnation);
      survived = well && !disk.failed();
      disk.kill();
      const std::string when = "call " + std::to_string(n) + " failed";
      if ((n + (failure == std::errc::io_error ? 0 : 1)) % 2 == 0) disk.crash();
      check(ledger, when);
      if (HasFailure()) return;
    }
  }
}

TEST_F(LogLife, whenever_the_power_goes_nothing_acknowledged_is_lost) {
  options.segment_bytes = 20 << 10;
  bool survived = false;
  for (std::uint64_t n = 1; !survived; ++n) {
    ASSERT_LT(n, 5000u);
    forget_all();
    Ledger ledger;
    std::uint64_t sequence = 0;
    Incarnation incarnation{};
    // A life before, so that opening has something to copy.
    ASSERT_TRUE(live(ledger, sequence, &incarnation));
    disk.die_at_call(n);
    survived = live(ledger, sequence, &incarnation) && !disk.failed();
    disk.crash();
    check(ledger, "power cut at call " + std::to_string(n));
    // And once more, in the middle of the open after it.
    if (n % 3 == 0) {
      disk.die_at_call(1 + n % 40);
      try {
        open();
      } catch (const Error&) {
      }
      disk.crash();
      check(ledger, "power cut at call " + std::to_string(n) + ", and again in the next open");
    }
    if (HasFailure()) return;
  }
}

}  // namespace
}  // namespace assent::test
