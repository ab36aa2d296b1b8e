#pragma once

#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "assent/tm/outcome.h"
#include "assent/tm/transaction.h"

namespace assent::detail {

/// What tm/async.h asks of a transaction, without its tokens and Asio.
class AsyncCall {
 public:
  using Work = std::function<void(Transaction&, Branch&)>;
  using Done = std::function<void(std::exception_ptr)>;

  AsyncCall(std::shared_ptr<Engine> engine, std::shared_ptr<TransactionState> state)
      : engine_(std::move(engine)), state_(std::move(state)) {}

  /// Transaction::commit() or rollback(); `then` is called once, in whichever thread learns the outcome. Throws
  /// Error{misuse}, and then it is never called.
  void complete(bool commit, std::function<void(Outcome)> then) const;

  /// Transaction::on(): waits for a session without a thread, then works in one of the engine's; in this call, where
  /// the resource answers at once. `done` is called once, in whichever thread knows, perhaps in this call, with what
  /// on() would throw.
  void work(std::shared_ptr<ResourceManager> manager, const BranchOptions& options, Work work, Done done) const;

  template <class Adapter>
  static const std::shared_ptr<ResourceManager>& manager_of(const Resource<Adapter>& resource) {
    return resource.manager_;
  }
  template <class Adapter, class Work>
  static decltype(auto) run(Transaction& transaction, Branch& branch, Work&& work) {
    return transaction.run_on<Adapter>(branch, std::forward<Work>(work));
  }

 private:
  class Errand;

  std::shared_ptr<Engine> engine_;
  std::shared_ptr<TransactionState> state_;
};

}  // namespace assent::detail
