#pragma once

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "assent/adapters/pool.h"
#include "assent/adapters/sqlite/session.h"
#include "assent/xa/fork_guard.h"
#include "assent/xa/resource_manager.h"
#include "assent/xa/resource_url.h"

namespace assent::sqlite {

/// One SQLite database file as a resource. The pool is for branches; everything that recovery asks uses a connection
/// of its own, opened for the question, so it needs neither a free session nor a healthy one.
class SqliteManager final : public ResourceManager {
 public:
  /// Throws Error{configuration} on a URL that names no file.
  explicit SqliteManager(const ResourceSpec& spec);

  const std::string& name() const override { return name_; }
  const std::string& address() const override { return address_; }
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

  Result<std::unique_ptr<Branch>> adopt(sqlite3& borrowed, const Xid& xid, const StartOptions& options);

 private:
  Result<std::unique_ptr<Session>> open();
  Result<std::unique_ptr<Session>> open_for_branch();
  Result<std::unique_ptr<Branch>> start_pooled(const Xid& xid, const StartOptions& options);
  /// Once for this resource: file system, tables, identifier.
  std::optional<Reply> make_ready(Session& session);
  std::optional<Reply> refuse_xid(const Xid& xid) const;
  Reply finish(const Xid& xid, bool commit);
  /// The exclusive lock of a file in doubt. Retries shortly: a reader that was turned away holds a lock for a moment.
  int lock_for_recovery(Session& session) const;
  TimePoint lock_deadline() const;

  const std::string name_;
  const std::string address_;
  Settings settings_;
  const std::chrono::milliseconds lock_wait_;
  std::mutex mutex_;
  bool ready_ = false;
  std::optional<ForkGuard> opened_in_;
  Pool<Session> pool_;
};

}  // namespace assent::sqlite
