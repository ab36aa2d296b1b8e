#include "assent/recovery/decision_log.h"

#include <algorithm>
#include <cerrno>
#include <deque>
#include <mutex>
#include <utility>

#include "assent/recovery/log_reader.h"
#include "assent/recovery/log_segment.h"
#include "assent/recovery/log_state.h"
#include "assent/xa/error.h"
#include "assent/xa/fork_guard.h"
#include "assent/xa/machine.h"
#include "assent/xa/planted_defect.h"

// Invariants
//   1. One thread at a time leads: it alone writes, makes segments and removes them (busy_).
//   2. state_ holds what is durable, and what finish() and raise_mark() said. Every such saying that is not durable is
//      in lazy_, in its order; a batch and a checkpoint take a prefix of lazy_ only, so a mark is never durable before
//      the finishes that were said before it.
//   3. A decision enters state_ after its batch was synced, or when its batch is uncertain; then the log is poisoned,
//      and no checkpoint is made any more.
//   4. At most one batch is written and not synced, and it stands where the sound ones end (log_reader.cc relies on
//      it).
//   5. Nothing is thrown between a change of state_, queue_ or lazy_ and what belongs to it: without memory there, the
//      process ends (noexcept), as by any crash; the log on disk is right.
//
//   waiting --(first in the queue, nobody leads)--> leading --(synced)--> durable
//      |                                              |-----(no byte written)--> refused
//      '---------(another's batch took it)----------->'-----(failed in between)--> uncertain, and the log is poisoned

namespace assent {
namespace {

[[noreturn]] void refuse_environment(const std::string& what, std::error_code error) {
  std::string hint = "check the disk and the system's log";
  if (error == std::errc::no_space_on_device || error == std::error_code(EDQUOT, std::generic_category())) {
    hint = "make room on the disk (opening the log needs a new segment beside the old one); nothing is lost";
  } else if (error == std::errc::permission_denied || error == std::errc::read_only_file_system) {
    hint = "give this user the right to write there";
  }
  throw Error(ErrorCode::environment, what + ": " + error.message(), hint);
}

class SegmentedLog final : public DecisionLog {
 public:
  SegmentedLog(FileSystem& files, std::string directory, LogOptions options)
      : files_(files), directory_(std::move(directory)), options_(std::move(options)) {
    if (!options_.random) options_.random = random_bits;
    if (!options_.now_ms) options_.now_ms = unix_now_ms;
    // A segment's place in a file is counted in bytes of 64 bits, its blocks in memory at once: keep both small.
    options_.segment_bytes = std::min<std::size_t>(options_.segment_bytes, log::max_segment_bytes);
    incarnation_ = Incarnation{options_.random()};
  }

  ~SegmentedLog() override {
    if (segment_ != nullptr) flush();  // else open() refused it
  }

  void load();

  LogId id() const override { return id_; }
  std::string repaired() const override { return repaired_; }
  bool moved() const override {
    const auto lock = enter();
    return state_.moved();
  }
  void adopt() override { force_record(log::Adopted{options_.now_ms()}, "the adoption"); }

  Incarnation begin_incarnation() override;
  std::vector<IncarnationRecord> incarnations() const override;

  Forced force(const Decision& decision) override;
  void finish(const TransactionId& id) noexcept override;
  void raise_mark(Incarnation incarnation, std::uint64_t mark) noexcept override;
  bool is_over(const TransactionId& id) const override {
    const auto lock = enter();
    return state_.is_over(id);
  }
  bool flush() noexcept override;
  void forget(const TransactionId& id) override;
  bool forgotten(const TransactionId& id) const override {
    const auto lock = enter();
    return state_.forgotten(id);
  }

  bool recovered(const TransactionId& id) const override {
    const auto lock = enter();
    return state_.recovered(id);
  }

  std::map<TransactionId, Decision> unfinished() const override {
    const auto lock = enter();
    return state_.unfinished();
  }
  std::optional<Decision> find(const TransactionId& id) const override;

  void note_resource(const LoggedResource& resource) override;
  std::vector<LoggedResource> resources() const override;
  void note_person(const TransactionId& id, const std::string& resource, const std::string& what) override {
    force_record(log::PersonNote{options_.now_ms(), id, resource, what}, "the note");
  }

  std::optional<std::string> poisoned() const override {
    if (guard_.in_child()) return "the log belongs to the parent process";
    const std::lock_guard lock(mutex_);
    return poisoned_;
  }
  Counters counters() const override {
    const auto lock = enter();
    return counters_;
  }

 private:
  /// A thread that waits for its record, on that thread's stack. Without a record: for what is in lazy_.
  struct Waiter {
    log::Record* record = nullptr;
    const std::string& bytes;
    Condition turn;
    bool done = false;
    Forced forced = Forced::refused;
  };
  using Lock = std::unique_lock<Mutex>;

  /// In a child the parent's mutex may be taken for ever, and what it guards is the parent's.
  Lock enter() const {
    if (guard_.in_child()) {
      throw Error(ErrorCode::misuse, "the log in " + directory_ + " belongs to the parent process",
                  "open one after fork(), in the child");
    }
    return Lock(mutex_);
  }

  Forced submit(log::Record* record, const std::string& bytes) noexcept;
  void force_record(log::Record record, const std::string& what);
  void say_later(const log::Record& record);

  void lead(Lock& lock);
  void write_batch(Lock& lock);
  std::size_t gather(std::size_t limit, std::size_t& lazy_bytes);
  void answer_first(std::size_t count, Forced forced);
  void poison(const std::string& why);
  void rotate(Lock& lock);
  void make_spare_early(Lock& lock);
  void remove_superseded();
  log::Header next_header() const;
  void count_bytes();

  std::string path_of(std::uint64_t number) const { return directory_ + '/' + log::segment_name(number); }

  FileSystem& files_;
  const std::string directory_;
  LogOptions options_;
  const ForkGuard guard_;
  Incarnation incarnation_{};
  LogId id_{};
  std::string repaired_;
  FileIdentity opened_under_;  // of the segment that open() made

  // The leader's own; no lock needed while busy_.
  std::unique_ptr<log::Segment> segment_;
  std::optional<log::Spare> spare_;
  std::vector<std::uint64_t> superseded_;  // segments that are still to be removed
  std::size_t make_spare_below_ = 0;       // bytes of room

  mutable Mutex mutex_;
  bool busy_ = false;
  bool begun_ = false;
  std::deque<Waiter*> queue_;
  std::string batch_;
  std::string lazy_;                  // whole records
  std::uint64_t lazy_said_ = 0;       // bytes ever put into lazy_
  std::uint64_t lazy_written_ = 0;    // bytes of those that are durable
  std::vector<log::Over> over_said_;  // of the running incarnation
  log::State state_;
  std::optional<std::string> poisoned_;
  std::string refusal_;  // why the last refused record was refused
  Counters counters_;
};

log::Header SegmentedLog::next_header() const {
  log::Header header;
  header.log = id_;
  header.segment = options_.random();
  header.incarnation = incarnation_;
  header.made_at_ms = options_.now_ms();
  if (segment_ != nullptr) {
    header.number = segment_->number() + 1;
    header.first_lsn = segment_->next_lsn();
  }
  return header;
}

void SegmentedLog::load() {
  auto segments = log::list_segments(files_, directory_);
  if (!segments) refuse_environment("cannot list the log's directory " + directory_, segments.error);
  superseded_ = std::move(segments.value);
  std::uint64_t number = 0;
  std::uint64_t first_lsn = 1;
  if (superseded_.empty()) {
    // A crash before the first segment got its name left nothing that anybody had been told of.
    id_ = LogId{options_.random()};
  } else {
    number = superseded_.back();
    const std::string path = path_of(number);
    auto reading =
        log::read_segment(files_, path, number, [this](log::ReadRecord read) { state_.apply(std::move(read.record)); });
    if (!reading) refuse_environment("cannot read " + path, reading.error);
    const log::SegmentReading& segment = reading.value;
    if (segment.damage) {
      throw Error(ErrorCode::log_damaged,
                  path + ", byte " + std::to_string(segment.damage->offset) + ": " + segment.damage->what,
                  segment.newer_format
                      ? "open it with the newer version of Assent that wrote it"
                      : "nothing was changed or skipped; keep a copy of the directory, look at it with "
                        "`assent log verify` and `assent log dump`, and bring back the undamaged file");
    }
    id_ = segment.header.log;
    first_lsn = segment.next_lsn;
    if (segment.torn) {
      repaired_ = path + ", byte " + std::to_string(segment.torn->offset) +
                  ": the last batch was cut off by a crash and has been dropped; it was never acknowledged";
    }
    if (segment.identity != segment.header.identity && !planted(Defect::copied_log_trusted)) {
      state_.apply(log::Moved{options_.now_ms(), segment.header.identity});
    }
  }
  // Rule 3: what was read may be in the page cache only. All of it goes to a new file, which is synced before anybody
  // acts on it. A crash in here leaves the old segment, which is then read again.
  log::Checkpoint checkpoint = log::checkpoint_of(state_);
  auto spare = log::make_spare(files_, directory_, log::blocks_wanted(checkpoint.blocks, options_.segment_bytes));
  if (!spare) refuse_environment("cannot make a new segment in " + directory_, spare.error);
  log::Header header = next_header();
  header.number = number + 1;
  header.first_lsn = first_lsn;
  auto begun = log::Segment::begin(files_, directory_, std::move(spare.value), header, std::move(checkpoint));
  if (begun.segment == nullptr) refuse_environment("cannot begin a new segment in " + directory_, begun.error);
  segment_ = std::move(begun.segment);
  opened_under_ = segment_->identity();
  make_spare_below_ = segment_->room() / 4;
  remove_superseded();
  count_bytes();
}

void SegmentedLog::remove_superseded() {
  // Not synced: a superseded segment that comes back after a crash is recognised by its number.
  std::erase_if(superseded_, [this](std::uint64_t number) {
    const auto error = files_.remove(path_of(number));
    return !error || error == std::errc::no_such_file_or_directory;
  });
}

void SegmentedLog::count_bytes() {
  counters_.bytes = segment_->blocks() * log::block_bytes;
  if (spare_) counters_.bytes += spare_->blocks * log::block_bytes;
}

Incarnation SegmentedLog::begin_incarnation() {
  {
    const auto lock = enter();
    if (std::exchange(begun_, true)) {
      throw Error(ErrorCode::misuse, "the log has an incarnation already", "begin one for each open()");
    }
  }
  log::Begun begun;
  begun.incarnation = {incarnation_, options_.now_ms(), process_id(), 0, 0, true, false};
  begun.opened_under = opened_under_;
  force_record(std::move(begun), "the new incarnation");
  return incarnation_;
}

std::vector<IncarnationRecord> SegmentedLog::incarnations() const {
  const auto lock = enter();
  std::vector<IncarnationRecord> out;
  out.reserve(state_.incarnations().size());
  for (const log::Begun& begun : state_.incarnations()) {
    out.push_back(begun.incarnation);
    out.back().over_to = state_.over_to(begun.incarnation.incarnation);
  }
  return out;
}

Forced SegmentedLog::force(const Decision& decision) {
  if (decision.id.kind != DeciderKind::log || decision.id.log != id_) {
    throw Error(ErrorCode::misuse, "the decision " + decision.id.text() + " belongs to another decider",
                "force it in the log that it names");
  }
  log::Record record(decision);
  if (const std::string why = log::unfit(record); !why.empty()) {
    throw Error(ErrorCode::misuse, "the decision " + decision.id.text() + " cannot be logged: " + why,
                "keep to the bounds of Decision and Branch::max_evidence");
  }
  std::string bytes;
  log::append(bytes, record);
  return submit(&record, bytes);
}

void SegmentedLog::force_record(log::Record record, const std::string& what) {
  if (const std::string why = log::unfit(record); !why.empty()) {
    throw Error(ErrorCode::misuse, what + " cannot be logged: " + why, "keep to the bound");
  }
  std::string bytes;
  log::append(bytes, record);
  if (submit(&record, bytes) == Forced::durable) return;
  bool failed = false;
  std::string why;
  {
    const auto lock = enter();
    failed = poisoned_.has_value();
    why = poisoned_.value_or(refusal_);
  }
  if (failed) {
    throw Error(ErrorCode::log_failed, what + " was not forced to the log: " + why,
                "mend the disk, then open the log again");
  }
  throw Error(ErrorCode::environment, what + " was not forced to the log: " + why,
              "make room on the disk; nothing is lost, and the log works again when there is room");
}

void SegmentedLog::say_later(const log::Record& record) {
  const std::size_t before = lazy_.size();
  log::append(lazy_, record);
  lazy_said_ += lazy_.size() - before;
}

void SegmentedLog::finish(const TransactionId& id) noexcept {
  if (guard_.in_child()) return;
  const std::lock_guard lock(mutex_);
  if (!state_.unfinished().contains(id)) {
    // Only the next checkpoint or flush() tells: until then it is a presumed abort, which it is.
    state_.apply(log::Finished{id});
    return;
  }
  const log::Record record =
      id.incarnation == incarnation_ ? log::Record{log::Finished{id}} : log::Record{log::Recovered{id}};
  state_.apply(record);
  if (!poisoned_) say_later(record);
}

void SegmentedLog::forget(const TransactionId& id) {
  if (!find(id)) {
    throw Error(ErrorCode::misuse, "the log has no unfinished decision of " + id.text(), "there is nothing to forget");
  }
  force_record(log::Forgotten{id}, "that " + id.text() + " is forgotten");
}

void SegmentedLog::raise_mark(Incarnation incarnation, std::uint64_t mark) noexcept {
  if (guard_.in_child()) return;
  const std::lock_guard lock(mutex_);
  const log::Over over{incarnation, 0, mark};
  if (mark == 0 || state_.knows(over)) return;
  state_.apply(over);
  if (!poisoned_) say_later(over);
}

bool SegmentedLog::flush() noexcept {
  if (guard_.in_child()) return false;
  std::uint64_t said = 0;
  {
    const std::lock_guard lock(mutex_);
    // Also what was never decided, such as one-phase commits, whose witnesses are forgotten after this.
    if (std::vector<log::Over> over = state_.over(incarnation_); over != over_said_ && !poisoned_) {
      for (const log::Over& each : over) say_later(each);
      over_said_ = std::move(over);
    }
    said = lazy_said_;
  }
  const auto left = [&] {
    const std::lock_guard lock(mutex_);
    return !poisoned_ && lazy_written_ < said;
  };
  while (left()) {
    if (submit(nullptr, {}) != Forced::durable) return false;
  }
  const std::lock_guard lock(mutex_);
  return !poisoned_;
}

std::optional<Decision> SegmentedLog::find(const TransactionId& id) const {
  const auto lock = enter();
  const auto found = state_.unfinished().find(id);
  if (found == state_.unfinished().end()) return std::nullopt;
  return found->second;
}

void SegmentedLog::note_resource(const LoggedResource& resource) {
  {
    const auto lock = enter();
    const auto known = state_.resources().find(resource.name);
    if (known != state_.resources().end() && known->second.identity == resource.identity) return;
    if (known == state_.resources().end() && state_.resources().size() >= log::State::max_resources) {
      throw Error(ErrorCode::misuse, "the log knows 1024 resources and takes no more", "use fewer resource names");
    }
  }
  force_record(resource, "the resource's identity");
}

std::vector<LoggedResource> SegmentedLog::resources() const {
  const auto lock = enter();
  std::vector<LoggedResource> out;
  for (const auto& [name, resource] : state_.resources()) out.push_back(resource);
  return out;
}

Forced SegmentedLog::submit(log::Record* record, const std::string& bytes) noexcept {
  if (guard_.in_child()) return Forced::refused;
  Waiter me{record, bytes, {}, false, Forced::refused};
  Lock lock(mutex_);
  if (poisoned_) return Forced::refused;
  queue_.push_back(&me);
  me.turn.wait(lock, [&] { return me.done || (!busy_ && queue_.front() == &me); });
  if (!me.done) lead(lock);
  return me.forced;
}

void SegmentedLog::lead(Lock& lock) {
  busy_ = true;
  const Waiter& me = *queue_.front();
  while (!me.done) write_batch(lock);
  if (!poisoned_) make_spare_early(lock);
  busy_ = false;
  if (!queue_.empty()) queue_.front()->turn.notify_one();
}

/// Fills batch_ with at most `limit` bytes: what is in lazy_, then the waiters' records. Answers how many waiters it
/// serves; 0 when not even the first one's record fits.
std::size_t SegmentedLog::gather(std::size_t limit, std::size_t& lazy_bytes) {
  batch_.clear();
  lazy_bytes = 0;
  const std::size_t first = queue_.front()->bytes.size();
  if (first > limit) return 0;
  lazy_bytes = log::whole_records(lazy_, limit - first);
  batch_.append(lazy_, 0, lazy_bytes);
  std::size_t count = 0;
  for (const Waiter* waiter : queue_) {
    if (batch_.size() + waiter->bytes.size() > limit) break;
    batch_ += waiter->bytes;
    ++count;
  }
  return count;
}

void SegmentedLog::answer_first(std::size_t count, Forced forced) {
  for (std::size_t i = 0; i < count; ++i) {
    Waiter* waiter = queue_.front();
    queue_.pop_front();
    const auto* decision = waiter->record == nullptr ? nullptr : std::get_if<Decision>(waiter->record);
    if (forced == Forced::durable && decision != nullptr) ++counters_.decisions;
    // An uncertain record other than a decision may be on disk too; whoever asked is told by an exception.
    if (waiter->record != nullptr &&
        (forced == Forced::durable || (forced == Forced::uncertain && decision != nullptr))) {
      state_.apply(std::move(*waiter->record));
    }
    waiter->forced = forced;
    waiter->done = true;
    waiter->turn.notify_one();
  }
}

void SegmentedLog::poison(const std::string& why) {
  poisoned_ = why;
  refusal_ = why;
  lazy_.clear();
  answer_first(queue_.size(), Forced::refused);
}

void SegmentedLog::write_batch(Lock& lock) {
  std::size_t lazy_bytes = 0;
  std::size_t count = gather(log::max_batch_room, lazy_bytes);
  if (batch_.size() > segment_->room()) {
    rotate(lock);
    if (poisoned_) return;
    count = gather(std::min(log::max_batch_room, segment_->room()), lazy_bytes);
  }
  if (count == 0) return answer_first(1, Forced::refused);
  // Only who waits for lazy_ brings no bytes: there is nothing left of it, or no room for it.
  if (batch_.empty()) return answer_first(count, lazy_.empty() ? Forced::durable : Forced::refused);

  lock.unlock();
  const log::Segment::Appended appended = segment_->append(batch_);
  lock.lock();

  if (appended.forced == Forced::durable) {
    ++counters_.syncs;
    lazy_.erase(0, lazy_bytes);
    lazy_written_ += lazy_bytes;
    return answer_first(count, Forced::durable);
  }
  refusal_ = "writing " + path_of(segment_->number()) + ": " + appended.error.message();
  answer_first(count, appended.forced);
  if (!appended.usable) poison(refusal_);
}

void SegmentedLog::rotate(Lock& lock) {
  // What is said from here on is not in the checkpoint, and stays in lazy_ behind this prefix.
  const std::size_t told = lazy_.size();
  log::Checkpoint checkpoint = log::checkpoint_of(state_);
  const log::Header header = next_header();
  lock.unlock();

  if (spare_ && spare_->blocks < log::blocks_wanted(checkpoint.blocks, 0)) spare_.reset();
  std::error_code error;
  bool named = false;
  std::unique_ptr<log::Segment> fresh;
  if (!spare_) {
    auto made = log::make_spare(files_, directory_, log::blocks_wanted(checkpoint.blocks, options_.segment_bytes));
    error = made.error;
    if (made) spare_ = std::move(made.value);
  }
  if (spare_) {
    log::Spare spare = std::move(*std::exchange(spare_, std::nullopt));
    auto begun = log::Segment::begin(files_, directory_, std::move(spare), header, std::move(checkpoint));
    error = begun.error;
    named = begun.named;
    fresh = std::move(begun.segment);
  }
  if (fresh != nullptr) {
    superseded_.push_back(segment_->number());
    segment_ = std::move(fresh);
    make_spare_below_ = segment_->room() / 4;
    remove_superseded();
  }

  lock.lock();
  count_bytes();
  if (!error) {
    lazy_.erase(0, told);
    lazy_written_ += told;
    return;
  }
  refusal_ = "a new segment cannot be made in " + directory_ + ": " + error.message();
  // Which of the two segments the next open finds is not known, so nothing may be written to either.
  if (named) poison(refusal_);
}

void SegmentedLog::make_spare_early(Lock& lock) {
  if (spare_ || segment_->room() >= make_spare_below_) return;
  lock.unlock();
  auto made =
      log::make_spare(files_, directory_, log::blocks_wanted(segment_->checkpoint_blocks(), options_.segment_bytes));
  // No room now: the old segment still has some, so ask again when half of that is used.
  if (!made) make_spare_below_ = segment_->room() / 2;
  lock.lock();
  if (!made) return;
  spare_ = std::move(made.value);
  count_bytes();
}

}  // namespace

std::unique_ptr<DecisionLog> DecisionLog::open(FileSystem& files, const std::string& directory,
                                               const LogOptions& options) {
  auto log = std::make_unique<SegmentedLog>(files, directory, options);
  log->load();
  return log;
}

}  // namespace assent
