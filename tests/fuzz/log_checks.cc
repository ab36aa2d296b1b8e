#include "assent/tests/fuzz/log_checks.h"

#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "assent/recovery/log_bytes.h"
#include "assent/recovery/log_reader.h"
#include "assent/recovery/log_record.h"
#include "assent/recovery/log_state.h"
#include "assent/recovery/log_view.h"
#include "assent/tests/fuzz/fuzz.h"
#include "assent/xa/branch.h"
#include "assent/xa/error.h"

namespace assent::fuzz {
namespace {

constexpr std::size_t longest_line = 64 << 10;
constexpr std::uint64_t first_series = 2;

std::string bytes_of(const log::Record& record) {
  std::string out;
  log::append(out, record);
  return out;
}

void check_record(const log::Record& record) {
  const std::string bytes = bytes_of(record);
  require(bytes.size() <= log::max_record, "a record that was read can be written");
  const auto again = log::decode(static_cast<std::uint8_t>(bytes[4]), std::string_view(bytes).substr(log::record_head));
  require(again && bytes_of(*again) == bytes, "a record that is written is read the same");
  const std::string line = log::text_of(record);
  require(!line.empty() && line.size() <= longest_line && is_printable(line), "a record is shown as one line");
  if (const auto* decision = std::get_if<Decision>(&record)) {
    require(decision->label.size() <= Decision::max_label, "a label has at most 256 bytes");
    require(decision->branches.size() <= Decision::max_branches, "a decision has at most 64 branches");
    for (const DecidedBranch& branch : decision->branches) {
      require(branch.resource.size() <= log::max_resource_name && branch.evidence.size() <= Branch::max_evidence,
              "the parts of a branch are bounded");
    }
  }
}

/// All that a log answers, as text: what two readers must agree on.
template <class Log>
std::string contents_of(const Log& log) {
  std::string out;
  for (const auto& [id, decision] : log.unfinished()) {
    require(decision.id == id && log.find(id) == decision, "an unfinished decision is found");
    out += bytes_of(decision);
  }
  for (const LoggedResource& resource : log.resources()) out += bytes_of(resource);
  for (const IncarnationRecord& each : log.incarnations()) {
    out += bytes_of(log::Begun{each, {}});
    log::put(out, each.over_to);
  }
  return out + (log.moved() ? "moved" : "");
}

/// What the records say, applied one after the other.
void check_unfinished(const std::vector<log::Record>& records, const std::map<TransactionId, Decision>& unfinished) {
  std::map<TransactionId, Decision> expected;
  for (const log::Record& record : records) {
    if (const auto* decision = std::get_if<Decision>(&record)) expected.insert_or_assign(decision->id, *decision);
    if (const auto* each = std::get_if<log::Finished>(&record)) expected.erase(each->id);
    if (const auto* each = std::get_if<log::Recovered>(&record)) expected.erase(each->id);
    if (const auto* each = std::get_if<log::Forgotten>(&record)) expected.erase(each->id);
  }
  require(unfinished == expected, "every decision that was read and not finished is there, and no other");
}

template <class Open>
auto opened(Open open, bool damaged) -> decltype(open()) {
  try {
    auto log = open();
    require(!damaged, "a damaged log is refused");
    return log;
  } catch (const Error& error) {
    require(damaged && error.code() == ErrorCode::log_damaged, "only a damaged log is refused");
    require(is_printable(error.what()) && !error.hint().empty(), "an error is one line, and says what to do");
    return nullptr;
  }
}

std::string newest_path(test::FakeFileSystem& disk) {
  const auto segments = log::list_segments(disk, slot);
  require(segments && !segments.value.empty(), "there is a segment");
  return std::string(slot) + '/' + log::segment_name(segments.value.back());
}

}  // namespace

LogOptions log_options(std::uint64_t series) {
  LogOptions options;
  options.segment_bytes = 16 << 10;
  options.random = [next = std::make_shared<std::uint64_t>(series << 32)] { return ++*next * 0x9e3779b97f4a7c15U; };
  options.now_ms = [] { return std::int64_t{1'700'000'000'000}; };
  return options;
}

Judgement check_log(test::FakeFileSystem& disk) {
  Judgement out;
  const std::string path = newest_path(disk);
  const std::string before = disk.contents(path);
  const auto number = log::segment_number(path.substr(std::string(slot).size() + 1));

  std::vector<log::Record> records;
  const auto reading = log::read_segment(disk, path, *number, [&](log::ReadRecord read) {
    require(read.offset < before.size(), "a record stands in its file");
    check_record(read.record);
    out.records.push_back(bytes_of(read.record));
    records.push_back(std::move(read.record));
  });
  require(static_cast<bool>(reading), "a file that can be read is judged");
  out.damaged = reading.value.damage.has_value();
  out.torn = reading.value.torn.has_value();
  require(!out.damaged || reading.value.damage->offset <= before.size(), "damage is in the file");

  std::size_t dumped = 0;
  const auto findings = log_dump(disk, slot, [&](const DumpedRecord& record) {
    require(dumped < out.records.size() && bytes_of(record.record) == out.records[dumped], "the dump is in order");
    ++dumped;
  });
  require(dumped == out.records.size(), "the dump shows every record");
  bool damage_found = false;
  bool torn_found = false;
  for (const LogFinding& each : findings) {
    damage_found = damage_found || each.kind == LogFinding::Kind::damage;
    torn_found = torn_found || each.kind == LogFinding::Kind::torn_tail;
  }
  require(damage_found == out.damaged && torn_found == out.torn, "the dump finds what the reader finds");
  require(log_verify(disk, slot).size() == findings.size(), "verify finds what the dump finds");

  const auto view = opened([&] { return LogView::read(disk, slot); }, out.damaged);
  require(disk.contents(path) == before, "reading changes nothing");
  auto log = opened([&] { return DecisionLog::open(disk, slot, log_options(first_series)); }, out.damaged);
  if (log == nullptr) {
    require(newest_path(disk) == path && disk.contents(path) == before, "a damaged log is left alone");
    return out;
  }
  require(log->repaired().empty() == !out.torn, "a dropped batch is told, and nothing else");
  check_unfinished(records, log->unfinished());
  const std::string said = contents_of(*log);
  require(contents_of(*view) == said, "a log that is only read says what the opened one says");
  log.reset();
  log = opened([&] { return DecisionLog::open(disk, slot, log_options(first_series + 1)); }, false);
  require(contents_of(*log) == said && log->repaired().empty(), "opened once more, a log says the same");
  return out;
}

Judgement check_segment(std::string bytes, std::uint64_t number) {
  test::FakeFileSystem disk;
  require(!disk.make_directory(slot), "the disk takes a directory");
  disk.set_contents(std::string(slot) + '/' + log::segment_name(number), std::move(bytes));
  return check_log(disk);
}

}  // namespace assent::fuzz
