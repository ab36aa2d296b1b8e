#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "assent/recovery/log_bytes.h"
#include "assent/recovery/log_format.h"
#include "assent/recovery/log_reader.h"
#include "assent/tests/fuzz/fuzz.h"
#include "assent/tests/fuzz/log_checks.h"
#include "assent/xa/branch.h"

// A sound log, written as the input says, then damaged as the input says: no decision is ever skipped. What opening
// must say follows from the sound bytes and the damaged ones alone (docs/log_format.md, "What is torn, and what is
// damaged"), without a checksum.

namespace {

namespace log = assent::log;
using assent::Decision;
using assent::DecisionLog;
using assent::fuzz::check_log;
using assent::fuzz::Judgement;
using assent::fuzz::require;
using assent::fuzz::Script;
using assent::fuzz::slot;
using assent::test::FakeFileSystem;

constexpr std::size_t most_steps = 40;
constexpr std::size_t most_damages = 6;

/// A program's use of a log, from the first open to its death.
class Writer {
 public:
  Writer(FakeFileSystem& disk, Script& script) : disk_(disk), script_(script) {
    require(!disk_.make_directory(slot) && !disk_.sync_directory(""), "the disk takes a directory");
    open();
    for (std::size_t i = 0; i < most_steps && step(); ++i) continue;
    disk_.kill();
  }

  /// The segment before the last one that was opened; empty when there was none.
  const std::string& stale() const { return stale_; }

 private:
  void open() {
    log_.reset();
    log_ = DecisionLog::open(disk_, slot, options_);
    incarnation_ = log_->begin_incarnation();
    sequence_ = 0;
  }

  bool step() {
    switch (script_.below(9)) {
      case 0:
        return false;
      case 1:
        force(1 + script_.below(3), script_.below(20));
        break;
      case 2:
        force(1 + script_.below(Decision::max_branches), assent::Branch::max_evidence);
        break;
      case 3:
        if (const auto open = log_->unfinished(); !open.empty()) log_->finish(open.begin()->first);
        break;
      case 4:
        log_->flush();
        break;
      case 5:
        log_->note_resource({"r" + std::to_string(script_.below(3)), {"system", script_.text(script_.below(30))}});
        break;
      case 6:
        log_->note_person({}, "shop", script_.text(script_.below(30)));
        break;
      case 7:
        if (const auto open = log_->unfinished(); !open.empty()) log_->forget(open.begin()->first);
        break;
      default: {
        const auto segments = log::list_segments(disk_, slot);
        stale_ = disk_.contents(std::string(slot) + '/' + log::segment_name(segments.value.back()));
        if (script_.below(2) != 0) disk_.kill();
        open();
      }
    }
    return true;
  }

  void force(std::size_t branches, std::size_t evidence) {
    Decision decision{{assent::DeciderKind::log, log_->id(), incarnation_, ++sequence_}, script_.text(3), 1, {}};
    decision.branches.assign(branches, {"ledger", std::string(evidence, 'e')});
    require(log_->force(decision) == assent::Forced::durable, "a disk without fault takes a decision");
  }

  FakeFileSystem& disk_;
  Script& script_;
  assent::LogOptions options_ = assent::fuzz::log_options(1);
  std::unique_ptr<DecisionLog> log_;
  assent::Incarnation incarnation_{};
  std::uint64_t sequence_ = 0;
  std::string stale_;
};

std::string_view block_of(const std::string& bytes, std::size_t block) {
  return std::string_view(bytes).substr(block * log::block_bytes, log::block_bytes);
}

bool is_blank(std::string_view block) {
  return block.find_first_not_of('\0') == std::string_view::npos;
}

/// Where the batches of a sound segment stand.
struct Batch {
  std::size_t first = 0;
  std::size_t behind = 0;
};
std::vector<Batch> batches_of(const std::string& sound) {
  std::vector<Batch> out;
  for (std::size_t at = 1; at * log::block_bytes < sound.size() && !is_blank(block_of(sound, at));) {
    const std::size_t count = log::get<std::uint16_t>(block_of(sound, at).data() + 10);
    out.push_back({at, at + count});
    at += count;
  }
  return out;
}

void damage(std::string& bytes, const std::string& stale, std::size_t written, Script& script) {
  const std::size_t blocks = bytes.size() / log::block_bytes;
  if (blocks == 0) return;
  const auto choose = [&] {
    const std::size_t where = script.below(4);
    if (where == 0) return script.below(blocks);
    if (where == 1) return script.below(std::min(blocks, written));
    return std::min(blocks, written) - 1 - script.below(std::min<std::size_t>({blocks, written, 6}));
  };
  const std::size_t block = choose() * log::block_bytes;
  const std::size_t byte = block + script.below(log::block_bytes);
  const std::size_t block_end = block + log::block_bytes;
  switch (script.below(9)) {
    case 0:
      bytes[byte] = static_cast<char>(bytes[byte] ^ 1 << script.below(8));
      break;
    case 1:
      bytes[byte] = static_cast<char>(script.byte());
      break;
    case 2:  // cut
      std::fill(bytes.begin() + static_cast<std::ptrdiff_t>(byte),
                bytes.begin() + static_cast<std::ptrdiff_t>(block_end), '\0');
      break;
    case 3: {  // the last blocks that were written
      const std::size_t count = std::min(blocks, script.below(8)) * log::block_bytes;
      const std::size_t end = std::min(blocks, written + script.below(2)) * log::block_bytes;
      for (std::size_t i = end - std::min(end, count); i < end; ++i) bytes[i] = '\0';
      break;
    }
    case 4:
      bytes.replace(block, log::block_bytes, log::block_bytes, '\0');
      break;
    case 5:
      bytes.replace(block, log::block_bytes, std::string(block_of(bytes, choose())));
      break;
    case 6:
      if (stale.size() >= block_end) bytes.replace(block, log::block_bytes, stale, block, log::block_bytes);
      break;
    case 7:
      bytes.resize(script.below(2) != 0 ? byte : bytes.size() + 1 + script.below(2 * log::block_bytes), '\0');
      break;
    default: {
      const std::string text = script.text(std::min(script.below(32), block_end - byte));
      bytes.replace(byte, text.size(), text);
    }
  }
}

struct Expected {
  bool damaged = false;
  bool torn = false;
  std::size_t batches = 0;  ///< that are read
};

Expected expected_of(const std::string& sound, const std::string& bytes, const std::vector<Batch>& batches,
                     std::size_t checkpoint_blocks) {
  const Expected refused{true, false, 0};
  if (bytes.size() != sound.size() || block_of(bytes, 0) != block_of(sound, 0)) return refused;
  const auto untouched = [&](std::size_t block) { return block_of(bytes, block) == block_of(sound, block); };
  const auto whole = [&](const Batch& batch) {
    for (std::size_t i = batch.first; i < batch.behind; ++i) {
      if (!untouched(i)) return false;
    }
    return true;
  };
  const auto last = std::find_if_not(batches.begin(), batches.end(), whole);
  const std::size_t at = last != batches.end() ? last->first : batches.empty() ? 1 : batches.back().behind;
  if (last != batches.end() && at <= checkpoint_blocks) return refused;

  // The one batch that may be on its way to the disk: as long as a part of it that came whole tells.
  std::size_t behind = at + log::max_batch_blocks;
  if (last != batches.end()) {
    for (std::size_t i = last->first; i < last->behind; ++i) {
      if (untouched(i)) behind = last->behind;
    }
  }
  Expected out{false, false, static_cast<std::size_t>(last - batches.begin())};
  const std::size_t end = bytes.size() / log::block_bytes;
  for (std::size_t i = at; i < end; ++i) {
    const std::string_view block = block_of(bytes, i);
    if (is_blank(block)) continue;
    const bool part_of_it = last != batches.end() && i < last->behind && untouched(i);
    const bool cut = block.back() == '\0';
    if (i >= behind || (!part_of_it && !cut)) return refused;
    out.torn = true;
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Script script(data, size);
  FakeFileSystem disk;
  const Writer writer(disk, script);

  const auto segments = log::list_segments(disk, slot);
  const std::uint64_t newest = segments.value.back();
  const std::string path = std::string(slot) + '/' + log::segment_name(newest);
  const std::string sound = disk.contents(path);
  const std::vector<Batch> batches = batches_of(sound);
  std::map<std::uint64_t, std::vector<std::string>> records;  // by LSN
  const auto reading = log::read_segment(
      disk, path, newest, [&](log::ReadRecord read) { log::append(records[read.lsn].emplace_back(), read.record); });
  require(!reading.value.damage && !reading.value.torn, "what the writer leaves is sound");
  require(records.size() == batches.size(), "every batch has records");

  std::string bytes = sound;
  const std::size_t written = batches.empty() ? 1 : batches.back().behind;
  const std::size_t damages = script.below(most_damages);
  for (std::size_t i = 0; i < damages; ++i) damage(bytes, writer.stale(), written, script);
  disk.set_contents(path, bytes);

  const Expected expected = expected_of(sound, bytes, batches, reading.value.header.checkpoint_blocks);
  const Judgement said = check_log(disk);
  require(said.damaged == expected.damaged, "a log is refused where a crash cannot explain it, and only there");
  std::vector<std::string> all;
  std::size_t kept = 0;
  for (const auto& [lsn, each] : records) {
    all.insert(all.end(), each.begin(), each.end());
    if (lsn < reading.value.header.first_lsn + expected.batches) kept = all.size();
  }
  require(said.records.size() <= all.size() && std::equal(said.records.begin(), said.records.end(), all.begin()),
          "what is read is the beginning of what was written");
  if (expected.damaged) return 0;
  require(said.torn == expected.torn, "a batch in part is told");
  require(said.records.size() == kept, "what is read is all up to the batch that did not come whole");
  return 0;
}
