// How often a transaction asks for memory: a count that does not depend on the machine, of what the processor does most
// on the way of a commit. A program of its own, for it replaces operator new.
#include <gtest/gtest.h>

#include <atomic>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "assent/adapters/scripted/null_resource.h"
#include "assent/tests/unit/tm/engine_fixture.h"
#include "assent/tm/async.h"

namespace {

thread_local std::size_t allocations = 0;
std::atomic<std::size_t> of_all_threads = 0;

}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
  ++of_all_threads;
  if (void* const memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}

void operator delete(void* memory) noexcept {
  std::free(memory);
}

void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace assent {
namespace {

class Allocations : public EngineFixture {
 protected:
  Allocations() {
    scripted_["a"] = std::make_shared<NullResource>("a");
    scripted_["b"] = std::make_shared<NullResource>("b");
  }
};

constexpr std::size_t transactions = 100;

TEST_F(Allocations, of_a_commit_of_two_branches_are_at_most_sixteen) {
  auto manager = TransactionManager::open(config(), registry());
  const Resource<Bare> a = manager.resource<Bare>("a");
  const Resource<Bare> b = manager.resource<Bare>("b");
  const auto commit = [&] {
    const Outcome outcome = manager.run([&](Transaction& transaction) {
      transaction.on(a, [](Branch&) {});
      transaction.on(b, [](Branch&) {});
    });
    ASSERT_TRUE(outcome.committed()) << outcome.text();
  };
  commit();  // both are admitted and noted
  const std::size_t before = allocations;
  for (std::size_t i = 0; i < transactions; ++i) commit();
  const std::size_t each = (allocations - before) / transactions;  // tables that grow meanwhile are rounded away
  EXPECT_LE(each, 16U);
  RecordProperty("allocations", static_cast<int>(each));
}

TEST_F(Allocations, of_an_asynchronous_one_are_at_most_twenty_five) {
  auto manager = TransactionManager::open(config(), registry());
  const Resource<Bare> a = manager.resource<Bare>("a");
  const Resource<Bare> b = manager.resource<Bare>("b");
  boost::asio::io_context context;
  const auto commit = [&] {
    Transaction transaction = manager.begin();
    const auto worked = [](const std::exception_ptr& failure) { ASSERT_FALSE(failure); };
    for (const Resource<Bare>& each : {a, b}) {
      transaction.async_on(
          each, [](Branch&) {}, boost::asio::bind_executor(context, worked));
      context.restart();
      context.run();
    }
    bool committed = false;
    transaction.async_commit(boost::asio::bind_executor(
        context, [&](const std::exception_ptr&, const Outcome& outcome) { committed = outcome.committed(); }));
    context.restart();
    context.run();
    ASSERT_TRUE(committed);
  };
  for (std::size_t i = 0; i < 10; ++i) commit();  // also what Asio keeps for later
  const std::size_t before = of_all_threads;
  for (std::size_t i = 0; i < transactions; ++i) commit();
  const std::size_t each = (of_all_threads - before) / transactions;
  EXPECT_LE(each, 25U);
  RecordProperty("allocations_async", static_cast<int>(each));
}

}  // namespace
}  // namespace assent
