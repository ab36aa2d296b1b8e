#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "assent/tests/simulation/ledger.h"
#include "assent/tests/simulation/scheduler.h"
#include "assent/tests/simulation/trace.h"
#include "assent/xa/resource_manager.h"

namespace assent::simulation {

enum class Kind { postgres, mysql, mariadb, sqlite };
std::string_view to_string(Kind kind);

/// What goes wrong between a client and this server, of 1000 times.
struct Manners {
  std::uint64_t loses_request = 0;
  std::uint64_t loses_reply = 0;
  std::uint64_t is_slow = 0;          ///< seconds instead of a millisecond
  std::uint64_t refuses_prepare = 0;  ///< a constraint, a serialization failure, PostgreSQL's silent ROLLBACK
  std::uint64_t denies_branch = 0;    ///< "no such branch", though it is prepared
  std::uint64_t hides_branch = 0;     ///< MariaDB: OK to a finish that met the leaving owner, and nothing done
  std::uint64_t ends_slowly = 0;      ///< asked to end a session, it is at it for seconds, and says so
  std::uint64_t loses_prepared = 0;   ///< MySQL with its binary log: at a crash
};

/// One thing that goes wrong, once, at the `number`-th message to this server (from 1).
struct Mishap {
  enum class Kind { none, loses_request, loses_reply, denies_branch, hides_branch };
  Kind kind = Kind::none;
  std::uint64_t number = 0;
};

/// How long the answers to each phase take: their order, in a small world.
struct Pace {
  Time prepare{0};
  Time finish{0};
};

/// What the adapter hears.
struct Answer {
  Reply reply;
  Fate fate = Fate::unknown;
  bool yes = false;
  std::vector<PreparedBranch> list;
  std::vector<KeptDecision> kept;
};

/// A database server as its adapter sees it: prepared branches that survive it, sessions that do not, and the manners
/// of the real ones that were measured (FACTS of each product, docs/adapters.md). All of it belongs to the world.
class Database {
 public:
  Database(Scheduler& scheduler, Ledger& ledger, Trace& trace, Kind kind, std::string name);

  Kind kind() const { return kind_; }
  const std::string& name() const { return name_; }
  const std::string& identity() const { return identity_; }
  bool is_up() const { return up_; }
  Manners manners;
  Mishap mishap;
  Pace pace;
  /// Asked to prepare, it rolls back.
  bool refuses = false;
  std::uint64_t messages() const { return messages_; }
  std::uint64_t faults() const { return faults_; }

  // By the world.

  void crash();
  void start();
  /// Every session of the process is lost; the server notices each in its own time.
  void cut(const Process& process);
  /// The same, and nobody waits for answers any more.
  void client_died(const Process& process);
  /// The server notices now whatever it has not noticed yet.
  void notice_all();
  /// The next decision travels for seconds, and meanwhile this happens to the process that sent it.
  void lie_in_wait(std::function<void(std::int64_t pid)> ambush) { ambush_ = std::move(ambush); }
  /// A branch of nobody in this world: another format, or another log.
  void add_bystander(const Xid& xid);
  bool bystanders_untouched() const;
  /// As a dump restored later has it. What was done since is undone, and excused.
  void remember();
  void restore();
  /// This server's data in a new database.
  void clone_from(const Database& other);
  struct Left {
    Xid xid;
    bool prepared = false;
  };
  /// Ours that are not over.
  std::vector<Left> left() const;
  /// Decisions that it keeps as a last resource, and bars.
  std::size_t rows() const;

  // From a thread of a process: blocks.

  std::uint64_t open_session(int node);
  void close_session(std::uint64_t session);
  Answer ask(std::uint64_t session, std::function<Answer()> at_server) {
    return take(send(session, std::move(at_server)));
  }
  /// The same in two halves; the first does not block.
  std::uint64_t send(std::uint64_t session, std::function<Answer()> at_server, bool decides = false);
  Answer take(std::uint64_t call);

  // At the server.

  Answer begin(const Xid& xid, std::uint64_t session, bool read_only);
  Answer prepare(const Xid& xid);
  Answer commit_one_phase(const Xid& xid) { return commit_alone(xid, {}); }
  Answer commit_deciding(const Xid& xid, const std::string& decision) { return commit_alone(xid, decision); }
  /// By the session that prepared it.
  Answer finish_own(const Xid& xid, bool commit);
  Answer finish(const Xid& xid, bool commit, bool carrier_is_dead, int node);
  Answer list();
  Answer fate(const Xid& xid, bool with_evidence);
  Answer settle(const Xid& xid);
  Answer decisions();
  Answer carrier_gone(const Xid& xid, bool carrier_is_dead);
  Answer forget(const std::vector<Xid>& xids);

 private:
  enum class State { active, prepared, committed, rolled_back };
  struct Row {
    bool witness = false;  ///< of a commit
    std::string decision;  ///< in it, of a last resource
    bool bar = false;      ///< the opposite: the branch can never commit by itself
    bool is_empty() const { return !witness && !bar; }
  };
  struct Branch {
    Xid xid;
    State state = State::active;
    bool read_only = false;
    bool hidden = false;
    Row row;
    Row removed;  ///< the last that was, and when
    Time removed_at{-1s};
    bool bystander = false;
    std::uint64_t session = 0;  ///< 0: none carries it
  };
  struct Session {
    std::int64_t pid = 0;
    int node = 0;
    bool gone = false;      ///< the client thinks so; the server has not noticed
    Time hears_until{0};    ///< what was sent before comes before the end
    bool stubborn = false;  ///< nor can it be ended from outside before
  };
  struct Call {
    Ticket caller;
    std::int64_t pid = 0;
    bool awaited = false;
    bool answered = false;
    Answer answer;
  };

  /// True when the mishap is this, and now; or the dice want it.
  bool goes_wrong(Mishap::Kind kind, std::uint64_t per_mille);
  void say(const std::string& what);
  void fault(const std::string& what);
  void lose(std::uint64_t session);
  void end_session(std::uint64_t session);
  Answer commit_alone(const Xid& xid, const std::string& decision);
  void end_branch(Branch& branch, bool commit);
  void answer(std::uint64_t call, Answer what, Time delay);
  /// By its name without decider, as witnesses and carriers go by.
  Branch* find(const Xid& xid);
  /// The same, of that full name only, as prepared branches go by.
  Branch* find_exactly(const Xid& xid);
  bool carried(const Branch& branch) const { return branch.session != 0 && sessions_.contains(branch.session); }

  Scheduler& scheduler_;
  Ledger& ledger_;
  Trace& trace_;
  const Kind kind_;
  const std::string name_;
  const std::string identity_;
  bool up_ = true;
  std::map<Xid, Branch> branches_;  ///< by Xid::undecided()
  std::map<Xid, Branch> remembered_;
  std::map<std::uint64_t, Session> sessions_;
  std::map<std::uint64_t, Call> calls_;
  std::function<void(std::int64_t pid)> ambush_;
  std::uint64_t next_ = 1;
  std::uint64_t faults_ = 0;
  std::uint64_t messages_ = 0;
  Time delay_{0};  ///< of the answer that is being made
};

}  // namespace assent::simulation
