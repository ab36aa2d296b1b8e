#include <atomic>
#include <chrono>
#include <csignal>
#include <iostream>
#include <memory>

#include "assent/tm/config.h"
#include "assent/tm/transaction_manager.h"
#include "assent/tools/assent/command.h"
#include "assent/tools/assent/demo_bank.h"
#include "assent/tools/assent/setup.h"

namespace assent::tool {
namespace {

/// Ends the process as a power failure would, just before an effect of one transaction.
class SuddenDeath final : public Observer {
 public:
  explicit SuddenDeath(std::string before) : before_(std::move(before)) {}

  void arm() { armed_ = true; }
  void step(const Step& step) override {
    if (armed_ && !step.executed && step.verb == before_) std::raise(SIGKILL);
  }

 private:
  const std::string before_;
  std::atomic<bool> armed_ = false;
};

}  // namespace

Exit demo_child(const DemoChildOptions& options) {
  const Config config = load_config(options.config_path);
  std::vector<std::unique_ptr<Bank>> banks;
  for (const ResourceSpec& spec : config.resources) banks.push_back(open_bank(spec, options.tables));
  const auto death = std::make_shared<SuddenDeath>(options.die_before);
  TransactionManager manager = TransactionManager::open(config, all_adapters(), death);
  const int last = options.first_transfer + options.transfers - 1;
  for (int transfer = options.first_transfer; transfer <= last; ++transfer) {
    const std::int64_t amount = std::int64_t{10} * transfer;
    if (transfer == last && !options.die_before.empty()) death->arm();
    const Outcome outcome = manager.run(
        {.deadline = std::chrono::seconds(20),
         .label = "transfer " + std::to_string(transfer) + ": " + std::to_string(amount) + " from north to south"},
        [&](Transaction& transaction) {
          banks.at(0)->book(manager, transaction, transfer, -amount);
          banks.at(1)->book(manager, transaction, transfer, amount);
        });
    if (!outcome.committed()) {
      std::cerr << "assent: error: transfer " << transfer << ": " << outcome.text() << ' ' << outcome.reason() << '\n';
      return Exit::unreachable;
    }
  }
  return Exit::done;
}

}  // namespace assent::tool
