#pragma once

#include <memory>
#include <optional>
#include <string>

#include "assent/adapters/pool.h"
#include "assent/adapters/sqlite/session.h"
#include "assent/xa/branch.h"

namespace assent::sqlite {

/// Ends a branch that is in doubt, on a session whose file this process holds exclusively: the owner's or, after a
/// crash, anybody's. Gives the lock back when the branch is over, and keeps it when it is not.
Reply finish_in_doubt(Session& session, const Xid& xid, bool commit);

/// A branch on a connection of its own: pooled or borrowed.
///
///   active ──prepare──> prepared ──commit, rollback──> over
///     └───────commit_one_phase, rollback, a failed prepare (rb_…)───────^
///
/// What a crash leaves: active — SQLite's own journal, undone by whoever opens the file; prepared — database_place.h.
class SqliteBranch final : public Branch {
 public:
  /// Begins the transaction. `lease` is empty for a borrowed session. `lock_wait` bounds waits for locks that have no
  /// deadline.
  static Result<std::unique_ptr<Branch>> start(Pool<Session>::Lease lease, std::unique_ptr<Session> borrowed,
                                               const Xid& xid, const StartOptions& options,
                                               std::chrono::milliseconds lock_wait);
  ~SqliteBranch() override;

  bool is_open() const { return state_ != State::over; }
  sqlite3& connection() { return session().connection(); }

  const Xid& xid() const override { return xid_; }
  Reply end() override;
  Reply prepare() override;
  Reply commit_one_phase() override { return commit_alone(nullptr); }
  Reply commit_deciding(const std::string& decision) override { return commit_alone(&decision); }
  Reply commit() override;
  Reply rollback() override;
  Reply set_deadline(std::optional<TimePoint> deadline) override;
  std::string evidence() const override { return {}; }

 private:
  enum class State { active, prepared, over };

  SqliteBranch(Pool<Session>::Lease lease, std::unique_ptr<Session> borrowed, const Xid& xid,
               const StartOptions& options, std::chrono::milliseconds lock_wait);

  Session& session() { return borrowed_ ? *borrowed_ : *lease_; }
  Reply begin();
  /// Nothing if a verb for the needed state may go on.
  std::optional<Reply> refuse_verb(State needed);
  /// Nothing if the transaction that start() began is still the one that is open and can be ended.
  std::optional<Reply> refuse_to_end();
  std::optional<Reply> check_still_ours();
  bool holds_new_pages();
  Reply commit_alone(const std::string* decision);
  Reply end_read_only();
  Reply failed_to_end(int code);
  TimePoint until() const;
  void stop_work();
  void roll_back_open();
  void give_back();

  Pool<Session>::Lease lease_;
  std::unique_ptr<Session> borrowed_;
  const Xid xid_;
  std::optional<TimePoint> deadline_;
  const bool read_only_;
  const std::chrono::milliseconds lock_wait_;
  State state_ = State::active;
  std::uint64_t ends_at_start_ = 0;
};

}  // namespace assent::sqlite
