// The last blocks of a segment, and the way to the next one: made in time, begun, and the old one removed; or not.
#include <sys/types.h>

#include <atomic>
#include <ostream>
#include <set>
#include <thread>
#include <vector>

#include "assent/recovery/log_record.h"
#include "assent/recovery/log_segment.h"
#include "assent/tests/unit/recovery/log_fixture.h"
#include "assent/tests/unit/recovery/sleepers.h"

namespace assent::test {
namespace {

std::size_t bytes_of(const Decision& decision) {
  std::string bytes;
  log::append(bytes, decision);
  return bytes.size();
}

class LogRoom : public LogFixture {
 protected:
  LogRoom() {
    log = open();
    incarnation = log->begin_incarnation();
  }

  Decision next() { return decision_of(*log, incarnation, ++sequence); }

  /// Whose record is as long as the room of one block.
  Decision next_of_one_block() {
    Decision decision = next();
    decision.label.assign(Decision::max_label, 'l');
    for (auto& branch : decision.branches) branch.evidence.clear();
    while (bytes_of(decision) < log::block_room) {
      std::string& evidence = decision.branches[0].evidence;
      (evidence.size() < Branch::max_evidence ? evidence : decision.branches[1].evidence) += 'e';
    }
    EXPECT_EQ(bytes_of(decision), log::block_room);
    return decision;
  }

  std::uint64_t free_blocks() {
    const std::string bytes = disk.contents(newest_path());
    return bytes.size() / log::block_bytes - 1 - bytes.find_last_not_of('\0') / log::block_bytes;
  }

  /// Decisions of one block each, until so many blocks are left in the segment.
  std::vector<Decision> fill(std::uint64_t left) {
    std::vector<Decision> decided;
    while (free_blocks() > left) {
      decided.push_back(next());
      EXPECT_EQ(log->force(decided.back()), Forced::durable);
    }
    EXPECT_EQ(free_blocks(), left);
    return decided;
  }

  /// Forces and finishes until there is another segment. Answers how many calls the change took.
  std::uint64_t rotate() {
    const std::uint64_t before = newest();
    fill(0);
    for (const auto& [id, decision] : log->unfinished()) log->finish(id);
    const std::uint64_t calls = disk.calls();
    EXPECT_EQ(log->force(next()), Forced::durable);
    const std::uint64_t taken = disk.calls() - calls;
    EXPECT_EQ(newest(), before + 1);
    return taken;
  }

  std::size_t segments() { return log::list_segments(disk, "slot").value.size(); }

  std::unique_ptr<DecisionLog> log;
  Incarnation incarnation{};
  std::uint64_t sequence = 0;
};

TEST_F(LogRoom, of_one_block_takes_a_record_that_fits_to_the_byte) {
  fill(1);
  const std::string path = newest_path();
  EXPECT_EQ(log->force(next_of_one_block()), Forced::durable);
  EXPECT_EQ(newest_path(), path);
  EXPECT_EQ(free_blocks(), 0U);
  EXPECT_EQ(log->force(next()), Forced::durable);
  EXPECT_NE(newest_path(), path);
}

TEST_F(LogRoom, of_one_block_goes_to_the_decision_when_the_disk_is_full) {
  disk.set_capacity(disk.used());
  const TransactionId over = fill(1).front().id;
  log->finish(over);
  EXPECT_EQ(log->force(next_of_one_block()), Forced::durable) << "what was only said must wait";
  EXPECT_FALSE(log->flush()) << "and waits";
  disk.set_capacity(std::nullopt);
  EXPECT_TRUE(log->flush());
  kill(log);
  EXPECT_EQ(open()->find(over), std::nullopt);
}

TEST_F(LogRoom, that_is_too_small_for_what_was_said_ends_in_a_segment_that_says_it) {
  const std::vector<Decision> over = fill(1);
  for (const Decision& decision : over) log->finish(decision.id);
  const std::string path = newest_path();
  EXPECT_TRUE(log->flush());
  EXPECT_NE(newest_path(), path);
  power_cut(log);
  EXPECT_TRUE(open()->unfinished().empty());
}

TEST_F(LogRoom, is_told_as_the_bytes_of_all_files) {
  EXPECT_EQ(log->counters().bytes, disk.used());
  for (std::uint64_t first = newest(); newest() < first + 3;) {
    const Decision decision = next();
    ASSERT_EQ(log->force(decision), Forced::durable);
    log->finish(decision.id);
    ASSERT_EQ(log->counters().bytes, disk.used());
  }
}

TEST_F(LogRoom, is_looked_for_ever_less_often_while_the_disk_is_full) {
  disk.set_capacity(disk.used());
  fill(free_blocks() / 4 + 1);
  // Each commit is one write and one sync; what is more are the attempts, of no more than four calls each.
  const std::uint64_t commits = free_blocks();
  const std::uint64_t before = disk.calls();
  for (std::uint64_t i = 0; i < commits; ++i) ASSERT_EQ(log->force(next()), Forced::durable);
  const std::uint64_t more = disk.calls() - before - 2 * commits;
  EXPECT_GE(commits, 30U);
  EXPECT_GE(more, 3U) << "it is looked for";
  EXPECT_LE(more, 4 * 6U) << "at a half, a quarter, … of " << commits << " blocks";
}

TEST_F(LogRoom, of_a_superseded_segment_is_given_back_once_and_later_when_it_cannot_be_now) {
  rotate();
  EXPECT_EQ(segments(), 1U);
  const std::uint64_t calls = rotate();
  EXPECT_EQ(rotate(), calls) << "what was removed is not removed again";
  disk.refuse_removals(std::errc::io_error);
  rotate();
  EXPECT_EQ(segments(), 2U);
  EXPECT_FALSE(log->poisoned());
  rotate();
  EXPECT_EQ(segments(), 3U);
  disk.refuse_removals(std::nullopt);
  rotate();
  EXPECT_EQ(segments(), 1U);
  EXPECT_EQ(rotate(), calls);
}

struct Failing {
  std::uint64_t blocks_left = 0;
  int decisions = 0;
};
void PrintTo(const Failing& failing, std::ostream* out) {
  *out << failing.blocks_left << " blocks left, " << failing.decisions << " decisions";
}
class NewSegment : public LogRoom, public ::testing::WithParamInterface<Failing> {};

TEST_P(NewSegment, that_cannot_be_had_loses_nothing_whichever_call_failed) {
  bool survived = false;
  for (std::uint64_t number = 1; !survived; ++number) {
    ASSERT_LT(number, 100U);
    std::set<TransactionId> acknowledged;
    std::set<TransactionId> finished;
    for (const Decision& decision : fill(GetParam().blocks_left)) {
      acknowledged.insert(decision.id);
      if (decision.id.sequence % 2 == 0) finished.insert(decision.id);
    }
    for (const TransactionId& id : finished) log->finish(id);
    disk.fail_call(number);
    bool all_durable = true;
    bool last_durable = false;
    for (int i = 0; i < GetParam().decisions; ++i) {
      const Decision decision = next();
      const Forced forced = log->force(decision);
      last_durable = forced == Forced::durable;
      all_durable = all_durable && last_durable;
      if (last_durable) acknowledged.insert(decision.id);
      EXPECT_TRUE(forced == Forced::refused || last_durable || log->poisoned()) << "call " << number;
    }
    EXPECT_FALSE(log->poisoned() && last_durable) << "call " << number;
    EXPECT_TRUE(log->poisoned() || last_durable || GetParam().decisions == 1) << "call " << number;
    survived = all_durable && !disk.failed();
    kill(log);
    log = open();
    for (const TransactionId& id : acknowledged) {
      if (finished.contains(id)) {
        // What is said before a decision is on disk with one of the next.
        EXPECT_FALSE(last_durable && GetParam().decisions > 1 && log->find(id))
            << "call " << number << ": " << id.text();
      } else {
        EXPECT_TRUE(log->find(id)) << "call " << number << ": lost " << id.text();
      }
    }
    for (const auto& [id, decision] : log->unfinished()) log->finish(id);
    incarnation = log->begin_incarnation();
    if (HasFailure()) return;
  }
}

// In one block left the old segment takes a decision all the same, if nothing forbids it.
INSTANTIATE_TEST_SUITE_P(Of, NewSegment, ::testing::Values(Failing{0, 1}, Failing{0, 4}, Failing{1, 1}, Failing{1, 4}));

TEST_F(LogRoom, for_later_is_made_by_the_one_thread_that_writes) {
  std::thread other;
  std::atomic<pid_t> other_thread{0};
  std::atomic<bool> through{false};
  bool made = false;
  const Decision decision = next();
  disk.on_sync([&](const std::string& path) {
    if (made || !path.ends_with(log::spare_name)) return;
    made = true;
    other = std::thread([&] {
      other_thread = ::gettid();
      EXPECT_EQ(log->force(decision), Forced::durable);
      through = true;
    });
    while (other_thread == 0) std::this_thread::yield();
    wait_until_asleep({other_thread});
    EXPECT_FALSE(through) << "two threads write";
  });
  while (!made) ASSERT_EQ(log->force(next()), Forced::durable);
  other.join();
  EXPECT_TRUE(through);
  EXPECT_EQ(log->find(decision.id), decision);
}

TEST_F(LogRoom, after_a_failed_sync_there_is_none_for_whoever_waited) {
  const Decision first = next();
  const Decision second = next();
  std::thread other;
  std::atomic<pid_t> other_thread{0};
  Forced forced = Forced::durable;
  disk.on_sync([&](const std::string&) {
    other = std::thread([&] {
      other_thread = ::gettid();
      forced = log->force(second);
    });
    while (other_thread == 0) std::this_thread::yield();
    wait_until_asleep({other_thread});
  });
  disk.fail_call(2);
  EXPECT_EQ(log->force(first), Forced::uncertain);
  other.join();
  EXPECT_EQ(forced, Forced::refused);
  EXPECT_EQ(log->find(second.id), std::nullopt) << "no byte of it was written";
}

TEST(LogBlocks, leave_a_new_segment_as_much_room_as_its_checkpoint_took_and_two_of_the_largest_records) {
  const std::uint64_t records = 2 * log::blocks_for(log::max_record);
  EXPECT_EQ(log::least_blocks(0), 1 + records);
  EXPECT_EQ(log::least_blocks(10), 1 + 20 + records);
  EXPECT_EQ(log::blocks_wanted(10, 0), log::least_blocks(10));
  EXPECT_EQ(log::blocks_wanted(10, 1 << 20), (1U << 20) / log::block_bytes);
}

TEST(LogBlocks, of_zeros_cost_a_write_for_each_mebibyte_and_one_sync) {
  FakeFileSystem disk;
  ASSERT_FALSE(disk.make_directory("slot"));
  const auto calls = [&](std::uint64_t bytes) {
    const std::uint64_t before = disk.calls();
    const auto spare = log::make_spare(disk, "slot", bytes / log::block_bytes);
    EXPECT_TRUE(spare);
    EXPECT_EQ(disk.contents(std::string("slot/") + log::spare_name), std::string(bytes, '\0'));
    EXPECT_FALSE(disk.remove(std::string("slot/") + log::spare_name));
    return disk.calls() - before - 1;
  };
  EXPECT_EQ(calls(1 << 20), 4U) << "open, reserve, write, sync";
  EXPECT_EQ(calls(3 << 20), 6U);
}

TEST(LogBlocks, are_never_more_than_a_segment_may_have) {
  FakeFileSystem disk;
  ASSERT_FALSE(disk.make_directory("slot"));
  disk.set_capacity(1 << 20);
  const std::uint64_t most = log::max_segment_bytes / log::block_bytes;
  EXPECT_EQ(log::make_spare(disk, "slot", most).error, std::errc::no_space_on_device) << "it is tried";
  EXPECT_EQ(log::make_spare(disk, "slot", most + 1).error, std::errc::file_too_large);
  EXPECT_TRUE(disk.list("slot").value.empty());
  try {
    DecisionLog::open(disk, "slot", {.segment_bytes = 2 * log::max_segment_bytes, .random = {}, .now_ms = {}});
    ADD_FAILURE() << "the log was opened";
  } catch (const Error& error) {
    EXPECT_NE(error.hint().find("make room"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace assent::test
