#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "assent/recovery/decision_log.h"
#include "assent/recovery/file_system.h"
#include "assent/recovery/log_format.h"
#include "assent/recovery/log_state.h"

/// Writing segments: making one, and appending to it. Not thread-safe.
namespace assent::log {

/// A file of zeros that are on disk, under a name that no reader looks at. A crash leaves garbage that the next open
/// removes.
struct Spare {
  std::unique_ptr<File> file;
  std::uint64_t blocks = 0;
};
/// On error nothing is left behind, and nothing of the log was touched.
Io<Spare> make_spare(FileSystem& files, const std::string& directory, std::uint64_t blocks);

/// A state as batches of records, for the beginning of a segment.
struct Checkpoint {
  std::vector<std::string> batches;
  std::uint64_t blocks = 0;
};
Checkpoint checkpoint_of(const State& state);

/// How large a segment must be that begins with so large a checkpoint: checkpoints stay at most half of all that is
/// written, and two of the largest records fit.
std::uint64_t least_blocks(std::uint64_t checkpoint_blocks);
/// How large it is made.
std::uint64_t blocks_wanted(std::uint64_t checkpoint_blocks, std::size_t segment_bytes);

/// The segment that is written now.
class Segment {
 public:
  /// Writes header and checkpoint into the spare, syncs it, gives it its name and syncs the directory. `header` needs
  /// log, number, segment, incarnation, first_lsn and made_at_ms. Without a segment: `named` tells whether a reader may
  /// now find the new one all the same.
  struct Begun {
    std::unique_ptr<Segment> segment;
    std::error_code error;
    bool named = false;
  };
  static Begun begin(FileSystem& files, const std::string& directory, Spare spare, Header header,
                     Checkpoint checkpoint);

  struct Appended {
    Forced forced = Forced::durable;
    std::error_code error;
    bool usable = true;  ///< false: nothing may be written behind it (rule 4)
  };
  /// One batch: one write, one sync. `records` (sealed in place) must fit room() and max_batch_room.
  Appended append(std::string& records);

  /// Bytes of records that still fit.
  std::size_t room() const { return static_cast<std::size_t>(header_.blocks - next_block_) * block_room; }
  std::uint64_t blocks() const { return header_.blocks; }
  std::uint64_t number() const { return header_.number; }
  std::uint64_t next_lsn() const { return next_lsn_; }
  std::uint64_t checkpoint_blocks() const { return header_.checkpoint_blocks; }
  const FileIdentity& identity() const { return header_.identity; }

 private:
  Segment(std::unique_ptr<File> file, Header header) : file_(std::move(file)), header_(std::move(header)) {}

  std::unique_ptr<File> file_;
  Header header_;
  std::uint64_t next_block_ = 1;
  std::uint64_t next_lsn_ = 0;
  std::string buffer_;
};

/// Throws Error{environment}: what could not be done, and what to do about it.
[[noreturn]] void refuse_environment(const std::string& what, std::error_code error);

}  // namespace assent::log
