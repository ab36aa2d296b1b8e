#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "assent/adapters/pool.h"
#include "assent/adapters/postgres/native.h"
#include "assent/adapters/postgres/session.h"
#include "assent/adapters/postgres/settings.h"
#include "assent/xa/fork_guard.h"
#include "assent/xa/resource_manager.h"
#include "assent/xa/resource_url.h"

namespace assent::detail::postgres {

/// A PostgreSQL database as a resource manager. Branches and recovery have sessions of their own (at most pool_size,
/// and at most control_sessions): applications that hold every session of the pool cannot keep recovery from finishing
/// what they wait for.
class Resource final : public ResourceManager {
 public:
  static constexpr std::size_t control_sessions = 8;

  explicit Resource(const ResourceSpec& spec);

  const std::string& name() const override { return name_; }
  const std::string& address() const override { return settings_.address; }
  Result<Probe> probe() override;
  Result<std::unique_ptr<Branch>> start(const Xid& xid, const StartOptions& options) override;
  std::optional<PlaceWait> await_place(const StartOptions& options, Placed then) override {
    return branches_.await_place(options.deadline, std::move(then));
  }
  Result<std::unique_ptr<Branch>> adopt(NativeConnection& borrowed, const Xid& xid, const StartOptions& options);
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

 private:
  using Lease = Pool<Session>::Lease;
  /// A new session, to the same database as every one before it: a name that leads elsewhere meanwhile (a failover to
  /// another cluster, a restored copy under another identifier) must not take branches of the first.
  Result<std::unique_ptr<Session>> connect();
  /// One that tells what its application_name is.
  Result<std::unique_ptr<Session>> connect_for_branches();
  /// Runs `ask` on a control session; once more on a fresh one if the session turns out to be dead and `again` allows
  /// it.
  Reply with_session(const std::function<Reply(Session&)>& ask, bool again);
  Reply finish(const char* verb, const Xid& xid);

  const std::string name_;
  const Settings settings_;
  const std::size_t pool_size_;
  const ForkGuard process_;
  std::mutex identity_mutex_;
  Identity identity_;  ///< of the first session; empty before it
  Pool<Session> branches_;
  Pool<Session> control_;
  /// Set by probe(): the witness table can be used. A branch remembers what it was when the branch began.
  std::atomic<bool> witness_{false};
};

}  // namespace assent::detail::postgres
