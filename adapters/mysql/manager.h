#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "assent/adapters/mysql/session.h"
#include "assent/adapters/mysql/settings.h"
#include "assent/adapters/mysql/watchdog.h"
#include "assent/adapters/mysql/witness.h"
#include "assent/adapters/pool.h"
#include "assent/xa/resource_manager.h"
#include "assent/xa/resource_url.h"

namespace assent::mysql {

/// See mysql.h. Branches hold a share of it, so its pools outlive their sessions.
class Manager final : public ResourceManager, public std::enable_shared_from_this<Manager> {
 public:
  explicit Manager(const ResourceSpec& spec);

  const std::string& name() const override { return settings_.resource; }
  const std::string& address() const override { return settings_.address; }
  Result<Probe> probe() override;
  Result<std::unique_ptr<Branch>> start(const Xid& xid, const StartOptions& options) override;
  std::optional<PlaceWait> await_place(const StartOptions& options, Placed then) override {
    return pool_.await_place(options.deadline, std::move(then));
  }
  Reply commit(const Xid& xid, const FinishOptions& options) override;
  Reply rollback(const Xid& xid, const FinishOptions& options) override;
  Result<std::vector<PreparedBranch>> recover() override;
  Result<Fate> fate(const Xid& xid, const std::string& evidence) override;
  Result<Fate> settle(const Xid& xid) override;
  Result<std::vector<KeptDecision>> decisions() override;
  Result<bool> carrier_gone(const Xid& xid, const FinishOptions& options) override;
  Reply forget(const std::vector<Xid>& finished) override;
  Result<Impact> impact(const Xid& xid) override;
  std::vector<Finding> examine() override;

  Result<std::unique_ptr<Branch>> adopt(sql::Connection& borrowed, const Xid& xid, const StartOptions& options);

  using SessionPool = Pool<Session>;
  const Settings& settings() const { return settings_; }
  const Witness& witness() const { return witness_; }
  Watchdog& watchdog() { return watchdog_; }
  /// What evidence() says: which database it was; empty until the first session.
  std::string evidence() const;

 private:
  enum class Verb { commit, rollback };
  /// A new session, of the same database as every other.
  Result<std::unique_ptr<Session>> connect();
  Result<std::unique_ptr<Session>> connect_for_recovery();
  std::optional<Reply> refuse_another_database(const std::string& id);
  Result<SessionPool::Lease> recovery_session();
  Reply finish(const Xid& xid, Verb verb, const FinishOptions& options);
  Reply finish_in_turn(Session& session, const Xid& xid, Verb verb, const std::optional<std::string>& owner,
                       const FinishOptions& options);
  /// Whose turn it is, and which session has the carrier's lock.
  struct Turn {
    bool mine = false;
    std::optional<std::string> owner;
  };
  Result<Turn> take_turn(Session& session, const Xid& xid) const;
  static bool end_turn(Session& session);
  std::optional<Reply> finish_at_once(Session& session, const Xid& xid, Verb verb, bool& clean);
  Reply await_owner(Session& session, const Xid& xid, const std::optional<std::string>& owner,
                    const FinishOptions& options);
  static std::optional<Reply> verdict_of(Witness::Row row, const Xid& xid, Verb verb);
  Reply check_finished(Session& session, const Xid& xid, Verb verb);
  Reply after_finish(Session& session, const Xid& xid, Verb verb, const Answer& answer, std::size_t witness_at);
  Answer force_rollback(Session& session, const Xid& xid) const;
  Reply forced(Session& session, const Xid& xid) const;
  Result<std::vector<PreparedBranch>> list(Session& session);
  /// Whether the server lists the branch as prepared; false also where this user may not ask.
  Result<bool> listed(Session& session, const Xid& xid);
  void note_free(const Xid& xid);
  bool free_long_enough(const Xid& xid);

  const Settings settings_;
  const Witness witness_;
  Watchdog watchdog_;
  SessionPool pool_;      ///< for branches
  SessionPool recovery_;  ///< for everything else: recovery never waits for the application's branches

  mutable std::mutex mutex_;
  std::string identity_;  ///< of the database that answered first; no other is ever used
  /// Since when a prepared branch is known to have no owner.
  std::map<Xid, std::chrono::steady_clock::time_point> free_since_;
};

/// Opens a branch on the session (in `lease`, or borrowed). On failure the session has been cleaned or closed.
Result<std::unique_ptr<Branch>> start_branch(std::shared_ptr<Manager> manager, Manager::SessionPool::Lease lease,
                                             std::unique_ptr<Session> borrowed, const Xid& xid,
                                             const StartOptions& options);
/// The application's session in a branch made by start_branch().
Session& session_of(Branch& branch);

/// Finds everything that would break two-phase commit.
std::vector<Finding> examine_server(Session& session, const Settings& settings, const Witness& witness);
Result<Impact> measure_impact(Session& session, const Settings& settings, const Witness& witness, const Xid& xid);

/// A row of XA RECOVER (MariaDB) or XA RECOVER CONVERT XID (MySQL). Nothing for what is not such a row.
std::optional<PreparedBranch> decode_recovered(const Row& row, bool mariadb);

}  // namespace assent::mysql
