// Segments that no crash leaves and no writer makes, each with sound checksums: what the reader says of them.
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <gmock/gmock.h>
#include <unistd.h>

#include <bit>
#include <filesystem>
#include <fstream>

#include "assent/recovery/log_bytes.h"
#include "assent/recovery/log_record.h"
#include "assent/tests/unit/recovery/log_fixture.h"

namespace assent::test {
namespace {

/// A segment put together by hand, block by block.
class LogShape : public LogFixture {
 protected:
  LogShape() {
    header.log = LogId{1};
    header.number = 7;
    header.segment = 99;
    header.incarnation = Incarnation{5};
    header.first_lsn = 1;
    header.blocks = 16;
  }

  /// Records of so many blocks.
  static std::string records_of(std::size_t blocks) {
    std::string out;
    const TransactionId id{DeciderKind::log, LogId{1}, Incarnation{5}, 1};
    while (log::blocks_for(out.size()) < blocks) {
      log::append(out, log::PersonNote{0, id, "ledger", std::string(300, 'n')});
    }
    return out;
  }

  void batch(std::uint64_t at, std::uint64_t lsn, std::string records) {
    if (bytes.empty()) bytes = log::encode(header) + std::string((header.blocks - 1) * log::block_bytes, '\0');
    std::string out;
    log::build_batch(out, records, {header.segment, header.incarnation}, lsn, at);
    bytes.replace(at * log::block_bytes, out.size(), out);
    bytes.resize(header.blocks * log::block_bytes);
  }

  template <class Integer>
  void change(std::uint64_t at, std::size_t offset, Integer value) {
    char* block = bytes.data() + at * log::block_bytes;
    log::put(block + offset, value);
    const log::Seal seal{header.segment, header.incarnation};
    log::put(block + 504, seal.of_block({block, 504}, log::get<std::uint64_t>(block), at));
  }

  /// What the reader says is damaged: "block N: words", or "" when nothing is.
  std::string damage() {
    disk.set_contents("slot/" + log::segment_name(7), bytes);
    for (const LogFinding& finding : log_verify(disk, "slot")) {
      if (finding.kind == LogFinding::Kind::damage) {
        return std::to_string(finding.offset) + ": " + finding.what;
      }
    }
    return "";
  }

  bool torn() {
    for (const LogFinding& finding : log_verify(disk, "slot")) {
      if (finding.kind == LogFinding::Kind::torn_tail) return true;
    }
    return false;
  }

  log::Header header;
  std::string bytes;
};

const std::string gone = "512: the batch here is gone or damaged, though there is a later one behind it";

TEST_F(LogShape, is_sound_as_the_writer_makes_it) {
  batch(1, 1, records_of(2));
  batch(3, 2, records_of(1));
  EXPECT_EQ(damage(), "");
}

TEST_F(LogShape, with_a_batch_as_large_as_there_is_is_sound) {
  header.blocks = log::max_batch_blocks + 2;
  std::string records = records_of(log::max_batch_blocks);
  records.resize(log::whole_records(records, log::max_batch_room));
  ASSERT_EQ(log::blocks_for(records.size()), log::max_batch_blocks);
  batch(1, 1, records);
  batch(log::max_batch_blocks + 1, 2, records_of(1));
  EXPECT_EQ(damage(), "");
}

TEST_F(LogShape, names_a_segment_by_eight_bytes_in_hex_and_nothing_else) {
  EXPECT_EQ(log::segment_number(log::segment_name(7)), 7U);
  EXPECT_TRUE(log::segment_name(0xfedcba9876543210).ends_with("fedcba9876543210"));
  for (const char* other : {"segment-", "segment-07", "segment-00000000000000000007", "segment-000000000000000x",
                            "segments-0000000000000007", "0000000000000007"}) {
    EXPECT_FALSE(log::segment_number(other)) << other;
  }
}

TEST_F(LogShape, whose_header_breaks_a_bound_under_a_sound_checksum_is_refused) {
  const auto seal_header = [this] { log::put(bytes.data() + 504, XXH3_64bits_withSeed(bytes.data(), 504, 0)); };
  constexpr std::size_t checkpoint_at = 64;
  constexpr std::size_t machine_at = 80;
  batch(1, 1, records_of(2));
  seal_header();
  EXPECT_EQ(damage(), "") << "the test knows where the checksum stands";
  log::put(bytes.data() + machine_at, static_cast<std::uint16_t>(log::max_machine + 1));
  seal_header();
  EXPECT_THAT(damage(), ::testing::StartsWith("0: "));
  log::put(bytes.data() + machine_at, std::uint16_t{0});
  log::put(bytes.data() + checkpoint_at, header.blocks);
  seal_header();
  EXPECT_THAT(damage(), ::testing::StartsWith("0: "));
}

TEST_F(LogShape, with_a_damaged_checkpoint_is_refused_where_it_is_damaged) {
  header.checkpoint_blocks = 2;
  batch(1, 1, records_of(2));
  EXPECT_EQ(damage(), "");
  bytes.replace(1024, 512, 512, '\0');
  EXPECT_EQ(damage(), "1024: the checkpoint that the segment begins with is damaged");
  bytes.replace(512, 512, 512, '\0');
  EXPECT_EQ(damage(), "512: the checkpoint that the segment begins with is damaged");
  header.checkpoint_blocks = 15;
  bytes.clear();
  batch(1, 1, records_of(14));
  EXPECT_EQ(damage(), std::to_string(15 * 512) + ": the checkpoint that the segment begins with is damaged");
}

TEST_F(LogShape, with_a_record_that_its_own_checksum_denies_is_refused) {
  batch(1, 1, records_of(1));
  change(1, 16 + 8, std::uint64_t{12345});
  EXPECT_EQ(damage(), "528: the checksum of a record is wrong");
}

TEST_F(LogShape, with_a_record_of_an_unknown_type_is_refused_and_never_skipped) {
  std::string records = records_of(1);
  records[4] = 77;
  batch(1, 1, records);
  EXPECT_EQ(damage(), "528: a record has an unknown type or breaks a bound");
}

TEST_F(LogShape, with_a_record_longer_than_its_batch_is_refused) {
  batch(1, 1, records_of(1));
  const std::string sound = bytes;
  change(1, 16, std::uint32_t{481});
  EXPECT_EQ(damage(), "528: a record is longer than its batch");
  bytes = sound;
  const auto used = log::get<std::uint16_t>(bytes.data() + 512 + 12);
  change(1, 12, static_cast<std::uint16_t>(used + 5));
  EXPECT_EQ(damage(), std::to_string(528 + used) + ": a record is longer than its batch");
  header.blocks = 64;
  bytes.clear();
  std::string records(log::max_record + 1, '\0');
  log::put(records.data(), static_cast<std::uint32_t>(log::max_record + 1 - log::record_head));
  batch(1, 1, records);
  EXPECT_EQ(damage(), "528: a record is longer than its batch") << "longer than any record";
}

TEST_F(LogShape, with_a_batch_of_another_time_is_refused) {
  batch(1, 2, records_of(1));
  EXPECT_EQ(damage(), gone);
  bytes.clear();
  batch(1, 1, records_of(2));
  change(2, 0, std::uint64_t{2});
  EXPECT_EQ(damage(), gone);
}

TEST_F(LogShape, with_a_block_where_it_does_not_belong_is_refused) {
  const std::string what = ": a block stands where it does not belong";
  batch(1, 1, records_of(2));
  const std::string sound = bytes;
  change(1, 8, std::uint16_t{1});
  EXPECT_EQ(damage(), "512" + what) << "the second block first";
  bytes = sound;
  change(2, 8, std::uint16_t{0});
  EXPECT_EQ(damage(), "1024" + what) << "the first block twice";
  bytes = sound;
  change(2, 10, std::uint16_t{3});
  EXPECT_EQ(damage(), "1024" + what) << "blocks of two batches";
  header.blocks = 3;
  bytes.clear();
  batch(2, 2, records_of(1));
  batch(1, 1, records_of(2));
  EXPECT_EQ(damage(), "") << "the last block is used";
  change(1, 10, std::uint16_t{3});
  change(2, 10, std::uint16_t{3});
  EXPECT_EQ(damage(), "512" + what) << "a batch that ends behind the file";
}

TEST_F(LogShape, with_a_block_that_breaks_a_bound_is_refused) {
  const std::string what = "512: a block is damaged: it was written whole, and its checksum is wrong";
  batch(1, 1, records_of(1));
  const std::string sound = bytes;
  change(1, 12, std::uint16_t{0});
  EXPECT_EQ(damage(), what) << "nothing in it";
  bytes = sound;
  change(1, 12, static_cast<std::uint16_t>(log::block_room + 1));
  EXPECT_EQ(damage(), what) << "more in it than there is room for";
  bytes = sound;
  change(1, 8, std::uint16_t{1});
  EXPECT_EQ(damage(), what) << "the second of one";
  bytes = sound;
  change(1, 10, static_cast<std::uint16_t>(log::max_batch_blocks + 1));
  EXPECT_EQ(damage(), what) << "of more blocks than a batch may have";
}

TEST_F(LogShape, with_a_header_that_breaks_a_bound_is_refused) {
  const std::string what = "0: the header is damaged";
  header.blocks = log::max_segment_bytes / log::block_bytes;
  bytes = log::encode(header);
  EXPECT_NE(damage(), what) << "only too short a file";
  ++header.blocks;
  bytes = log::encode(header);
  EXPECT_EQ(damage(), what);
  header.blocks = 4;
  header.checkpoint_blocks = 4;
  bytes = log::encode(header);
  EXPECT_EQ(damage(), what);
  EXPECT_EQ(log::read_log_id(disk, "slot").error, std::make_error_code(std::errc::illegal_byte_sequence));
}

TEST_F(LogShape, of_a_newer_format_is_refused_with_the_way_on) {
  for (const std::size_t at : {std::size_t{8}, std::size_t{12}}) {  // the version, the size of a block
    batch(1, 1, records_of(1));
    log::put(bytes.data() + at, std::uint32_t{2});
    log::put(bytes.data() + 504, std::uint64_t{XXH3_64bits_withSeed(bytes.data(), 504, 0)});
    EXPECT_EQ(damage(), "0: the segment is written in a format that this version does not know");
    const Error error = refusal();
    EXPECT_EQ(error.code(), ErrorCode::log_damaged);
    EXPECT_NE(error.hint().find("newer version of Assent"), std::string::npos) << error.hint();
    bytes.clear();
  }
}

TEST_F(LogShape, that_is_no_segment_is_refused) {
  bytes = std::string(4096, 'x');
  EXPECT_EQ(damage(), "0: the file does not begin as a segment does");
  bytes = "ASNTLOG\n";
  EXPECT_EQ(damage(), "0: the file does not begin as a segment does");
}

TEST_F(LogShape, of_a_file_larger_than_any_segment_is_refused_unread) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / ("assent-large-" + std::to_string(::getpid()));
  std::ofstream(file).put('x');
  const auto refusal = [&](std::uint64_t size) {
    std::filesystem::resize_file(file, size);  // of holes
    const auto reading = log::read_segment(FileSystem::real(), file.string(), 7, [](const log::ReadRecord&) {});
    return reading && reading.value.damage ? reading.value.damage->what : "none";
  };
  EXPECT_EQ(refusal(log::max_segment_bytes + 1), "the file is larger than any segment");
  EXPECT_EQ(refusal(log::max_segment_bytes), "the file does not begin as a segment does");
  std::filesystem::remove(file);
}

TEST_F(LogShape, whose_checkpoint_reaches_the_end_is_judged_to_its_last_block) {
  header.blocks = 4;
  header.checkpoint_blocks = 3;
  batch(1, 1, records_of(3));
  ASSERT_EQ(damage(), "");
  bytes[3 * log::block_bytes + 100] ^= 1;
  EXPECT_EQ(damage(), "1536: the checkpoint that the segment begins with is damaged");
}

TEST_F(LogShape, in_which_one_last_byte_stands_alone_is_damaged) {
  batch(1, 1, records_of(2));
  bytes[4 * log::block_bytes + log::block_bytes - 1] = '\x81';
  EXPECT_EQ(damage(), "2048: a block is damaged: it was written whole, and its checksum is wrong");
}

TEST(LogFormat, the_checksums_are_what_they_were_when_the_format_was_fixed) {
  const std::string contents(504, 'x');
  std::uint64_t all = 0;
  std::uint64_t bits = 0;  // in a product the highest bit of two sums is lost
  for (std::uint64_t block = 0; block < 1000; ++block) {
    const std::uint64_t sum = log::Seal{1, Incarnation{2}}.of_block(contents, 3, block);
    EXPECT_GE(std::popcount(sum >> 56), 2) << "one flipped bit would make it look cut";
    all = all * 31 + sum;
    bits = std::rotl(bits, 5) ^ sum;
  }
  EXPECT_EQ(all, 14302048414116801227U);
  EXPECT_EQ(bits, 7203228889705013140U);
  EXPECT_EQ((log::Seal{1, Incarnation{2}}.of_record(contents, 3)), 15085386128235479188U);
}

TEST_F(LogShape, in_which_two_bytes_take_turns_is_not_blank) {
  batch(1, 1, records_of(2));
  for (std::size_t i = 4 * log::block_bytes + 1; i < 5 * log::block_bytes; i += 2) bytes[i] = 'x';
  EXPECT_EQ(damage(), "2048: a block is damaged: it was written whole, and its checksum is wrong");
}

TEST_F(LogShape, with_a_cut_batch_is_torn_up_to_its_last_block_and_damaged_right_behind_it) {
  batch(1, 1, records_of(2));
  bytes.replace(2 * log::block_bytes, log::block_bytes, log::block_bytes, '\0');
  EXPECT_EQ(damage(), "");
  EXPECT_TRUE(torn());
  bytes[3 * log::block_bytes] = 'x';
  EXPECT_EQ(damage(), gone) << "one batch at a time is on its way to the disk, and this one has two blocks";
  header.blocks = 3;
  bytes.clear();
  batch(1, 1, records_of(2));
  bytes.replace(2 * log::block_bytes, log::block_bytes, log::block_bytes, '\0');
  EXPECT_EQ(damage(), "") << "to the end of the segment";
  EXPECT_TRUE(torn());
}

TEST_F(LogShape, with_a_cut_batch_longer_than_what_is_read_at_once_is_torn) {
  header.blocks = 400;
  batch(1, 1, records_of(300));
  bytes.replace(290 * log::block_bytes, log::block_bytes, log::block_bytes, '\0');
  EXPECT_EQ(damage(), "");
  EXPECT_TRUE(torn());
  bytes[301 * log::block_bytes] = 'x';
  EXPECT_EQ(damage(), gone);
}

TEST_F(LogShape, with_a_head_of_a_record_at_its_very_end_is_damaged) {
  std::string records = records_of(1);
  const std::size_t sound = records.size();
  records.append(log::record_head, '\0');
  log::put(records.data() + sound, std::uint32_t{1});
  ASSERT_EQ(log::blocks_for(records.size()), 1U);
  batch(1, 1, records);
  EXPECT_EQ(damage(), std::to_string(528 + sound) + ": a record is longer than its batch");
}

TEST_F(LogShape, with_a_flipped_bit_in_its_header_is_refused_as_that) {
  batch(1, 1, records_of(1));
  bytes[20] ^= 1;
  EXPECT_EQ(damage(), "0: the header is damaged");
}

TEST_F(LogShape, whose_checkpoint_is_another_batch_is_refused_at_its_last_block) {
  header.blocks = 4;
  header.checkpoint_blocks = 3;
  batch(1, 2, records_of(3));
  EXPECT_EQ(damage(), "1536: the checkpoint that the segment begins with is damaged");
}

/// How often the file system is called to look a segment over.
class LogReading : public LogShape {
 protected:
  std::uint64_t calls() {
    damage();
    const std::uint64_t before = disk.calls();
    log_verify(disk, "slot");
    return disk.calls() - before;
  }
};

TEST_F(LogReading, looks_at_each_part_of_a_sound_segment_once) {
  header.blocks = 128;
  batch(1, 1, records_of(1));
  EXPECT_EQ(calls(), 6U) << "list, open, identity, size, header, the rest in one";
  bytes.replace(log::block_bytes, log::block_bytes, log::block_bytes, '\0');
  EXPECT_EQ(calls(), 6U) << "blank";
  header.blocks = 1 + 3 * 128;
  bytes.clear();
  batch(1, 1, records_of(200));
  batch(201, 2, records_of(184));
  EXPECT_EQ(calls(), 8U) << "full: the rest in three";
}

TEST_F(LogReading, a_file_that_shrinks_meanwhile_is_an_error_of_the_file) {
  batch(1, 1, records_of(1));
  ASSERT_EQ(damage(), "");
  int reads = 0;
  disk.on_read([&] {
    if (++reads == 2) disk.set_contents("slot/" + log::segment_name(7), bytes.substr(0, 1000));
  });
  try {
    log_verify(disk, "slot");
    ADD_FAILURE() << "it was read";
  } catch (const Error& error) {
    EXPECT_EQ(error.what(),
              "cannot read slot/" + log::segment_name(7) + ": " + std::make_error_code(std::errc::io_error).message());
  }
}

TEST_F(LogReading, an_error_of_the_file_is_told_as_the_file_told_it) {
  batch(1, 1, records_of(1));
  ASSERT_EQ(damage(), "");
  disk.fail_call(6, std::errc::permission_denied);
  try {
    log_verify(disk, "slot");
    ADD_FAILURE() << "it was read";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(std::make_error_code(std::errc::permission_denied).message()),
              std::string::npos)
        << error.what();
  }
}

TEST_F(LogReading, what_looks_damaged_while_it_is_written_is_looked_at_again) {
  batch(1, 1, records_of(1));
  const std::string sound = bytes;
  bytes[600] ^= 1;
  ASSERT_NE(damage(), "");
  int reads = 0;
  disk.on_read([&] {
    if (++reads == 3) disk.set_contents("slot/" + log::segment_name(7), sound);
  });
  for (const LogFinding& finding : log_verify(disk, "slot")) EXPECT_NE(finding.kind, LogFinding::Kind::damage);
  EXPECT_GE(reads, 4);
}

TEST_F(LogShape, superseded_is_a_note_and_a_copy_is_one) {
  batch(1, 1, records_of(1));
  disk.set_contents("slot/" + log::segment_name(6), bytes);
  ASSERT_EQ(damage(), "");
  const auto findings = log_verify(disk, "slot");
  ASSERT_EQ(findings.size(), 2U);
  EXPECT_EQ(findings[0].file, "slot/" + log::segment_name(6));
  EXPECT_EQ(findings[0].what, "an older segment, superseded; the next open removes it");
  EXPECT_EQ(findings[0].kind, LogFinding::Kind::note);
  EXPECT_EQ(findings[1].file, "slot/" + log::segment_name(7));
  EXPECT_EQ(findings[1].kind, LogFinding::Kind::note);
}

TEST_F(LogShape, that_cannot_be_listed_found_or_read_is_said_so) {
  const auto words = [&](const std::string& directory) -> std::string {
    try {
      log_verify(disk, directory);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::environment);
      return error.what();
    }
    return "";
  };
  EXPECT_NE(words("slot").find("there is no log in slot"), std::string::npos) << words("slot");
  EXPECT_NE(words("nowhere").find("cannot list the log's directory nowhere"), std::string::npos) << words("nowhere");
  batch(1, 1, records_of(1));
  ASSERT_EQ(damage(), "");
  disk.fail_call(2);
  EXPECT_NE(words("slot").find("cannot read slot/segment-0000000000000007"), std::string::npos);
  disk.fail_call(2, std::errc::no_such_file_or_directory);
  EXPECT_EQ(words("slot"), "") << "rotated away: read again";
}

}  // namespace
}  // namespace assent::test
