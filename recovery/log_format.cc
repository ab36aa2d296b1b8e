#include "assent/recovery/log_format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "assent/recovery/log_bytes.h"
#include "assent/recovery/log_record.h"

namespace assent::log {
namespace {

constexpr char magic[8] = {'A', 'S', 'N', 'T', 'L', 'O', 'G', '\n'};
constexpr std::string_view name_stem = "segment-";
constexpr std::size_t sum_at = block_bytes - 8;
// The checksum of a record stands behind its length (4 bytes), type (1) and 3 zeros.
constexpr std::size_t record_sum_at = 8;

std::uint64_t hash(std::string_view bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(bytes.data(), bytes.size(), seed);
}

std::uint64_t seed_of(std::uint64_t segment, std::uint64_t incarnation, std::uint64_t lsn, std::uint64_t block) {
  char bytes[32];
  put(bytes, segment);
  put(bytes + 8, incarnation);
  put(bytes + 16, lsn);
  put(bytes + 24, block);
  return XXH3_64bits(bytes, sizeof bytes);
}

constexpr std::uint64_t nowhere = ~std::uint64_t{0};

}  // namespace

std::string encode(const Header& header) {
  std::string out(magic, sizeof magic);
  put(out, format_version);
  put(out, static_cast<std::uint32_t>(block_bytes));
  put(out, static_cast<std::uint64_t>(header.log));
  put(out, header.number);
  put(out, header.segment);
  put(out, static_cast<std::uint64_t>(header.incarnation));
  put(out, header.first_lsn);
  put(out, header.blocks);
  put(out, header.checkpoint_blocks);
  put(out, header.made_at_ms);
  put_text(out, std::string_view(header.identity.machine).substr(0, max_machine));
  put(out, header.identity.device);
  put(out, header.identity.inode);
  put(out, header.identity.born_ns);
  out.resize(sum_at, '\0');
  put(out, hash(out, 0));
  return out;
}

HeaderReading decode_header(std::string_view block) {
  if (block.size() < block_bytes || std::memcmp(block.data(), magic, sizeof magic) != 0) {
    return {HeaderFault::not_a_segment, {}};
  }
  if (get<std::uint64_t>(block.data() + sum_at) != hash(block.substr(0, sum_at), 0)) return {HeaderFault::damaged, {}};
  Cursor in(block.substr(sizeof magic, sum_at - sizeof magic));
  if (in.number<std::uint32_t>() != format_version || in.number<std::uint32_t>() != block_bytes) {
    return {HeaderFault::newer_format, {}};
  }
  Header header;
  header.log = LogId{in.number<std::uint64_t>()};
  header.number = in.number<std::uint64_t>();
  header.segment = in.number<std::uint64_t>();
  header.incarnation = Incarnation{in.number<std::uint64_t>()};
  header.first_lsn = in.number<std::uint64_t>();
  header.blocks = in.number<std::uint64_t>();
  header.checkpoint_blocks = in.number<std::uint64_t>();
  header.made_at_ms = in.number<std::int64_t>();
  header.identity.machine = in.text(max_machine);
  header.identity.device = in.number<std::uint64_t>();
  header.identity.inode = in.number<std::uint64_t>();
  header.identity.born_ns = in.number<std::int64_t>();
  const bool sized = header.blocks <= max_segment_bytes / block_bytes && header.checkpoint_blocks < header.blocks;
  if (in.broken() || !sized) return {HeaderFault::damaged, {}};
  return {HeaderFault::none, std::move(header)};
}

std::uint64_t Seal::of_block(std::string_view head_and_room, std::uint64_t lsn, std::uint64_t block) const {
  const auto sum = hash(head_and_room, seed_of(segment, static_cast<std::uint64_t>(incarnation), lsn, block));
  // Two bits at least in the last byte, so that one flipped bit cannot make a written block look cut.
  return std::popcount(sum >> 56) >= 2 ? sum : sum | std::uint64_t{0x81} << 56;
}

std::uint64_t Seal::of_record(std::string_view length_type_and_contents, std::uint64_t lsn) const {
  return hash(length_type_and_contents, seed_of(segment, static_cast<std::uint64_t>(incarnation), lsn, nowhere));
}

void build_batch(std::string& out, std::string& records, const Seal& seal, std::uint64_t lsn,
                 std::uint64_t first_block) {
  for (std::size_t at = 0; at < records.size();) {
    const std::size_t length = record_head + get<std::uint32_t>(records.data() + at);
    put(records.data() + at + record_sum_at, seal.of_record(std::string_view(records).substr(at, length), lsn));
    at += length;
  }
  const std::size_t blocks = blocks_for(records.size());
  out.assign(blocks * block_bytes, '\0');
  for (std::size_t i = 0; i < blocks; ++i) {
    char* block = out.data() + i * block_bytes;
    const std::size_t from = i * block_room;
    const std::size_t used = std::min(block_room, records.size() - from);
    put(block, lsn);
    put(block + 8, static_cast<std::uint16_t>(i));
    put(block + 10, static_cast<std::uint16_t>(blocks));
    put(block + 12, static_cast<std::uint16_t>(used));
    records.copy(block + block_head, used, from);
    put(block + sum_at, seal.of_block({block, sum_at}, lsn, first_block + i));
  }
}

BlockReading read_block(std::string_view bytes, const Seal& seal, std::uint64_t block) {
  // Most of a segment is blank, and memcmp() looks at many bytes at once.
  if (bytes[0] == '\0' && std::memcmp(bytes.data(), bytes.data() + 1, bytes.size() - 1) == 0) return {};
  BlockReading reading;
  if (bytes[block_bytes - 1] == '\0') {
    reading.state = BlockState::cut;
    return reading;
  }
  reading.state = BlockState::damaged;
  const auto lsn = get<std::uint64_t>(bytes.data());
  if (get<std::uint64_t>(bytes.data() + sum_at) != seal.of_block(bytes.substr(0, sum_at), lsn, block)) return reading;
  const auto index = get<std::uint16_t>(bytes.data() + 8);
  const auto blocks = get<std::uint16_t>(bytes.data() + 10);
  const auto used = get<std::uint16_t>(bytes.data() + 12);
  if (index >= blocks || blocks > max_batch_blocks || used == 0 || used > block_room) return reading;
  reading.state = BlockState::sound;
  reading.lsn = lsn;
  reading.index = index;
  reading.blocks = blocks;
  reading.room = bytes.substr(block_head, used);
  return reading;
}

std::string segment_name(std::uint64_t number) {
  return std::string(name_stem) + to_hex64(number);
}

std::optional<std::uint64_t> segment_number(std::string_view name) {
  if (!name.starts_with(name_stem)) return std::nullopt;
  return from_hex64(name.substr(name_stem.size()));
}

}  // namespace assent::log
