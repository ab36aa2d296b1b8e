#include <vector>

#include "assent/recovery/log_format.h"
#include "assent/tests/unit/recovery/log_fixture.h"

namespace assent::test {
namespace {

/// A log with three acknowledged decisions and one more batch, the last, of several blocks.
class TornLog : public LogFixture {
 protected:
  TornLog() {
    options.segment_bytes = 40 << 10;
    auto log = open();
    const Incarnation incarnation = log->begin_incarnation();
    for (std::uint64_t i = 1; i <= 3; ++i) {
      acknowledged.push_back(decision_of(*log, incarnation, i));
      EXPECT_EQ(log->force(acknowledged.back()), Forced::durable);
    }
    path = newest_path();
    before = disk.contents(path);
    last = decision_of(*log, incarnation, 4, std::string(250, 'x'));
    last.branches.assign(5, {"ledger", std::string(128, 'e')});
    EXPECT_EQ(log->force(last), Forced::durable);
    after = disk.contents(path);
    kill(log);
    begin = before.find_last_not_of('\0') / log::block_bytes * log::block_bytes + log::block_bytes;
    end = after.find_last_not_of('\0') + 1;
    EXPECT_GT(end - begin, 2 * log::block_bytes);
  }

  void expect_acknowledged(const DecisionLog& log) {
    for (const Decision& decision : acknowledged) EXPECT_EQ(log.find(decision.id), decision);
  }

  /// Brings the disk back to one segment with these bytes, and opens it.
  std::unique_ptr<DecisionLog> open_with(const std::string& bytes) {
    reset(bytes);
    return open();
  }
  void reset(const std::string& bytes) {
    for (const std::uint64_t number : log::list_segments(disk, "slot").value) {
      if ("slot/" + log::segment_name(number) != path) {
        EXPECT_FALSE(disk.remove("slot/" + log::segment_name(number)));
      }
    }
    disk.set_contents(path, bytes);
  }

  std::vector<Decision> acknowledged;
  Decision last;
  std::string path;
  std::string before;
  std::string after;
  std::size_t begin = 0;  // of the last batch
  std::size_t end = 0;
};

TEST_F(TornLog, opens_whichever_byte_the_last_batch_was_torn_at) {
  for (std::size_t cut = begin; cut <= end; ++cut) {
    std::string bytes = after;
    std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(cut), bytes.end(), '\0');
    const auto log = open_with(bytes);
    expect_acknowledged(*log);
    const bool clean = bytes == before || bytes == after;
    EXPECT_EQ(log->repaired().empty(), clean) << "cut at " << cut - begin << ": " << log->repaired();
    if (!clean) {
      EXPECT_NE(log->repaired().find("byte " + std::to_string(begin)), std::string::npos) << log->repaired();
    }
    EXPECT_EQ(log->find(last.id).has_value(), cut == end) << "cut at " << cut - begin;
  }
}

TEST_F(TornLog, opens_whichever_blocks_of_the_last_batch_are_missing) {
  const std::size_t blocks = (end - begin) / log::block_bytes;
  ASSERT_LE(blocks, 8u);
  for (unsigned present = 0; present + 1 < 1u << blocks; ++present) {
    std::string bytes = after;
    for (std::size_t i = 0; i < blocks; ++i) {
      if ((present >> i & 1) == 0)
        bytes.replace(begin + i * log::block_bytes, log::block_bytes, log::block_bytes, '\0');
    }
    const auto log = open_with(bytes);
    expect_acknowledged(*log);
    EXPECT_EQ(log->repaired().empty(), present == 0);
    EXPECT_FALSE(log->find(last.id).has_value());
  }
}

TEST_F(TornLog, what_was_dropped_stays_dropped) {
  std::string bytes = after;
  bytes.replace(begin + log::block_bytes, log::block_bytes, log::block_bytes, '\0');
  auto log = open_with(bytes);
  EXPECT_NE(log->repaired(), "");
  kill(log);
  log = open();
  EXPECT_EQ(log->repaired(), "");
  expect_acknowledged(*log);
}

// The header and every whole batch, the last acknowledged one too: a batch that came whole is told from one that was
// cut.
TEST_F(TornLog, refuses_one_flipped_bit_anywhere_in_what_was_written) {
  for (std::size_t byte = 0; byte < end; ++byte) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string bytes = after;
      bytes[byte] = static_cast<char>(bytes[byte] ^ (1 << bit));
      disk.set_contents(path, std::move(bytes));
      const auto findings = log_verify(disk, "slot");
      ASSERT_FALSE(findings.empty()) << "byte " << byte << ", bit " << bit;
      EXPECT_EQ(findings.back().kind, LogFinding::Kind::damage) << "byte " << byte << ", bit " << bit;
      EXPECT_EQ(findings.back().file, path);
      EXPECT_LE(findings.back().offset, byte);
    }
  }
}

TEST_F(TornLog, refuses_damage_before_the_last_batch_with_file_and_offset_and_changes_nothing) {
  std::string bytes = after;
  bytes[begin - log::block_bytes + 40] ^= 1;
  disk.set_contents(path, bytes);
  const Error error = refusal();
  EXPECT_EQ(error.code(), ErrorCode::log_damaged);
  EXPECT_NE(std::string(error.what()).find(path + ", byte " + std::to_string(begin - log::block_bytes)),
            std::string::npos)
      << error.what();
  EXPECT_FALSE(error.hint().empty());
  EXPECT_EQ(disk.contents(path), bytes);
  EXPECT_EQ(newest_path(), path);
}

TEST_F(TornLog, refuses_a_batch_before_the_last_that_is_gone_without_a_trace) {
  std::string bytes = after;
  bytes.replace(begin - log::block_bytes, log::block_bytes, log::block_bytes, '\0');
  disk.set_contents(path, bytes);
  EXPECT_EQ(refusal().code(), ErrorCode::log_damaged);
}

TEST_F(TornLog, refuses_stale_bytes_behind_the_last_batch) {
  std::string bytes = after;
  bytes.replace(end + log::block_bytes, log::block_bytes, after, begin, log::block_bytes);
  disk.set_contents(path, bytes);
  EXPECT_EQ(refusal().code(), ErrorCode::log_damaged);
}

TEST_F(TornLog, refuses_bytes_farther_behind_than_any_batch_reaches) {
  options.segment_bytes = 1 << 20;
  auto log = open();
  kill(log);
  std::string bytes = disk.contents(newest_path());
  bytes[bytes.size() - log::block_bytes] = 'x';
  disk.set_contents(newest_path(), bytes);
  EXPECT_EQ(refusal().code(), ErrorCode::log_damaged);
}

TEST_F(TornLog, refuses_a_file_that_lost_or_gained_bytes) {
  disk.set_contents(path, after.substr(0, after.size() - 1));
  EXPECT_EQ(refusal().code(), ErrorCode::log_damaged);
  disk.set_contents(path, after + '\0');
  EXPECT_EQ(refusal().code(), ErrorCode::log_damaged);
  disk.set_contents(path, "");
  EXPECT_EQ(refusal().code(), ErrorCode::log_damaged);
}

TEST_F(TornLog, refuses_a_segment_under_another_number) {
  disk.set_contents("slot/" + log::segment_name(99), after);
  EXPECT_EQ(refusal().code(), ErrorCode::log_damaged);
}

TEST_F(TornLog, never_takes_the_bytes_of_another_segment) {
  auto other = open();
  kill(other);
  const std::string foreign = newest_path();
  std::string bytes = disk.contents(foreign);
  // A batch of the old segment, whole and with a fitting number, where the new one ends.
  const std::size_t where = (bytes.find_last_not_of('\0') / log::block_bytes + 1) * log::block_bytes;
  bytes.replace(where, log::block_bytes, after, begin - log::block_bytes, log::block_bytes);
  disk.set_contents(foreign, bytes);
  EXPECT_EQ(refusal().code(), ErrorCode::log_damaged);
}

TEST_F(TornLog, verify_and_dump_work_while_the_log_is_open) {
  auto log = open_with(after);
  EXPECT_TRUE(log_verify(disk, "slot").empty());
  int decisions = 0;
  log_dump(disk, "slot", [&](const DumpedRecord& record) { decisions += record.type == "decision" ? 1 : 0; });
  EXPECT_EQ(decisions, 4);
}

TEST_F(TornLog, verify_names_a_torn_tail) {
  std::string bytes = after;
  bytes.replace(end - log::block_bytes, log::block_bytes, log::block_bytes, '\0');
  reset(bytes);
  const auto findings = log_verify(disk, "slot");
  ASSERT_EQ(findings.size(), 1u);
  EXPECT_EQ(findings[0].kind, LogFinding::Kind::torn_tail);
  EXPECT_EQ(findings[0].offset, begin);
}

}  // namespace
}  // namespace assent::test
