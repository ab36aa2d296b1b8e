#include "assent/recovery/decision_log.h"

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <utility>

#include "assent/recovery/log_reader.h"
#include "assent/recovery/log_segment.h"
#include "assent/recovery/log_state.h"
#include "assent/recovery/log_waiter.h"
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
//   6. While the queue is not empty, somebody leads, or the first in it is about to: a thread that was woken, or, for
//      one that no thread waits for (force_then), the writer that was called.
//
//   waiting --(first in the queue, nobody leads)--> leading --(synced)--> durable
//      |                                              |-----(no byte written)--> refused
//      '---------(another's batch took it)----------->'-----(failed in between)--> uncertain, and the log is poisoned

namespace assent {
namespace {

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

  Forced force(Decision decision) override;
  void force_then(Decision decision, std::function<void(Forced)> done, const Post& post) override;
  void finish(const TransactionId& id) noexcept override;
  void finish_recovered(const TransactionId& id) noexcept override;
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
    if (!is_poisoned_) return std::nullopt;
    const std::lock_guard lock(mutex_);
    return poisoned_;
  }
  Counters counters() const override {
    const auto lock = enter();
    return counters_;
  }

 private:
  /// Of a batch.
  struct Share {
    std::size_t lazy_bytes = 0;
    std::size_t waiters = 0;
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

  void say(const log::Record& record);
  log::Record record_of(Decision decision) const;
  Forced submit(log::Waiter& me) noexcept;
  void submit(std::unique_ptr<log::Waiter> patient) noexcept;
  void force_record(log::Record record, const std::string& what);

  /// Others go on meanwhile; the leader's own call.
  template <class Work>
  static auto outside(Lock& lock, Work&& work) {
    lock.unlock();
    auto result = work();
    lock.lock();
    return result;
  }

  void lead(Lock lock);
  void call(log::Waiter& next);
  void tell_answered(Lock& lock);
  void write_batch(Lock& lock);
  Share gather(std::size_t limit);
  void leave_lazy(std::size_t bytes);
  void answer_first(std::size_t count, Forced forced);
  void poison(const std::string& why);
  void rotate(Lock& lock);
  void make_spare_early(Lock& lock);
  Io<log::Spare> make_spare(std::uint64_t checkpoint_blocks);
  log::Segment::Begun begin_segment(const log::Header& header, log::Checkpoint checkpoint);
  void write_to(std::unique_ptr<log::Segment> fresh);
  void remove_superseded();
  log::Header header(std::uint64_t number, std::uint64_t first_lsn) const;
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
  std::deque<log::Waiter*> queue_;
  std::vector<log::Waiter*> answered_;  // whom the leader has still to tell
  std::string batch_;
  std::string lazy_;                  // whole records
  std::uint64_t lazy_durable_ = 0;    // bytes that have left lazy_ for the disk
  std::vector<log::Over> over_said_;  // of the running incarnation
  log::State state_;
  std::optional<std::string> poisoned_;
  std::atomic<bool> is_poisoned_ = false;  // for who asks before each transaction
  std::string refusal_;                    // why the last refused record was refused
  Counters counters_;
};

log::Header SegmentedLog::header(std::uint64_t number, std::uint64_t first_lsn) const {
  log::Header header;
  header.log = id_;
  header.number = number;
  header.segment = options_.random();
  header.incarnation = incarnation_;
  header.first_lsn = first_lsn;
  header.made_at_ms = options_.now_ms();
  return header;
}

void SegmentedLog::load() {
  auto segments = log::list_segments(files_, directory_);
  if (!segments) log::refuse_environment("cannot list the log's directory " + directory_, segments.error);
  superseded_ = std::move(segments.value);
  std::uint64_t number = 0;
  std::uint64_t first_lsn = 1;
  if (superseded_.empty()) {
    // A crash before the first segment got its name left nothing that anybody had been told of.
    id_ = LogId{options_.random()};
  } else {
    number = superseded_.back();
    const std::string path = path_of(number);
    auto reading = log::read_segment(files_, path, number,
                                     [this](log::ReadRecord&& read) { state_.apply(std::move(read.record)); });
    if (!reading) log::refuse_environment("cannot read " + path, reading.error);
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
  auto begun = begin_segment(header(number + 1, first_lsn), log::checkpoint_of(state_));
  if (begun.segment == nullptr) log::refuse_environment("cannot begin a new segment in " + directory_, begun.error);
  opened_under_ = begun.segment->identity();
  write_to(std::move(begun.segment));
  count_bytes();
}

Io<log::Spare> SegmentedLog::make_spare(std::uint64_t checkpoint_blocks) {
  return log::make_spare(files_, directory_, log::blocks_wanted(checkpoint_blocks, options_.segment_bytes));
}

log::Segment::Begun SegmentedLog::begin_segment(const log::Header& header, log::Checkpoint checkpoint) {
  if (spare_ && spare_->blocks < log::least_blocks(checkpoint.blocks)) spare_.reset();
  if (!spare_) {
    auto made = make_spare(checkpoint.blocks);
    if (!made) return {nullptr, made.error, false};
    spare_ = std::move(made.value);
  }
  return log::Segment::begin(files_, directory_, *std::exchange(spare_, std::nullopt), header, std::move(checkpoint));
}

void SegmentedLog::write_to(std::unique_ptr<log::Segment> fresh) {
  segment_ = std::move(fresh);
  make_spare_below_ = segment_->room() / 4;
  remove_superseded();
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
  for (const log::Begun& begun : state_.incarnations()) {
    out.push_back(begun.incarnation);
    out.back().over_to = state_.over_to(begun.incarnation.incarnation);
  }
  return out;
}

log::Record SegmentedLog::record_of(Decision decision) const {
  if (decision.id.kind != DeciderKind::log || decision.id.log != id_) {
    throw Error(ErrorCode::misuse, "the decision " + decision.id.text() + " belongs to another decider",
                "force it in the log that it names");
  }
  log::Record record(std::move(decision));
  if (const std::string why = log::unfit(record); !why.empty()) {
    throw Error(ErrorCode::misuse, "the decision " + std::get<Decision>(record).id.text() + " cannot be logged: " + why,
                "keep to the bounds of Decision and Branch::max_evidence");
  }
  return record;
}

Forced SegmentedLog::force(Decision decision) {
  log::Waiter me(record_of(std::move(decision)));
  return submit(me);
}

void SegmentedLog::force_then(Decision decision, std::function<void(Forced)> done, const Post& post) {
  auto patient = std::make_unique<log::Waiter>(record_of(std::move(decision)));
  patient->told = std::move(done);
  patient->call_writer = post;
  submit(std::move(patient));
}

void SegmentedLog::force_record(log::Record record, const std::string& what) {
  if (const std::string why = log::unfit(record); !why.empty()) {
    throw Error(ErrorCode::misuse, what + " cannot be logged: " + why, "keep to the bound");
  }
  log::Waiter me(std::move(record));
  if (submit(me) == Forced::durable) return;
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

void SegmentedLog::finish(const TransactionId& id) noexcept {
  if (guard_.in_child()) return;
  log::State::Decisions::node_type decision;  // goes outside of the lock, as the record comes
  const log::Record finished(log::Finished{id});
  const std::lock_guard lock(mutex_);
  decision = state_.end(id);
  // What was never decided only the next checkpoint or flush() tells: until then it is a presumed abort, and is one.
  if (!decision) return;
  if (id.incarnation != incarnation_) return say(log::Recovered{id});
  if (!poisoned_) log::append(lazy_, finished);
}

void SegmentedLog::finish_recovered(const TransactionId& id) noexcept {
  if (guard_.in_child()) return;
  const std::lock_guard lock(mutex_);
  say(log::Recovered{id});
}

/// Not forced. mutex_ is held.
void SegmentedLog::say(const log::Record& record) {
  state_.apply(log::Record(record));
  if (!poisoned_) log::append(lazy_, record);
}

void SegmentedLog::forget(const TransactionId& id) {
  if (id.kind == DeciderKind::log && !find(id)) {
    throw Error(ErrorCode::misuse, "the log has no unfinished decision of " + id.text(), "there is nothing to forget");
  }
  force_record(log::Forgotten{id}, "that " + id.text() + " is forgotten");
}

void SegmentedLog::raise_mark(Incarnation incarnation, std::uint64_t mark) noexcept {
  if (guard_.in_child()) return;
  const std::lock_guard lock(mutex_);
  const log::Over over{incarnation, 0, mark};
  if (mark == 0 || state_.knows(over)) return;
  say(over);
}

bool SegmentedLog::flush() noexcept {
  if (guard_.in_child()) return false;
  std::uint64_t said = 0;
  {
    const std::lock_guard lock(mutex_);
    // Also what was never decided, such as one-phase commits, whose witnesses are forgotten after this.
    if (std::vector<log::Over> over = state_.over(incarnation_); over != over_said_ && !poisoned_) {
      for (const log::Over& each : over) log::append(lazy_, each);
      over_said_ = std::move(over);
    }
    said = lazy_durable_ + lazy_.size();
  }
  const auto left = [&] {
    const std::lock_guard lock(mutex_);
    return !poisoned_ && lazy_durable_ < said;
  };
  while (left()) {
    log::Waiter me({});
    if (submit(me) != Forced::durable) return false;
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

Forced SegmentedLog::submit(log::Waiter& me) noexcept {
  if (guard_.in_child()) return Forced::refused;
  log::Waiter::Sleeper sleeper;
  me.sleeper = &sleeper;
  Lock lock(mutex_);
  if (poisoned_) return Forced::refused;
  queue_.push_back(&me);
  if (busy_ || queue_.size() > 1) {
    lock.unlock();
    if (sleeper.await() == log::Waiter::Word::answered) return me.forced;
    lock.lock();
  }
  lead(std::move(lock));
  return me.forced;
}

void SegmentedLog::submit(std::unique_ptr<log::Waiter> patient) noexcept {
  if (!guard_.in_child()) {
    const Lock lock(mutex_);
    if (!poisoned_) {
      queue_.push_back(patient.release());
      if (!busy_ && queue_.size() == 1) call(*queue_.front());
      return;
    }
  }
  patient->told(Forced::refused);
}

void SegmentedLog::lead(Lock lock) {
  busy_ = true;
  const log::Waiter& me = *queue_.front();
  while (!me.done) write_batch(lock);
  if (!poisoned_) make_spare_early(lock);
  busy_ = false;
  // The next batch first: whom this one answers can be told beside it. Nobody but who is told comes before it now.
  log::Waiter* const next = queue_.empty() ? nullptr : queue_.front();
  auto answered = std::exchange(answered_, {});
  lock.unlock();
  if (next != nullptr) call(*next);
  log::tell(std::move(answered));
}

void SegmentedLog::call(log::Waiter& next) {
  if (next.sleeper != nullptr) return next.sleeper->tell(log::Waiter::Word::lead);
  // Once it is called, the writer may answer the waiter, and that is the end of it.
  const DecisionLog::Post post = std::move(next.call_writer);
  post([this]() noexcept { lead(Lock(mutex_)); });
}

void SegmentedLog::tell_answered(Lock& lock) {
  auto answered = std::exchange(answered_, {});
  lock.unlock();
  log::tell(std::move(answered));
  lock.lock();
}

/// Fills batch_ with at most `limit` bytes, in which the first waiter's record fits: what is in lazy_, then records of
/// waiters.
SegmentedLog::Share SegmentedLog::gather(std::size_t limit) {
  Share share;
  share.lazy_bytes = log::whole_records(lazy_, limit - queue_.front()->bytes.size());
  batch_.assign(lazy_, 0, share.lazy_bytes);
  for (const log::Waiter* waiter : queue_) {
    if (batch_.size() + waiter->bytes.size() > limit) break;
    batch_ += waiter->bytes;
    ++share.waiters;
  }
  return share;
}

/// They are on disk, by a batch or by a checkpoint.
void SegmentedLog::leave_lazy(std::size_t bytes) {
  lazy_.erase(0, bytes);
  lazy_durable_ += bytes;
}

void SegmentedLog::answer_first(std::size_t count, Forced forced) {
  for (std::size_t i = 0; i < count; ++i) {
    log::Waiter* waiter = queue_.front();
    queue_.pop_front();
    const auto* decision = waiter->record ? std::get_if<Decision>(&*waiter->record) : nullptr;
    if (forced == Forced::durable && decision != nullptr) ++counters_.decisions;
    // An uncertain record other than a decision may be on disk too; whoever asked is told by an exception.
    if (waiter->record && (forced == Forced::durable || (forced == Forced::uncertain && decision != nullptr))) {
      state_.apply(std::move(*waiter->record));
    }
    waiter->forced = forced;
    waiter->done = true;
    answered_.push_back(waiter);
  }
}

void SegmentedLog::poison(const std::string& why) {
  poisoned_ = why;
  is_poisoned_ = true;
  answer_first(queue_.size(), Forced::refused);
}

void SegmentedLog::write_batch(Lock& lock) {
  Share share = gather(log::max_batch_room);
  if (batch_.size() > segment_->room()) {
    rotate(lock);
    if (poisoned_) return;
    if (queue_.front()->bytes.size() > segment_->room()) return answer_first(1, Forced::refused);
    share = gather(std::min(log::max_batch_room, segment_->room()));
  }
  // Only who waits for lazy_ brings no bytes: there is nothing left of it, or no room for it.
  if (batch_.empty()) return answer_first(share.waiters, lazy_.empty() ? Forced::durable : Forced::refused);

  const log::Segment::Appended appended = outside(lock, [&] { return segment_->append(batch_); });
  if (appended.forced == Forced::durable) {
    ++counters_.syncs;
    leave_lazy(share.lazy_bytes);
    return answer_first(share.waiters, Forced::durable);
  }
  refusal_ = "writing " + path_of(segment_->number()) + ": " + appended.error.message();
  answer_first(share.waiters, appended.forced);
  if (!appended.usable) poison(refusal_);
}

void SegmentedLog::rotate(Lock& lock) {
  // What is said from here on is not in the checkpoint, and stays in lazy_ behind this prefix.
  const std::size_t told = lazy_.size();
  log::Checkpoint checkpoint = log::checkpoint_of(state_);
  const log::Header begins = header(segment_->number() + 1, segment_->next_lsn());
  const auto begun = outside(lock, [&] {
    auto next = begin_segment(begins, std::move(checkpoint));
    if (next.segment != nullptr) {
      superseded_.push_back(segment_->number());
      write_to(std::move(next.segment));
    }
    return next;
  });
  count_bytes();
  if (!begun.error) return leave_lazy(told);
  refusal_ = "a new segment cannot be made in " + directory_ + ": " + begun.error.message();
  // Which of the two segments the next open finds is not known, so nothing may be written to either.
  if (begun.named) poison(refusal_);
}

void SegmentedLog::make_spare_early(Lock& lock) {
  if (spare_ || segment_->room() >= make_spare_below_) return;
  tell_answered(lock);
  auto made = outside(lock, [&] { return make_spare(segment_->checkpoint_blocks()); });
  if (!made) {
    // No room now: the old segment still has some, so ask again when half of that is used.
    make_spare_below_ = segment_->room() / 2;
    return;
  }
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
