#include "assent/tm/transaction_manager.h"

#include <utility>

#include "assent/tm/engine.h"
#include "assent/xa/error.h"
#include "assent/xa/machine.h"

namespace assent {

TransactionManager::TransactionManager(std::shared_ptr<detail::Engine> engine) : engine_(std::move(engine)) {}
TransactionManager::TransactionManager(TransactionManager&&) noexcept = default;
TransactionManager& TransactionManager::operator=(TransactionManager&&) noexcept = default;
TransactionManager::~TransactionManager() = default;

TransactionManager TransactionManager::open(const std::string& path, const Registry& adapters,
                                            std::shared_ptr<Observer> observer) {
  return open(load_config(path), adapters, std::move(observer));
}

TransactionManager TransactionManager::open(const Config& config, const Registry& adapters,
                                            std::shared_ptr<Observer> observer) {
  return TransactionManager(detail::Engine::open(config, adapters, std::move(observer)));
}

Transaction TransactionManager::begin(const TransactionOptions& options) {
  return Transaction(engine_, engine_->begin(options));
}

Outcome TransactionManager::run_attempts(const RunOptions& options, const std::function<void(Transaction&)>& work) {
  std::optional<std::chrono::steady_clock::time_point> deadline;
  if (options.deadline) deadline = steady_now() + *options.deadline;
  for (unsigned attempt = 1;; ++attempt) {
    std::optional<std::chrono::milliseconds> left;
    if (deadline) {
      left = std::chrono::ceil<std::chrono::milliseconds>(*deadline - steady_now());
      if (*left < std::chrono::milliseconds(0)) left = std::chrono::milliseconds(0);
    }
    const bool last = attempt >= options.attempts || (left && attempt > 1 && left->count() == 0);
    Transaction transaction = begin(
        {.deadline = left, .label = options.label, .ack_at = options.ack_at, .last_resource = options.last_resource});
    try {
      work(transaction);
    } catch (...) {
      const Outcome outcome = transaction.rollback();
      if (last || !outcome.worth_retrying()) throw;
      continue;
    }
    Outcome outcome = transaction.commit();
    if (last || !outcome.worth_retrying()) return outcome;
  }
}

Outcome TransactionManager::outcome(const TransactionId& id) {
  return engine_->outcome(id);
}

Outcome TransactionManager::wait(const TransactionId& id, std::optional<std::chrono::milliseconds> patience) {
  return engine_->wait(id, patience);
}

RecoveryReport TransactionManager::recover_now() {
  return engine_->recover_now();
}

DecisionLog::Counters TransactionManager::log_counters() const {
  return engine_->log().counters();
}

std::shared_ptr<ResourceManager> TransactionManager::find(std::string_view name) const {
  return engine_->find(name);
}

void TransactionManager::refuse_kind(std::string_view name, const char* kind) {
  throw Error(ErrorCode::misuse, "resource '" + std::string(name) + "' is not a " + kind + " database",
              "ask for it by the adapter that its URL names");
}

}  // namespace assent
