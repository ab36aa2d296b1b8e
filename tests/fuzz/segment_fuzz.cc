#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "assent/recovery/log_bytes.h"
#include "assent/recovery/log_format.h"
#include "assent/recovery/log_record.h"
#include "assent/tests/fuzz/fuzz.h"
#include "assent/tests/fuzz/log_checks.h"

// A segment file of any bytes: the reader keeps its promises whatever it reads. The first byte of the input says how
// much is put right before it is read, so that the fuzzer gets behind the checksums:
//   0  nothing
//   1  the header's fixed fields and its checksum, and the checksum of every block that is not blank
//   2  everything but the contents of records: the rest of the input is those

namespace {

namespace log = assent::log;
using assent::fuzz::check_segment;
using assent::fuzz::Judgement;
using assent::fuzz::require;
using assent::fuzz::Script;

constexpr std::uint64_t number = 7;
// docs/log_format.md
constexpr std::size_t number_at = 24;
constexpr std::size_t segment_at = 32;
constexpr std::size_t incarnation_at = 40;
constexpr std::size_t blocks_at = 56;
constexpr std::size_t sum_at = log::block_bytes - 8;

void put_checksums_right(std::string& bytes) {
  const std::size_t blocks = std::max<std::size_t>(2, bytes.size() / log::block_bytes);
  bytes.resize(blocks * log::block_bytes, '\0');
  bytes.replace(0, 16, log::encode({}), 0, 16);
  log::put(bytes.data() + number_at, number);
  log::put(bytes.data() + blocks_at, std::uint64_t{blocks});
  log::put(bytes.data() + sum_at, std::uint64_t{XXH3_64bits_withSeed(bytes.data(), sum_at, 0)});
  const log::Seal seal{log::get<std::uint64_t>(bytes.data() + segment_at),
                       assent::Incarnation{log::get<std::uint64_t>(bytes.data() + incarnation_at)}};
  for (std::size_t i = 1; i < blocks; ++i) {
    char* const block = bytes.data() + i * log::block_bytes;
    const std::string_view contents(block, sum_at);
    if (contents.find_first_not_of('\0') == std::string_view::npos) continue;
    log::put(block + sum_at, seal.of_block(contents, log::get<std::uint64_t>(block), i));
  }
}

void check_records(Script& script) {
  log::Header header;
  header.number = number;
  header.segment = 5;
  header.incarnation = assent::Incarnation{6};
  header.first_lsn = 1 + script.below(3);
  const std::size_t in_checkpoint = script.below(4);

  std::vector<std::string> batches(1);
  std::vector<std::string> sound;  // up to the first record that is none
  bool all_sound = true;
  while (!script.used_up()) {
    const std::size_t type = script.below(16);
    const std::size_t length = type == 15 ? 0 : script.below(1 << 16) % log::max_record;
    std::string& batch = batches.back();
    if (type == 15 || batch.size() + length + log::record_head > log::max_batch_room) {
      if (!batch.empty()) batches.emplace_back();
      continue;
    }
    const std::string contents = script.text(length);
    std::string record(log::record_head, '\0');
    log::put(record.data(), static_cast<std::uint32_t>(contents.size()));
    log::put(record.data() + 4, static_cast<std::uint8_t>(type));
    record += contents;
    batch += record;
    all_sound = all_sound && contents.size() <= log::max_record - log::record_head &&
                log::decode(static_cast<std::uint8_t>(type), contents).has_value();
    if (all_sound) sound.push_back(record);
  }
  if (batches.back().empty()) batches.pop_back();

  std::string blocks;
  std::string out;
  for (std::size_t i = 0; i < batches.size(); ++i) {
    const std::uint64_t first = 1 + blocks.size() / log::block_bytes;
    log::build_batch(out, batches[i], {header.segment, header.incarnation}, header.first_lsn + i, first);
    blocks += out;
    if (i < in_checkpoint) header.checkpoint_blocks = blocks.size() / log::block_bytes;
  }
  blocks.append(log::block_bytes, '\0');
  header.blocks = 1 + blocks.size() / log::block_bytes;
  const Judgement said = check_segment(log::encode(header) + blocks, number);
  require(said.damaged == !all_sound && !said.torn, "a log is damaged where a record is none, and only there");
  require(said.records == sound, "the records are read as they were written");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Script script(data, size);
  switch (script.below(3)) {
    case 0:
      check_segment(script.rest(), number);
      break;
    case 1: {
      std::string bytes = script.rest();
      put_checksums_right(bytes);
      check_segment(std::move(bytes), number);
      break;
    }
    default:
      check_records(script);
  }
  return 0;
}
