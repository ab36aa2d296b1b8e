#include "assent/recovery/log_reader.h"

#include <algorithm>

#include "assent/recovery/log_bytes.h"
#include "assent/xa/error.h"

namespace assent::log {
namespace {

/// Reads one segment from its file, a few blocks at a time.
///
/// At any time at most one batch is on its way to the disk, and it goes to where the sound batches end. So when block
/// `at` begins no sound batch, either all from there on is blank, or what is there is that one batch in part: every
/// block of it sound, cut or blank, none behind it, and at least one not whole. Everything else is damage: the writer
/// never leaves it, whatever moment it dies.
class SegmentScan {
 public:
  SegmentScan(File& file, SegmentReading& reading, const RecordSink& sink)
      : file_(file),
        reading_(reading),
        sink_(sink),
        seal_{reading.header.segment, reading.header.incarnation},
        blocks_(reading.header.blocks) {}

  /// Why the file could not be read to its end; what was found before that means nothing then.
  std::error_code run() {
    scan();
    return error_;
  }

 private:
  void scan() {
    std::uint64_t lsn = reading_.header.first_lsn;
    std::uint64_t at = 1;
    while (at < blocks_) {
      const std::uint64_t count = take_batch(at, lsn);
      if (count == 0) break;
      if (!read_records(at, lsn)) return;
      at += count;
      ++lsn;
    }
    reading_.next_lsn = lsn;
    if (at <= reading_.header.checkpoint_blocks) {
      // The checkpoint was synced before the segment got its name: no crash tears it.
      const std::uint64_t where = first_not_sound(at);
      return damage(where, "the checkpoint that the segment begins with is damaged");
    }
    judge_rest(at, lsn);
  }

  /// Its room is good until the next call. Blank where the file cannot be read.
  BlockReading read(std::uint64_t number) {
    if (number < first_ || number - first_ >= window_.size() / block_bytes) load(number);
    if (error_) return {};
    return read_block(std::string_view(window_).substr((number - first_) * block_bytes, block_bytes), seal_, number);
  }

  void load(std::uint64_t number) {
    if (error_) return;
    const std::uint64_t count = std::min(window_blocks, blocks_ - number);
    auto bytes = file_.read(number * block_bytes, static_cast<std::size_t>(count) * block_bytes);
    error_ = bytes.error;
    if (!error_ && bytes.value.size() != count * block_bytes) error_ = std::make_error_code(std::errc::io_error);
    first_ = number;
    window_ = std::move(bytes.value);
  }

  void damage(std::uint64_t number, std::string what) {
    reading_.damage = Fault{number * block_bytes, std::move(what)};
  }

  std::uint64_t first_not_sound(std::uint64_t at) {
    while (at + 1 < blocks_ && read(at).state == BlockState::sound) ++at;
    return at;
  }

  /// How many blocks the sound batch at this place has, and its records; 0 when there is none.
  std::uint64_t take_batch(std::uint64_t at, std::uint64_t lsn) {
    records_.clear();
    const BlockReading first = read(at);
    if (first.state != BlockState::sound || first.lsn != lsn || first.index != 0) return 0;
    if (first.blocks > blocks_ - at) return 0;
    records_ += first.room;
    for (std::uint16_t i = 1; i < first.blocks; ++i) {
      const BlockReading next = read(at + i);
      const bool fits = next.state == BlockState::sound && next.lsn == lsn && next.index == i;
      if (!fits || next.blocks != first.blocks) return 0;
      records_ += next.room;
    }
    return first.blocks;
  }

  bool read_records(std::uint64_t first, std::uint64_t lsn) {
    for (std::size_t at = 0; at < records_.size();) {
      const std::uint64_t offset = (first + at / block_room) * block_bytes + block_head + at % block_room;
      const std::size_t left = records_.size() - at;
      const std::size_t length = left < record_head ? 0 : get<std::uint32_t>(records_.data() + at);
      if (left < record_head || length > left - record_head || length > max_record - record_head) {
        reading_.damage = Fault{offset, "a record is longer than its batch"};
        return false;
      }
      const auto sum = get<std::uint64_t>(records_.data() + at + 8);
      put(records_.data() + at + 8, std::uint64_t{0});
      const std::string_view bytes = std::string_view(records_).substr(at, record_head + length);
      if (sum != seal_.of_record(bytes, lsn)) {
        reading_.damage = Fault{offset, "the checksum of a record is wrong"};
        return false;
      }
      auto record = decode(static_cast<std::uint8_t>(bytes[4]), bytes.substr(record_head));
      if (!record) {
        reading_.damage = Fault{offset, "a record has an unknown type or breaks a bound"};
        return false;
      }
      sink_({offset, lsn, std::move(*record)});
      at += record_head + length;
    }
    return true;
  }

  void judge_rest(std::uint64_t at, std::uint64_t lsn) {
    std::uint64_t behind = std::min<std::uint64_t>(at + max_batch_blocks, blocks_);
    std::uint16_t count = 0;
    bool any = false;
    for (std::uint64_t number = at; number < blocks_ && !error_; ++number) {
      const BlockReading reading = read(number);
      if (reading.state == BlockState::blank) continue;
      any = true;
      if (reading.state == BlockState::damaged) {
        return damage(number, "a block is damaged: it was written whole, and its checksum is wrong");
      }
      if (number >= behind)
        return damage(at, "the batch here is gone or damaged, though there is a later one behind it");
      if (reading.state == BlockState::cut) continue;
      if (reading.lsn != lsn)
        return damage(at, "the batch here is gone or damaged, though there is a later one behind it");
      const bool same_batch = reading.index == number - at && (count == 0 || count == reading.blocks);
      if (!same_batch || reading.blocks > blocks_ - at)
        return damage(number, "a block stands where it does not belong");
      count = reading.blocks;
      behind = at + count;
    }
    if (!any) return;
    // At least one block of it is not whole, or take_batch() would have taken it.
    reading_.torn = Fault{at * block_bytes, "the last batch is there in part; it was never acknowledged"};
  }

  static constexpr std::uint64_t window_blocks = 128;  // small enough to stay in a processor's cache

  File& file_;
  SegmentReading& reading_;
  const RecordSink& sink_;
  Seal seal_;
  std::uint64_t blocks_;
  std::uint64_t first_ = 0;  // block of the window
  std::string window_;
  std::error_code error_;
  std::string records_;  // of the batch that is being read
};

}  // namespace

Io<SegmentReading> read_segment(FileSystem& files, const std::string& path, std::uint64_t number,
                                const RecordSink& sink) {
  Io<SegmentReading> out;
  SegmentReading& reading = out.value;
  auto file = files.open(path, FileSystem::Open::read);
  if (!file) return {{}, file.error};
  auto identity = file.value->identity();
  const auto size = file.value->size();
  if (!identity || !size) return {{}, identity ? size.error : identity.error};
  reading.identity = std::move(identity.value);
  if (size.value > max_segment_bytes) {
    reading.damage = Fault{max_segment_bytes, "the file is larger than any segment"};
    return out;
  }
  const auto bytes = file.value->read(0, block_bytes);
  if (!bytes) return {{}, bytes.error};
  HeaderReading header = decode_header(bytes.value);
  if (header.fault != HeaderFault::none) {
    reading.newer_format = header.fault == HeaderFault::newer_format;
    reading.damage =
        Fault{0, header.fault == HeaderFault::not_a_segment ? "the file does not begin as a segment does"
                 : reading.newer_format ? "the segment is written in a format that this version does not know"
                                        : "the header is damaged"};
    return out;
  }
  reading.header = std::move(header.header);
  if (reading.header.number != number) {
    reading.damage = Fault{0, "the segment's number is not the one in the file's name"};
    return out;
  }
  const std::uint64_t expected = reading.header.blocks * block_bytes;
  if (size.value != expected) {
    reading.damage = Fault{
        std::min<std::uint64_t>(size.value, expected),
        "the file is " + std::to_string(size.value) + " bytes long, but was made with " + std::to_string(expected)};
    return out;
  }
  if (const auto error = SegmentScan(*file.value, reading, sink).run()) return {{}, error};
  return out;
}

Io<std::vector<std::uint64_t>> list_segments(FileSystem& files, const std::string& directory) {
  // Sorted by name, which has all digits, so by number too.
  const auto names = files.list(directory);
  if (!names) return {{}, names.error};
  Io<std::vector<std::uint64_t>> out;
  for (const std::string& name : names.value) {
    if (const auto number = segment_number(name)) out.value.push_back(*number);
  }
  return out;
}

Io<std::optional<LogId>> read_log_id(FileSystem& files, const std::string& directory) {
  const auto segments = list_segments(files, directory);
  if (!segments) return {std::nullopt, segments.error};
  if (segments.value.empty()) return {};
  auto file = files.open(directory + '/' + segment_name(segments.value.back()), FileSystem::Open::read);
  if (!file) return {std::nullopt, file.error};
  const auto block = file.value->read(0, block_bytes);
  if (!block) return {std::nullopt, block.error};
  const HeaderReading header = decode_header(block.value);
  if (header.fault != HeaderFault::none) return {std::nullopt, std::make_error_code(std::errc::illegal_byte_sequence)};
  return {header.header.log, {}};
}

}  // namespace assent::log

namespace assent {
namespace {

// A process that has the log open may rotate it away, or be in the middle of a write, while it is read.
constexpr int attempts = 5;

struct Look {
  std::vector<DumpedRecord> records;
  std::vector<LogFinding> findings;
  bool final = true;
};

Look look(FileSystem& files, const std::string& directory, bool keep) {
  const auto segments = log::list_segments(files, directory);
  if (!segments) {
    throw Error(ErrorCode::environment,
                "cannot list the log's directory " + directory + ": " + segments.error.message(),
                "check the path and the permissions");
  }
  if (segments.value.empty()) {
    throw Error(ErrorCode::environment, "there is no log in " + directory,
                "name a slot's directory, such as <node directory>/slot-0000");
  }
  const std::uint64_t newest = segments.value.back();
  const std::string path = directory + '/' + log::segment_name(newest);
  Look out;
  const auto reading = log::read_segment(files, path, newest, [&](log::ReadRecord read) {
    if (!keep) return;
    DumpedRecord record{path,
                        read.offset,
                        read.lsn,
                        std::string(log::name_of(read.record)),
                        log::text_of(read.record),
                        std::move(read.record)};
    out.records.push_back(std::move(record));
  });
  if (!reading) {
    if (reading.error == std::errc::no_such_file_or_directory) return {{}, {}, false};
    throw Error(ErrorCode::environment, "cannot read " + path + ": " + reading.error.message(),
                "check the disk and the permissions");
  }
  for (std::size_t i = 0; i + 1 < segments.value.size(); ++i) {
    out.findings.push_back({LogFinding::Kind::note, directory + '/' + log::segment_name(segments.value[i]), 0,
                            "an older segment, superseded; the next open removes it"});
  }
  if (reading.value.header.identity != reading.value.identity && !reading.value.damage) {
    out.findings.push_back(
        {LogFinding::Kind::note, path, 0,
         "the file is a copy: the log presumes no abort of earlier incarnations until it is adopted"});
  }
  if (reading.value.torn) {
    const log::Fault& torn = *reading.value.torn;
    out.findings.push_back({LogFinding::Kind::torn_tail, path, torn.offset, torn.what});
  }
  if (reading.value.damage) {
    const log::Fault& damage = *reading.value.damage;
    out.findings.push_back({LogFinding::Kind::damage, path, damage.offset, damage.what});
    out.final = false;
  }
  return out;
}

Look look_again(FileSystem& files, const std::string& directory, bool keep) {
  Look out;
  for (int attempt = 0; attempt < attempts; ++attempt) {
    out = look(files, directory, keep);
    if (out.final) break;
  }
  if (out.findings.empty() && !out.final) {
    throw Error(ErrorCode::environment, "the log in " + directory + " is replaced faster than it can be read",
                "try again");
  }
  return out;
}

}  // namespace

std::vector<LogFinding> log_dump(FileSystem& files, const std::string& directory,
                                 const std::function<void(const DumpedRecord&)>& sink) {
  Look found = look_again(files, directory, true);
  for (const DumpedRecord& record : found.records) sink(record);
  return std::move(found.findings);
}

std::vector<LogFinding> log_verify(FileSystem& files, const std::string& directory) {
  return look_again(files, directory, false).findings;
}

}  // namespace assent
