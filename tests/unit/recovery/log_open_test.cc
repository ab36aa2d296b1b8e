// What opening a log owes: safety rule 3, and of rule 9 what a program that is started meanwhile must not inherit.
#include <fcntl.h>
#include <stdlib.h>

#include <filesystem>

#include "assent/recovery/log_format.h"
#include "assent/recovery/node_directory.h"
#include "assent/tests/unit/recovery/log_fixture.h"

namespace assent::test {
namespace {

using OpenedLog = LogFixture;

/// Writes a decision whose writer dies between the write and the sync: it is in the page cache, and nobody was told.
Decision left_in_the_page_cache(FakeFileSystem& disk, std::unique_ptr<DecisionLog> log) {
  Decision decision = decision_of(*log, log->begin_incarnation(), 1);
  disk.on_sync([&disk](const std::string&) {
    disk.on_sync(nullptr);
    disk.kill();
  });
  EXPECT_NE(log->force(decision), Forced::durable);
  return decision;
}

TEST_F(OpenedLog, rule_3_a_decision_that_was_only_in_the_page_cache_is_on_disk_before_it_is_told) {
  // Which of the unsynced sectors a power cut keeps is the seed's choice: all of these must agree.
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    FakeFileSystem fresh(seed);
    ASSERT_FALSE(fresh.make_directory("slot"));
    ASSERT_FALSE(fresh.sync_directory(""));
    const Decision decision = left_in_the_page_cache(fresh, DecisionLog::open(fresh, "slot", options));

    auto log = DecisionLog::open(fresh, "slot", options);
    ASSERT_EQ(log->find(decision.id), decision) << "it was written";
    // Whoever reads this commits a branch now; and then the power goes.
    fresh.crash();
    log.reset();
    log = DecisionLog::open(fresh, "slot", options);
    EXPECT_EQ(log->find(decision.id), decision) << "seed " << seed << ": a branch is committed without a decision";
  }
}

TEST_F(OpenedLog, rule_3_every_open_makes_a_segment_of_its_own) {
  const Decision decision = left_in_the_page_cache(disk, open());
  const std::string written = newest_path();
  const auto log = open();
  EXPECT_NE(newest_path(), written) << "what may be in the page cache only is never appended to";
  EXPECT_EQ(log->find(decision.id), decision);
}

TEST_F(OpenedLog, tells_in_each_segments_header_whose_it_is_and_where_it_goes_on) {
  std::uint64_t drawn = 100;
  options.random = [&] { return ++drawn; };
  options.now_ms = [&] { return static_cast<std::int64_t>(drawn * 1000); };
  auto log = open();
  const auto header = [&] {
    const log::HeaderReading reading = log::decode_header(disk.contents(newest_path()).substr(0, log::block_bytes));
    EXPECT_EQ(reading.fault, log::HeaderFault::none);
    return reading.header;
  };
  const auto identity = [&] { return disk.open(newest_path(), FileSystem::Open::read).value->identity().value; };
  const log::Header first = header();
  EXPECT_EQ(newest(), 1U);
  EXPECT_EQ(first.number, 1U);
  EXPECT_EQ(first.log, log->id());
  EXPECT_EQ(first.incarnation, Incarnation{101});
  EXPECT_EQ(first.log, LogId{102});
  EXPECT_EQ(first.segment, 103U);
  EXPECT_EQ(first.made_at_ms, 103'000);
  EXPECT_EQ(first.first_lsn, 1U);
  EXPECT_EQ(first.blocks * log::block_bytes, disk.contents(newest_path()).size());
  EXPECT_EQ(first.checkpoint_blocks, 0U);
  EXPECT_EQ(first.identity, identity());
  const Incarnation incarnation = log->begin_incarnation();
  EXPECT_EQ(incarnation, first.incarnation);
  std::optional<log::Begun> begun;
  log_dump(disk, "slot", [&](const DumpedRecord& record) { begun = std::get<log::Begun>(record.record); });
  ASSERT_TRUE(begun);
  EXPECT_EQ(begun->opened_under, first.identity);

  std::uint64_t last_lsn = 1;
  for (std::uint64_t i = 1; newest() == 1; ++i) {
    log_dump(disk, "slot", [&](const DumpedRecord& record) { last_lsn = record.lsn; });
    ASSERT_EQ(log->force(decision_of(*log, incarnation, i)), Forced::durable);
  }
  const log::Header second = header();
  EXPECT_EQ(newest(), 2U);
  EXPECT_EQ(second.number, 2U);
  EXPECT_EQ(second.log, first.log);
  EXPECT_EQ(second.incarnation, incarnation);
  EXPECT_EQ(second.segment, 104U);
  EXPECT_EQ(second.made_at_ms, 104'000);
  EXPECT_EQ(second.first_lsn, last_lsn + 1);
  EXPECT_GT(second.checkpoint_blocks, 10U);
  EXPECT_EQ(second.identity, identity());
  std::vector<std::uint64_t> lsns;
  log_dump(disk, "slot", [&](const DumpedRecord& record) { lsns.push_back(record.lsn); });
  EXPECT_EQ(lsns.front(), second.first_lsn);
  kill(log);
  log = open();
  EXPECT_EQ(newest(), 3U);
  EXPECT_EQ(header().first_lsn, lsns.back() + 1);
}

// A machine that was set back to a snapshot may draw the same numbers again.
TEST_F(OpenedLog, that_is_refused_is_not_flushed_when_its_incarnation_is_drawn_again) {
  options.random = [] { return std::uint64_t{7}; };
  auto log = open();
  const Decision decision = decision_of(*log, log->begin_incarnation(), 0);
  ASSERT_EQ(log->force(decision), Forced::durable);
  log->finish(decision.id);
  ASSERT_TRUE(log->flush());
  ASSERT_EQ(log->force(decision_of(*log, Incarnation{7}, 1)), Forced::durable);
  kill(log);
  const std::string written = disk.contents(newest_path());
  disk.flip_bit(newest_path(), written.find_last_not_of('\0'), 0);
  EXPECT_EQ(refusal().code(), ErrorCode::log_damaged);
}

TEST_F(OpenedLog, is_shown_without_the_control_characters_in_it) {
  auto log = open();
  log->note_person(decision_of(*log, log->begin_incarnation(), 1).id, "a\nb", "c\x1b[2J");
  std::string shown;
  log_dump(disk, "slot", [&](const DumpedRecord& record) { shown = record.text; });
  EXPECT_NE(shown.find("/a?b, "), std::string::npos) << shown;
  EXPECT_NE(shown.find("c?[2J"), std::string::npos) << shown;
}

TEST(OpenedNode, rule_9_no_descriptor_of_log_or_lock_is_left_to_a_program_that_is_executed) {
  std::string root = (std::filesystem::temp_directory_path() / "assent-exec-XXXXXX").string();
  ASSERT_NE(::mkdtemp(root.data()), nullptr);
  {
    const auto directory = NodeDirectory::open(FileSystem::real(), root + "/node", "bank");
    const auto slot = directory->claim();
    slot->log().begin_incarnation();
    std::size_t seen = 0;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code gone;
      const std::string target = std::filesystem::read_symlink(entry.path(), gone).string();
      if (gone || !target.starts_with(root)) continue;
      ++seen;
      const int flags = ::fcntl(std::stoi(entry.path().filename()), F_GETFD);
      EXPECT_NE(flags & FD_CLOEXEC, 0) << target;
    }
    EXPECT_GE(seen, 2U) << "the segment and the lock";
  }
  std::filesystem::remove_all(root);
}

}  // namespace
}  // namespace assent::test
