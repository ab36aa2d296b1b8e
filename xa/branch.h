#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "assent/xa/reply.h"
#include "assent/xa/xid.h"

namespace assent {

enum class Isolation { database_default, read_committed, repeatable_read, serializable };

/// A place among the sessions at work, kept for one start(). Unless that has used it, destruction gives it back.
class Place {
 public:
  virtual ~Place() = default;
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

 protected:
  Place() = default;
};

struct StartOptions {
  /// Pushed into the database's own statement and lock timeouts for the statements of the branch. Never bounds
  /// prepare or phase two.
  std::optional<std::chrono::steady_clock::time_point> deadline{};
  Isolation isolation = Isolation::database_default;
  /// Declared by the caller and enforced by the database: a write fails. prepare() then ends the branch and answers
  /// read_only without a forced write.
  bool read_only = false;
  /// From ResourceManager::await_place(): start() need not wait for a session.
  std::shared_ptr<Place> place{};
};

/// One open unit of work, on the session that started it.
///
/// Not thread-safe: one thread at a time, and where Capabilities::session_bound_to_thread, the same thread always.
/// No exception leaves it. The verbs follow The XA Specification (C193), chapter 5, with these additions:
///
/// - start() may leave the beginning to the first statement, but what a process sends at once never both begins and
///   ends.
/// - end() may be delayed into the round trip of the verb that follows; it only promises that no more work joins.
/// - prepare() first proves that it ends the branch's own transaction (an application's own COMMIT; BEGIN in
///   between is answered protocol_error, not_done, and nothing is prepared).
/// - A verb that answers rb_…: the branch is over, rolled back, or will be by the destructor; nothing stays prepared.
/// - resource_failed with Certainty::unknown: the answer was lost. The session is not used again.
///
/// Destruction of a branch that is not prepared rolls it back or closes its session. Destruction of a prepared
/// branch leaves it prepared, to be finished by ResourceManager, and closes the session where only that frees it.
class Branch {
 public:
  virtual ~Branch() = default;
  Branch(const Branch&) = delete;
  Branch& operator=(const Branch&) = delete;

  virtual const Xid& xid() const = 0;

  virtual Reply end() = 0;
  /// ok: prepared, durably. read_only: over, nothing to commit. Every other: not prepared, unless unknown.
  virtual Reply prepare() = 0;
  /// Without prepare(). unknown: ResourceManager::settle() makes it definite.
  virtual Reply commit_one_phase() = 0;
  /// The same, and in the branch's own transaction a row that holds `decision` (at most max_decision bytes): the other
  /// branches are prepared, and with this commit the whole transaction is decided. Without the row nothing is
  /// committed, and what is committed is durable, whatever the session is set to. unknown: settle() makes it definite,
  /// and ResourceManager::decisions() lists it. Only where Capabilities::decides.
  virtual Reply commit_deciding(const std::string& decision);
  static constexpr std::size_t max_decision = 16384;
  /// After prepare().
  virtual Reply commit() = 0;
  /// Before or after prepare(). ok after prepare(): the branch is not prepared any more, durably.
  virtual Reply rollback() = 0;

  enum class Verb { prepare, commit };
  /// The verb that this thread calls next, nothing else before it but the destructor; prepare only after end(). Where
  /// Capabilities::sends_ahead, its request is sent now, and the verb itself only takes the answer: one thread then has
  /// several databases at work at once. Elsewhere, and when it cannot be sent, the verb does it all.
  virtual void send_ahead(Verb verb) { static_cast<void>(verb); }

  /// Before the end of work only: a new deadline for the statements that follow.
  virtual Reply set_deadline(std::optional<std::chrono::steady_clock::time_point> deadline) = 0;

  /// What ResourceManager::fate() needs beyond the Xid to find out later what became of the branch; to be kept with
  /// the decision. Complete once prepare() answered ok. At most max_evidence bytes; may be empty.
  virtual std::string evidence() const = 0;
  static constexpr std::size_t max_evidence = 128;

  /// Of a branch that is committed: it has left what ResourceManager::forget() takes away.
  virtual bool has_witness() const { return true; }

 protected:
  Branch() = default;
};

inline Reply Branch::commit_deciding(const std::string&) {
  return Reply::not_done(Code::protocol_error, "this adapter cannot be a last resource");
}

}  // namespace assent
