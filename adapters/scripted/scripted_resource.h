#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "assent/adapters/pool.h"
#include "assent/xa/resource_manager.h"

namespace assent {

/// The verbs of the contract; of Branch and of ResourceManager.
enum class Verb {
  start,
  end,
  prepare,
  commit_one_phase,
  commit_deciding,
  commit,    ///< Branch::commit
  rollback,  ///< Branch::rollback
  set_deadline,
  send_ahead,
  probe,
  finish_commit,    ///< ResourceManager::commit
  finish_rollback,  ///< ResourceManager::rollback
  recover,
  fate,
  settle,
  decisions,
  carrier_gone,
  forget,
};

std::string_view to_string(Verb verb);

/// A call that came to the resource.
struct Call {
  Verb verb = Verb::probe;
  Xid xid;  ///< empty gtrid where the verb has none
  FinishOptions options;
};

/// A place where a call stops until the test lets it go.
class Gate {
 public:
  /// Waits until a call stands at the gate.
  void wait_for_call();
  /// Lets that call, and every later one, pass.
  void open();
  /// The call's side.
  void pass();

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool reached_ = false;
  bool open_ = false;
};

/// A resource manager for tests of protocols. It stands for no database: what a database does is tested against that
/// database. It keeps branches in memory, answers what it is told to answer, and remembers what it was asked.
///
/// Without a script every verb succeeds and does what it says. Thread-safe. Branches must not outlive it.
class ScriptedResource : public ResourceManager {
 public:
  /// Whether a verb with a scripted answer takes effect.
  enum class Effect {
    as_certain,  ///< if the reply's certainty is `done`
    happens,     ///< also under a reply that was lost
  };

  explicit ScriptedResource(std::string name, Identity identity = {});

  // The script.
  void answer(Verb verb, Reply reply, Effect effect = Effect::as_certain);  ///< the next call of the verb; queued
  /// Runs before every call of the verb takes effect, in the caller's thread; may itself call the resource.
  void before(Verb verb, std::function<void(const Xid&)> what);
  std::shared_ptr<Gate> block(Verb verb);    ///< calls of the verb stop there
  void set_down(bool down);                  ///< every verb answers resource_failed
  void set_prepares_readers(bool prepares);  ///< a branch declared read-only is prepared like another
  void set_identity(Identity identity);
  void set_capabilities(const Capabilities& capabilities);
  /// Before the first start(): branches have one of so many sessions each, and wait for one.
  void set_sessions(std::size_t most);
  void set_evidence(std::string evidence);  ///< of branches started from now on

  // What the database holds.
  void add_prepared(const Xid& xid);       ///< also: a late prepare lands
  void add_listed(PreparedBranch listed);  ///< listed only; no verb finds it
  void lose(const Xid& xid);               ///< prepared no more, without a trace
  void set_fate(const Xid& xid, Fate fate);
  void keep_decision(const Xid& xid, std::string decision);  ///< as commit_deciding() leaves it
  void set_carrier(const Xid& xid, bool alive);              ///< alive: carrier_gone() answers false
  void set_carriers_linger(bool linger);  ///< carrier_gone() ends no session, though it is told that it may

  // What it was asked.
  std::vector<Call> calls() const;
  std::size_t count(Verb verb) const;
  std::size_t count(Verb verb, const Xid& xid) const;
  /// Calls of the verbs that may change something, one a line: "prepare l-…/ledger".
  std::vector<std::string> transcript() const;
  std::vector<Xid> prepared() const;
  std::optional<Fate> witness(const Xid& xid) const;
  std::size_t open_branches() const;  ///< started, and neither prepared nor over

  // ResourceManager
  const std::string& name() const override { return name_; }
  const std::string& address() const override { return address_; }
  Result<Probe> probe() override;
  Result<std::unique_ptr<Branch>> start(const Xid& xid, const StartOptions& options) override;
  std::optional<PlaceWait> await_place(const StartOptions& options, Placed then) override;
  Reply commit(const Xid& xid, const FinishOptions& options) override;
  Reply rollback(const Xid& xid, const FinishOptions& options) override;
  Result<std::vector<PreparedBranch>> recover() override;
  Result<Fate> fate(const Xid& xid, const std::string& evidence) override;
  Result<Fate> settle(const Xid& xid) override;
  Result<std::vector<KeptDecision>> decisions() override;
  Result<bool> carrier_gone(const Xid& xid, const FinishOptions& options) override;
  Reply forget(const std::vector<Xid>& finished) override;
  Result<Impact> impact(const Xid& xid) override;
  std::vector<Finding> examine() override { return {}; }

 private:
  friend class ScriptedBranch;
  struct Session {};
  struct Answer {
    Reply reply;
    bool happens = true;
  };

  Answer called(Verb verb, const Xid& xid, const FinishOptions& options = {});
  Reply finish(Verb verb, const Xid& xid, const FinishOptions& options, Fate fate);

  const std::string name_;
  const std::string address_;

  mutable std::mutex mutex_;
  Identity identity_;
  Capabilities capabilities_;
  std::string evidence_;
  bool down_ = false;
  bool prepares_readers_ = false;
  std::map<Verb, std::deque<Answer>> script_;
  std::map<Verb, std::function<void(const Xid&)>> before_;
  std::map<Verb, std::shared_ptr<Gate>> gates_;
  std::vector<Call> calls_;
  std::set<Xid> prepared_;
  std::set<Xid> open_;
  std::vector<PreparedBranch> listed_only_;
  std::map<Xid, Fate> witness_;
  std::map<Xid, std::string> decisions_;  ///< of commit_deciding()
  bool carriers_linger_ = false;
  std::set<Xid> carriers_;
  std::unique_ptr<Pool<Session>> sessions_;  ///< none: as many as are wanted
};

}  // namespace assent
