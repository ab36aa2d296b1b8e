#pragma once

#include <chrono>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "assent/tm/outcome.h"
#include "assent/tm/resource.h"
#include "assent/xa/branch.h"
#include "assent/xa/error.h"

namespace assent {

namespace detail {
class AsyncCall;
class Engine;
struct TransactionState;
}  // namespace detail

struct TransactionOptions {
  /// From begin() to the decision; travels into the databases' statement and lock timeouts. Prepare and phase two are
  /// never cut off by it.
  std::optional<std::chrono::milliseconds> deadline = {};
  std::string label = {};            ///< for every listing; at most 256 bytes
  std::optional<AckAt> ack_at = {};  ///< the configuration's, when not said
  /// The resource that decides: it is not prepared, but commits last, with the decision as a row in its own
  /// transaction, and the log is not written. Empty: the log decides. The configuration's, when not said.
  std::optional<std::string> last_resource = {};
};

struct BranchOptions {
  Isolation isolation = Isolation::database_default;
  bool read_only = false;  ///< declared, and held to it by the database: costs no forced write

  bool operator==(const BranchOptions&) const = default;
};

/// One global transaction. Movable; destroyed undecided it rolls back. Different resources may be used from different
/// threads, one resource by one thread at a time; commit() and rollback() when all of them are done.
///
/// MySQL and MariaDB note: a failed statement does not end the transaction there. on() makes the transaction
/// rollback-only when an exception leaves the work, so that the earlier statements are never committed alone; work that
/// catches a statement's exception itself decides to commit the rest.
class Transaction {
 public:
  Transaction(Transaction&&) noexcept;
  Transaction& operator=(Transaction&&) noexcept;
  ~Transaction();

  const TransactionId& id() const;

  /// Runs `work` on the resource's native session, in this transaction's branch there, and returns what it returns. An
  /// exception that leaves it makes the transaction rollback-only and goes on to the caller. Throws Error when the
  /// branch cannot be opened (resource_down, resource_unfit, too_late), and then too it can only be rolled back. Where
  /// the branch begins with the first statement (PostgreSQL), that fails instead, as statements do.
  template <class Adapter, class Work>
  decltype(auto) on(const Resource<Adapter>& resource, Work&& work) {
    return run_on<Adapter>(enlist(resource.manager_, std::nullopt), std::forward<Work>(work));
  }
  /// The same with options for the branch, which are set when the transaction first comes to the resource.
  template <class Adapter, class Work>
  decltype(auto) on(const Resource<Adapter>& resource, const BranchOptions& options, Work&& work) {
    return run_on<Adapter>(enlist(resource.manager_, options), std::forward<Work>(work));
  }

  /// The branch runs on the caller's own connection: borrowed until commit() or rollback() returns, and proven idle
  /// before and after. Afterwards on() hands it out.
  template <class Adapter>
  void adopt(const Resource<Adapter>& resource, typename Adapter::Connection& connection,
             const BranchOptions& options = {}) {
    enlist_with(resource.manager_, options, true, [&](const Xid& xid, const StartOptions& start) {
      return Adapter::adopt(*resource.manager_, connection, xid, start);
    });
  }

  /// From now on only rollback is possible.
  void set_rollback_only(const std::string& reason);

  /// Decides. Never throws for what databases or the log do: that is in the outcome. Throws Error{misuse} when the
  /// transaction is over already. When memory ends in between, the process ends (std::terminate), and recovery settles
  /// the transaction as after any other crash.
  Outcome commit();
  Outcome rollback();

  // The same without a thread that waits, for any completion token of Asio: see tm/async.h, which defines them.

  template <class Token>
  auto async_commit(Token&& token);
  template <class Token>
  auto async_rollback(Token&& token);
  template <class Adapter, class Work, class Token>
  auto async_on(const Resource<Adapter>& resource, Work&& work, Token&& token);
  template <class Adapter, class Work, class Token>
  auto async_on(const Resource<Adapter>& resource, const BranchOptions& options, Work&& work, Token&& token);
  /// For those four, and for who has no Asio.
  detail::AsyncCall async_call() const;

 private:
  friend class TransactionManager;
  friend class detail::AsyncCall;
  using TimePoint = std::chrono::steady_clock::time_point;
  using Starter = std::function<Result<std::unique_ptr<Branch>>(const Xid&, const StartOptions&)>;

  Transaction(std::shared_ptr<detail::Engine> engine, std::shared_ptr<detail::TransactionState> state);

  Branch& enlist(const std::shared_ptr<ResourceManager>& manager, const std::optional<BranchOptions>& options);
  Branch& enlist_with(const std::shared_ptr<ResourceManager>& manager, const BranchOptions& options, bool borrowed,
                      const Starter& starter, std::optional<TimePoint> waits_since = std::nullopt);
  void refuse_more_branches() const;
  [[noreturn]] void no_branch(const ResourceManager& manager, const Reply& reply);
  void work_failed(const std::exception* failure, Code code);

  template <class Adapter, class Work>
  decltype(auto) run_on(Branch& branch, Work&& work) {
    try {
      return std::forward<Work>(work)(Adapter::session(branch));
    } catch (const std::exception& failure) {
      Code code = Code::rb_other;
      // An adapter that knows its driver's exceptions tells which are worth another try.
      if constexpr (requires { Adapter::classify(failure); }) code = Adapter::classify(failure);
      work_failed(&failure, code);
      throw;
    } catch (...) {
      work_failed(nullptr, Code::rb_other);
      throw;
    }
  }

  std::shared_ptr<detail::Engine> engine_;
  std::shared_ptr<detail::TransactionState> state_;
};

}  // namespace assent
