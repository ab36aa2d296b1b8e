#include "assent/recovery/log_segment.h"

#include "assent/xa/error.h"
#include "assent/xa/planted_defect.h"

#include <algorithm>
#include <utility>

namespace assent::log {
namespace {

constexpr std::size_t zeros_at_once = std::size_t{1} << 20;

std::error_code write_all(File& file, std::uint64_t offset, std::string_view bytes) {
  return file.write(offset, bytes).error;
}

std::error_code write_zeros(File& file, std::uint64_t size) {
  const std::string zeros(std::min<std::uint64_t>(size, zeros_at_once), '\0');
  for (std::uint64_t at = 0; at < size; at += zeros.size()) {
    const auto count = std::min<std::uint64_t>(zeros.size(), size - at);
    if (const auto error = write_all(file, at, std::string_view(zeros).substr(0, count))) return error;
  }
  return {};
}

}  // namespace

Io<Spare> make_spare(FileSystem& files, const std::string& directory, std::uint64_t blocks) {
  if (blocks > max_segment_bytes / block_bytes) return {{}, std::make_error_code(std::errc::file_too_large)};
  const std::string path = directory + '/' + spare_name;
  auto file = files.open(path, FileSystem::Open::create_new);
  if (file.error == std::errc::file_exists) {
    if (const auto error = files.remove(path)) return {{}, error};
    file = files.open(path, FileSystem::Open::create_new);
  }
  if (!file) return {{}, file.error};
  const std::uint64_t size = blocks * block_bytes;
  std::error_code error = file.value->reserve(size);
  if (!error) error = write_zeros(*file.value, size);
  if (!error) error = file.value->sync_data();
  if (!error) file.value->bypass_cache();
  if (error) {
    // What cannot be removed now is removed when the next spare is made.
    static_cast<void>(files.remove(path));
    return {{}, error};
  }
  return {Spare{std::move(file.value), blocks}, {}};
}

Checkpoint checkpoint_of(const State& state) {
  Checkpoint out;
  std::string batch;
  const auto close = [&] {
    out.blocks += blocks_for(batch.size());
    out.batches.push_back(std::exchange(batch, {}));
  };
  state.checkpoint([&](const Record& record) {
    if (planted(Defect::decision_left_behind) && std::holds_alternative<Decision>(record)) return;
    append(batch, record);
    if (batch.size() > max_batch_room - max_record) close();
  });
  if (!batch.empty()) close();
  return out;
}

std::uint64_t least_blocks(std::uint64_t checkpoint_blocks) {
  return 1 + 2 * checkpoint_blocks + 2 * blocks_for(max_record);
}

std::uint64_t blocks_wanted(std::uint64_t checkpoint_blocks, std::size_t segment_bytes) {
  return std::max<std::uint64_t>(least_blocks(checkpoint_blocks), segment_bytes / block_bytes);
}

Segment::Begun Segment::begin(FileSystem& files, const std::string& directory, Spare spare, Header header,
                              Checkpoint checkpoint) {
  auto identity = spare.file->identity();
  if (!identity) return {nullptr, identity.error, false};
  header.identity = std::move(identity.value);
  header.blocks = spare.blocks;
  header.checkpoint_blocks = checkpoint.blocks;
  std::unique_ptr<Segment> segment(new Segment(std::move(spare.file), header));
  segment->next_lsn_ = header.first_lsn;
  const Seal seal{header.segment, header.incarnation};
  for (std::string& records : checkpoint.batches) {
    build_batch(segment->buffer_, records, seal, segment->next_lsn_, segment->next_block_);
    const auto error = write_all(*segment->file_, segment->next_block_ * block_bytes, segment->buffer_);
    if (error) return {nullptr, error, false};
    segment->next_block_ += segment->buffer_.size() / block_bytes;
    ++segment->next_lsn_;
  }
  if (const auto error = write_all(*segment->file_, 0, encode(header))) return {nullptr, error, false};
  if (const auto error = segment->file_->sync_data()) return {nullptr, error, false};
  // A crash up to here leaves the old segment as the log, and a file that no reader looks at.
  const std::string path = directory + '/' + segment_name(header.number);
  if (const auto error = files.rename(directory + '/' + spare_name, path)) return {nullptr, error, true};
  // A crash here leaves either name; both files say the same.
  if (const auto error = files.sync_directory(directory)) return {nullptr, error, true};
  // A crash from here on leaves the new segment, and perhaps the old one beside it.
  return {std::move(segment), {}, true};
}

Segment::Appended Segment::append(std::string& records) {
  build_batch(buffer_, records, {header_.segment, header_.incarnation}, next_lsn_, next_block_);
  const File::Written written = file_->write(next_block_ * block_bytes, buffer_);
  if (written.error) {
    if (written.bytes != 0) return {Forced::uncertain, written.error, false};
    // File systems that copy on write can be full even here. The place is as it was, and can be written later.
    return {Forced::refused, written.error, is_out_of_room(written.error)};
  }
  // A crash here leaves the batch whole, in part or not at all; nobody has been told anything.
  if (planted(Defect::acts_before_sync)) {
    next_block_ += buffer_.size() / block_bytes;
    ++next_lsn_;
    return {};
  }
  if (const auto error = file_->sync_data()) return {Forced::uncertain, error, false};
  next_block_ += buffer_.size() / block_bytes;
  ++next_lsn_;
  return {};
}

void refuse_environment(const std::string& what, std::error_code error) {
  std::string hint = "check the disk and the system's log";
  if (is_out_of_room(error)) {
    hint = "make room on the disk (opening the log needs a new segment beside the old one); nothing is lost";
  } else if (error == std::errc::permission_denied || error == std::errc::read_only_file_system) {
    hint = "give this user the right to write there";
  }
  throw Error(ErrorCode::environment, what + ": " + error.message(), hint);
}

}  // namespace assent::log
