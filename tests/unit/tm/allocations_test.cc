// How often a transaction asks for memory: a count that does not depend on the machine, of what the processor does most
// on the way of a commit. A program of its own, for it replaces operator new.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdlib>
#include <memory>
#include <new>

#include "assent/adapters/scripted/null_resource.h"
#include "assent/tests/unit/tm/engine_fixture.h"

namespace {

thread_local std::size_t allocations = 0;

}  // namespace

void* operator new(std::size_t size) {
  ++allocations;
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

TEST_F(Allocations, of_a_commit_of_two_branches_are_at_most_twenty_five) {
  constexpr std::size_t most = 25;
  constexpr std::size_t transactions = 100;
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
  EXPECT_LE(allocations - before, most * transactions);
  RecordProperty("allocations", static_cast<int>((allocations - before) / transactions));
}

}  // namespace
}  // namespace assent
