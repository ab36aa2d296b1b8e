// What a transaction in flight costs in memory, beyond the sessions of the drivers.
#include <gtest/gtest.h>
#include <malloc.h>

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <memory>
#include <vector>

#include "assent/adapters/scripted/null_resource.h"
#include "assent/tests/unit/tm/engine_fixture.h"
#include "assent/tm/async.h"

namespace assent {
namespace {

constexpr std::size_t in_flight = 2000;
constexpr std::size_t most_bytes = 2048;

/// Stops the thread that writes the log, after its first decision.
class StopsTheLog : public Observer {
 public:
  void decided(const TransactionId&) override {
    if (!std::exchange(stopped_, true)) gate.pass();
  }
  Gate gate;

 private:
  bool stopped_ = false;
};

std::size_t bytes_in_use() {
  return ::mallinfo2().uordblks;
}

class Memory : public EngineFixture {
 protected:
  /// What these null resources keep for as many transactions of two branches: the drivers' own.
  static std::size_t bytes_of_branches(std::size_t transactions) {
    NullResource null("a");
    std::vector<std::unique_ptr<Branch>> branches;
    branches.reserve(2 * transactions);
    const std::size_t before = bytes_in_use();
    for (std::size_t i = 0; i < 2 * transactions; ++i) {
      branches.push_back(null.start(Xid::of({DeciderKind::log, LogId{1}, Incarnation{1}, i}, "a"), {}).value());
    }
    return bytes_in_use() - before;
  }

  Memory() {
    scripted_["a"] = std::make_shared<NullResource>("a");
    scripted_["b"] = std::make_shared<NullResource>("b");
  }
  static Transaction begin(TransactionManager& manager) {
    Transaction transaction = manager.begin({.label = "order 4711"});
    transaction.on(manager.resource<Bare>("a"), [](Branch&) {});
    transaction.on(manager.resource<Bare>("b"), [](Branch&) {});
    return transaction;
  }
};

TEST_F(Memory, of_a_transaction_that_is_open_or_waits_for_its_decision_is_at_most_two_kibibytes) {
  const auto stops = std::make_shared<StopsTheLog>();
  auto manager = TransactionManager::open(config(), registry(), stops);
  std::vector<Transaction> transactions;
  transactions.reserve(in_flight + 1);
  boost::asio::io_context context;
  std::size_t committed = 0;
  const auto commit = [&](Transaction& transaction) {
    transaction.async_commit(boost::asio::bind_executor(
        context,
        [&committed](const std::exception_ptr&, const Outcome& outcome) { committed += outcome.committed() ? 1 : 0; }));
  };
  transactions.push_back(begin(manager));
  commit(transactions.back());
  stops->gate.wait_for_call();

  const std::size_t of_the_branches = bytes_of_branches(in_flight);
  const std::size_t before = bytes_in_use() + of_the_branches;
  for (std::size_t i = 0; i < in_flight; ++i) transactions.push_back(begin(manager));
  const std::size_t open = bytes_in_use();
  for (std::size_t i = 1; i <= in_flight; ++i) commit(transactions[i]);
  const std::size_t waiting = bytes_in_use();
  EXPECT_LE((open - before) / in_flight, most_bytes);
  EXPECT_LE((waiting - before) / in_flight, most_bytes);
  RecordProperty("open", static_cast<int>((open - before) / in_flight));
  RecordProperty("waiting", static_cast<int>((waiting - before) / in_flight));
  stops->gate.open();
  context.run();
  EXPECT_EQ(committed, in_flight + 1);
}

}  // namespace
}  // namespace assent
