#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "assent/recovery/file_system.h"
#include "assent/xa/xid.h"

/// The shape of a segment file. The whole story, with the grammar: docs/log_format.md. Pure; no I/O.
///
/// A segment is a row of blocks of 512 bytes: the header, then batches. A batch is what one write and one sync brought:
/// one or more whole blocks, so that no write ever touches the sector of an acknowledged batch. All blocks not yet
/// written are zeros that were synced before the segment was used. Hence three judgements over one block: blank (never
/// written), sound, or damaged; and over a damaged one a fourth, cut: its last byte, which is never zero in a written
/// block, did not come.
namespace assent::log {

constexpr std::size_t block_bytes = 512;
constexpr std::size_t block_head = 16;
constexpr std::size_t block_room = block_bytes - block_head - 8;
constexpr std::size_t max_batch_blocks = 512;
constexpr std::size_t max_batch_room = max_batch_blocks * block_room;
constexpr std::uint64_t max_segment_bytes = std::uint64_t{4} << 30;
constexpr std::uint32_t format_version = 1;

/// Block 0 of a segment.
struct Header {
  LogId log{};
  std::uint64_t number = 0;   ///< of the segment; the highest in the directory is the log
  std::uint64_t segment = 0;  ///< random
  Incarnation incarnation{};  ///< of the process that made the segment
  std::uint64_t first_lsn = 0;
  std::uint64_t blocks = 0;             ///< of the whole file, header included
  std::uint64_t checkpoint_blocks = 0;  ///< that follow the header; synced before the segment got its name
  std::int64_t made_at_ms = 0;
  FileIdentity identity;  ///< of this file, when it was made
};

/// Exactly block_bytes long.
std::string encode(const Header& header);

enum class HeaderFault { none, not_a_segment, newer_format, damaged };
struct HeaderReading {
  HeaderFault fault = HeaderFault::none;
  Header header;
};
HeaderReading decode_header(std::string_view block);

/// What goes into every checksum besides the contents, so that no bytes of another segment, another open of the log or
/// another place in it can pass for what was written here.
struct Seal {
  std::uint64_t segment = 0;
  Incarnation incarnation{};

  /// Of one block at its place in the file. Its last byte has two bits or more, so that its absence can be told.
  std::uint64_t of_block(std::string_view head_and_room, std::uint64_t lsn, std::uint64_t block) const;
  std::uint64_t of_record(std::string_view length_type_and_contents, std::uint64_t lsn) const;
};

/// The batch with this log sequence number, ready to be written at that block: seals the records in place, then cuts
/// them into blocks. `records` is at most max_batch_room long.
void build_batch(std::string& out, std::string& records, const Seal& seal, std::uint64_t lsn,
                 std::uint64_t first_block);

enum class BlockState { blank, sound, cut, damaged };
struct BlockReading {
  BlockState state = BlockState::blank;
  std::uint64_t lsn = 0;
  std::uint16_t index = 0;   ///< in its batch
  std::uint16_t blocks = 0;  ///< of its batch
  std::string_view room;     ///< of the given bytes
};
BlockReading read_block(std::string_view bytes, const Seal& seal, std::uint64_t block);

/// One block's share of a batch of that many record bytes.
constexpr std::size_t blocks_for(std::size_t record_bytes) {
  return (record_bytes + block_room - 1) / block_room;
}

/// "segment-0000000000000007"; nothing for any other name.
std::string segment_name(std::uint64_t number);
std::optional<std::uint64_t> segment_number(std::string_view name);
/// The one name under which a segment is made; without meaning to any reader.
constexpr const char* spare_name = "segment.new";

}  // namespace assent::log
