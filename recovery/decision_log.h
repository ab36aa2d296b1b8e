#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "assent/recovery/decision.h"
#include "assent/recovery/file_system.h"
#include "assent/xa/identity.h"
#include "assent/xa/xid.h"

namespace assent {

struct LogOptions {
  std::size_t segment_bytes = 4 << 20;    ///< written as zeros before use; a larger checkpoint makes a larger segment
  std::function<std::uint64_t()> random;  ///< identities; the system's own when empty
  std::function<std::int64_t()> now_ms;   ///< Unix time, for people only; the system's own when empty
};

/// What became of a forced decision.
enum class Forced {
  durable,    ///< on disk: the transaction is committed
  refused,    ///< no byte of its batch was written (disk full, log poisoned before): rolling back is safe
  uncertain,  ///< cut off or failed in between: in doubt until the log is opened again; never roll back (rule 4)
};

/// One open of the log, as the log itself remembers it.
struct IncarnationRecord {
  Incarnation incarnation{};
  std::int64_t opened_at_ms = 0;
  std::int64_t pid = 0;
  /// Every transaction with a smaller sequence number is over; DecisionLog::is_over() also knows single ones above it.
  std::uint64_t mark = 0;
  /// Above the highest transaction that is_over() knows; not below the mark. Not stored.
  std::uint64_t over_to = 0;
  /// Abort may be presumed: opened under the log's present place (inode, device, machine), or adopted since (rule 2).
  bool presumable = false;
  /// Presumable because a person adopted a copy. The original may have finished its decisions, and swept the witnesses.
  bool adopted = false;
};

/// A resource as the log knows it (rule 8).
struct LoggedResource {
  std::string name;
  Identity identity;
};

/// The decision log of one slot. At most one process has it open: the slot's lock says so.
///
/// Thread-safe after open(). Grammar: docs/log_format.md. What is here is durable only where the function says so.
/// After a failed sync the log is poisoned: every later force is refused, nothing is retried over it (rule 4).
class DecisionLog {
 public:
  /// Opens or creates the log in `directory`, whose lock the caller holds. What a crashed writer left may be in the
  /// page cache only: copies all that still matters to a new segment and syncs file and directory before it returns
  /// (rule 3). A torn last batch is dropped, and repaired() says so; anything wrong before it throws
  /// Error{log_damaged} that names file and offset, and changes nothing (rule 10).
  static std::unique_ptr<DecisionLog> open(FileSystem& files, const std::string& directory, const LogOptions& options);

  virtual ~DecisionLog() = default;

  virtual LogId id() const = 0;
  /// A sentence when open() dropped a torn last batch; else empty.
  virtual std::string repaired() const = 0;
  /// True when the log was copied or restored since it was last open (rule 2), until adopt().
  virtual bool moved() const = 0;
  /// A person says: this copy is the log now. Forced. Throws Error.
  virtual void adopt() = 0;

  /// Begins a new incarnation: random, forced before this returns. Throws Error. Once for each open, by the owner only.
  virtual Incarnation begin_incarnation() = 0;
  virtual std::vector<IncarnationRecord> incarnations() const = 0;

  /// Blocks until the batch that carries the decision is durable, or is known not to be (group commit: the first
  /// waiter writes for all who came meanwhile; one fdatasync a batch). The decision is in unfinished() once durable or
  /// uncertain.
  virtual Forced force(Decision decision) = 0;

  /// Executes what it is given, soon, never in this call, in a thread that may wait for the disk; the log outlives
  /// that.
  using Post = std::function<void(std::function<void()>)>;
  /// force() for who has no thread to wait with: the decision joins the same batches, and `done` is called once, by
  /// the thread that learns what became of it, perhaps in this call. Where no thread leads, `post` calls a writer: what
  /// it is given must not stand behind anything that itself waits for a decision.
  /// Throws what force() throws, and then `done` is never called. This one here waits.
  /// `done` may run in the thread that leads, and others of its batch wait behind it, sometimes the next batch too: it
  /// must be quick, and must not itself wait for a decision (force(), flush()); force_then() is allowed there.
  virtual void force_then(Decision decision, std::function<void(Forced)> done, const Post& post) {
    static_cast<void>(post);
    const std::function<void(Forced)> tell = std::move(done);
    tell(force(std::move(decision)));
  }

  /// The transaction is over: every branch gave positive evidence of the decision, or, undecided, of being gone. The
  /// sequence numbers of an incarnation are consecutive, so that what is over is remembered as few intervals. Not
  /// forced: a decision's end is written with a later batch or by flush(); losing it costs only that recovery asks
  /// again.
  virtual void finish(const TransactionId& id) = 0;
  /// The incarnation's transactions with smaller sequence numbers are all over. Not forced, and never durable before
  /// the finish() calls made earlier.
  virtual void raise_mark(Incarnation incarnation, std::uint64_t mark) = 0;
  /// True for what finish() and raise_mark() said, also in earlier incarnations. A prepared branch of such a
  /// transaction has been resurrected (a restored database), and is never resolved by itself (rule 5).
  virtual bool is_over(const TransactionId& id) const = 0;
  /// The same of a commit that a last resource decided, in an earlier incarnation: recovered() then says so.
  virtual void finish_recovered(const TransactionId& id) = 0;
  /// A commit that an earlier open decided and a later one finished: its application may never have learned of it, so
  /// the newest 1024 are remembered.
  virtual bool recovered(const TransactionId& id) const = 0;
  /// A person gives up on an unfinished decision: the transaction is over, although not every branch gave positive
  /// evidence. Forced. Throws Error, and then the decision is still there. Of a last resource's decision only that is
  /// remembered; recovery then takes the row away.
  virtual void forget(const TransactionId& id) = 0;
  /// forget() said so; the newest 1024 are remembered.
  virtual bool forgotten(const TransactionId& id) const = 0;
  /// Writes and syncs all that finish() and raise_mark() said; without effect when there is nothing. True when all of
  /// it is durable; false when the disk is full or the log poisoned: what was said may be lost, so nothing may rely on
  /// it.
  virtual bool flush() = 0;

  /// Decisions that are not finished, by id.
  virtual std::map<TransactionId, Decision> unfinished() const = 0;
  virtual std::optional<Decision> find(const TransactionId& id) const = 0;

  /// Remembers a resource's identity (new or changed). Forced. Throws Error.
  virtual void note_resource(const LoggedResource& resource) = 0;
  virtual std::vector<LoggedResource> resources() const = 0;

  /// What a person decided against or without evidence (`assent force`), for the audit. Forced. Throws Error.
  virtual void note_person(const TransactionId& id, const std::string& resource, const std::string& what) = 0;

  /// True after a failed sync or write; says why.
  virtual std::optional<std::string> poisoned() const = 0;

  /// Bytes in the log's files, batches synced, decisions forced: for counting tests and metrics.
  struct Counters {
    std::uint64_t bytes = 0;
    std::uint64_t syncs = 0;
    std::uint64_t decisions = 0;
  };
  virtual Counters counters() const = 0;
};

}  // namespace assent
