#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "assent/xa/branch.h"
#include "assent/xa/identity.h"
#include "assent/xa/reply.h"
#include "assent/xa/xid.h"

namespace assent {

/// What the transaction manager must know; probed from the live server, never assumed from its name.
struct Capabilities {
  bool two_phase = false;  ///< prepare() can work at all (PostgreSQL: max_prepared_transactions > 0)
  bool prepared_survives_disconnect = false;
  bool any_session_finishes_prepared = false;  ///< also while the session that prepared is still connected
  bool session_bound_to_thread = false;
  bool settles_one_phase = false;  ///< settle() works (Assent's witness table is there)
  bool decides = false;            ///< Branch::commit_deciding() and decisions() work too: can be a last resource
  /// No verb, and not start() either, waits for network, disk, lock or session: never worth another thread. Works of
  /// the asynchronous interface run in the thread that initiates them.
  bool answers_at_once = false;
  bool sends_ahead = false;  ///< Branch::send_ahead() sends: what is sent ahead is not worth another thread either
};

/// What a resource says of itself when it is reached.
struct Probe {
  Identity identity;
  Capabilities capabilities;
  std::string product;  ///< "PostgreSQL 15.18"
};

/// A branch that the database lists as prepared.
struct PreparedBranch {
  Xid xid;               ///< decoded; when it is no Xid at all (a foreign gid), format_id 0 and raw text in `raw`
  std::string raw;       ///< the database's own name for it
  std::string owner;     ///< database user, or empty
  std::string database;  ///< database or schema, or empty where the server does not tell
  std::optional<std::chrono::seconds> age;
  bool ours_to_finish = true;  ///< false: another database of the cluster, or another owner's; `note` says which
  std::string note;
};

/// What became of a branch, by evidence.
enum class Fate {
  committed,
  rolled_back,
  in_progress,  ///< running, prepared, or hidden by the server; ask again
  unknown,      ///< no evidence: a person must look
};

std::string_view to_string(Fate fate);

/// A row that Branch::commit_deciding() or settle() committed, as the last resource keeps it.
struct KeptDecision {
  Xid branch;                 ///< the last resource's own, as Xid::undecided() names it
  Fate fate = Fate::unknown;  ///< committed, or rolled_back
  std::string decision;       ///< as given to commit_deciding(); empty where settle() barred it
};

/// How a branch is finished from outside of its session.
struct FinishOptions {
  /// The incarnation that opened the branch is gone for certain: a session that still carries the branch may be ended.
  bool carrier_is_dead = false;
};

/// What a prepared branch blocks meanwhile, for people.
struct Impact {
  std::optional<std::uint64_t> locks;
  std::vector<std::string> waiting_sessions;  ///< one line each: who waits, for how long, with which statement
  std::string note;
};

/// One line of `assent doctor`.
struct Finding {
  enum class Severity { good, advice, problem };
  Severity severity = Severity::good;
  std::string what;  ///< one sentence
  std::string mend;  ///< the exact statement or configuration line; empty when good
};

/// A wait for a place (ResourceManager::await_place), while it lasts.
struct PlaceWait {
  std::chrono::steady_clock::time_point until;  ///< start() would wait no longer
  /// To be called then, from any thread: answers start()'s failure, if there is no answer yet.
  std::function<void()> give_up;
};

/// A database that takes part in transactions. Needs no application session: any thread, any process, also after a
/// crash. Thread-safe. No exception leaves it. Constructing one does not connect.
///
/// `not_found` means neither committed nor rolled back: ask fate().
class ResourceManager {
 public:
  virtual ~ResourceManager() = default;
  ResourceManager(const ResourceManager&) = delete;
  ResourceManager& operator=(const ResourceManager&) = delete;

  virtual const std::string& name() const = 0;
  /// The URL without password, for people.
  virtual const std::string& address() const = 0;

  /// Connects (or takes a pooled session) and asks. Creates Assent's own table where it is missing and may be created.
  virtual Result<Probe> probe() = 0;

  /// Opens a branch on a pooled session, waiting for one until the deadline or the pool's own limit.
  virtual Result<std::unique_ptr<Branch>> start(const Xid& xid, const StartOptions& options) = 0;

  /// start()'s wait for a session, for who has no thread to wait with. Calls `then` once, with a place for
  /// StartOptions::place or with the failure that start() would answer: in this call, or later in whichever thread
  /// gives a session back, which `then` does not block. What is returned says that it waits. An adapter that does
  /// without waits in start() all the same, in a thread of the transaction manager's.
  using Placed = std::function<void(Result<std::shared_ptr<Place>>)>;
  virtual std::optional<PlaceWait> await_place(const StartOptions& options, Placed then) {
    static_cast<void>(options);
    const Placed placed = std::move(then);
    placed(std::shared_ptr<Place>());
    return std::nullopt;
  }

  /// Finish a prepared branch. ok is certain, and durable: adapters whose server can answer ok and do nothing, or roll
  /// back without forcing it, see to it themselves.
  /// not_found: no such prepared branch can be finished now. resource_failed: ask again later.
  virtual Reply commit(const Xid& xid, const FinishOptions& options) = 0;
  virtual Reply rollback(const Xid& xid, const FinishOptions& options) = 0;

  /// Every prepared branch the server lists, ours and foreign, in one question.
  virtual Result<std::vector<PreparedBranch>> recover() = 0;

  /// What became of a branch, from the witness. `evidence` is what Branch::evidence() said, or empty. What is answered
  /// is durable.
  virtual Result<Fate> fate(const Xid& xid, const std::string& evidence) = 0;

  /// After a one-phase commit whose reply was lost: makes the fate definite by writing the opposite under the same
  /// key. Answers committed or rolled_back, or a failure to be asked again.
  virtual Result<Fate> settle(const Xid& xid) = 0;

  /// Every row of commit_deciding(), and of settle() where that answered rolled_back, of all logs; what is answered is
  /// durable. forget() removes them. Only where Capabilities::decides.
  virtual Result<std::vector<KeptDecision>> decisions();

  /// True when no session can still bring a prepare or commit of this branch: proof, not an empty scan. With
  /// options.carrier_is_dead the session is ended if it is found. Not a question for who may still work in the branch:
  /// it may begin only with the first statement.
  virtual Result<bool> carrier_gone(const Xid& xid, const FinishOptions& options) = 0;

  /// The witnesses of these branches are needed no more. Best effort; in batches.
  virtual Reply forget(const std::vector<Xid>& finished) = 0;

  virtual Result<Impact> impact(const Xid& xid) = 0;

  /// Everything that would break two-phase commit, and what mends it. Connects on its own.
  virtual std::vector<Finding> examine() = 0;

 protected:
  ResourceManager() = default;
};

inline Result<std::vector<KeptDecision>> ResourceManager::decisions() {
  return Reply::not_done(Code::protocol_error, "this adapter cannot be a last resource");
}

}  // namespace assent
