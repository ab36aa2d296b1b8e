#pragma once

#include <memory>
#include <optional>
#include <string>

#include "assent/adapters/pool.h"
#include "assent/adapters/postgres/native.h"
#include "assent/adapters/postgres/session.h"
#include "assent/xa/branch.h"

namespace assent::detail::postgres {

/// BEGIN with everything a branch needs, as one query string: isolation, read-only, the deadline, and as
/// application_name the branch's mark (carrier_name()), by which others find the session, and which tells that this
/// transaction is still the branch's.
std::string begin_text(const std::string& mark, const StartOptions& options);

/// A branch on a session.
///
/// Without a statement of the application's the branch's transaction begins only with the verb that ends it: a message
/// of its own, so that nothing a dead process has sent can both begin and prepare.
///
///     active ──end──▶ ended ──prepare──▶ prepared ──commit/rollback──▶ over
///        └──────────────┴──prepare (read-only, failed), commit_one_phase, rollback──▶ over
///     a lost answer ──▶ lost: the session is closed, never used again
class OpenBranch final : public Branch {
 public:
  using Lease = Pool<Session>::Lease;

  /// On a pooled session that is idle: it hears begin_text() with the application's first statement.
  OpenBranch(Lease lease, Xid xid, std::string mark, const StartOptions& options, bool witness);
  /// On a borrowed connection, in which begin_text() has succeeded; `borrowed` outlives the branch.
  OpenBranch(std::unique_ptr<Session> session, NativeConnection& borrowed, Xid xid, std::string mark,
             const StartOptions& options, bool witness);
  ~OpenBranch() override;

  const Xid& xid() const override { return xid_; }
  Reply end() override;
  Reply prepare() override;
  Reply commit_one_phase() override;
  Reply commit_deciding(const std::string& decision) override;
  Reply commit() override;
  Reply rollback() override;
  void send_ahead(Verb verb) override;
  Reply set_deadline(std::optional<std::chrono::steady_clock::time_point> deadline) override;
  std::string evidence() const override { return evidence_; }
  bool has_witness() const override { return has_row_; }

  /// What the application works with. Valid until end() or any later verb. Throws Error{misuse} when the branch is not
  /// active.
  Native& native();

 private:
  enum class State { active, ended, prepared, over, lost };

  Session& session() { return borrowed_ ? *borrowed_ : *lease_; }
  std::optional<Reply> refuse(bool allowed);
  void renew_opening();
  std::optional<Reply> check_before_end();
  std::string prepare_text() const;
  std::string commit_text() const;
  std::string timed_constraints() const;
  Reply commit_with(const std::string& row);
  Reply finish(Reply reply);
  Reply after_failure(const Answer& answer);
  void release_session();
  void close_native();

  const Xid xid_;
  const std::string mark_;
  const Isolation isolation_;
  const bool read_only_;
  const bool witness_;
  const ForkGuard process_;
  Lease lease_;
  std::unique_ptr<Session> borrowed_;
  NativeConnection* lender_ = nullptr;
  std::optional<std::chrono::steady_clock::time_point> deadline_;
  std::chrono::milliseconds granted_{0};
  Opening opening_;
  std::unique_ptr<Native> native_;
  State state_ = State::active;
  std::string evidence_;
  bool has_row_ = false;  ///< committed in one phase, which the log learns of when its row is swept
};

}  // namespace assent::detail::postgres
