#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <vector>

#include "assent/adapters/scripted/null_resource.h"
#include "assent/adapters/scripted/scripted_resource.h"
#include "assent/tests/support/bare.h"
#include "assent/tm/transaction_manager.h"

namespace assent {
namespace {

TEST(BoundedLog, stays_small_over_a_million_transactions_while_one_branch_of_a_database_that_is_down_is_pending) {
  std::string pattern = (std::filesystem::temp_directory_path() / "assent-bounded-XXXXXX").string();
  const std::string directory = mkdtemp(pattern.data());
  const auto down = std::make_shared<ScriptedResource>("down", Identity{"scripted:down", ""});
  Config config;
  config.node = "bounded";
  config.log_directory = directory;
  config.threads = 8;
  config.recovery_interval = std::chrono::hours(24);
  for (const char* name : {"a", "b", "down"}) {
    ResourceSpec spec;
    spec.name = name;
    spec.url = ResourceUrl::parse(std::string("null://") + name + "/");
    config.resources.push_back(spec);
  }
  Registry registry;
  registry.add("null", [&](const ResourceSpec& spec) -> std::shared_ptr<ResourceManager> {
    if (spec.name == "down") return down;
    return std::make_shared<NullResource>(spec.name);
  });

  TransactionId pending;
  std::atomic<std::uint64_t> most{0};
  {
    auto tm = TransactionManager::open(config, registry);
    const auto a = tm.resource<Bare>("a");
    const auto b = tm.resource<Bare>("b");
    const auto c = tm.resource<Bare>("down");
    Transaction stuck = tm.begin();
    pending = stuck.id();
    stuck.on(a, [](Branch&) {});
    stuck.on(c, [](Branch&) {});
    down->answer(Verb::commit, Reply::unknown(Code::resource_failed, "down"));
    down->before(Verb::commit, [&](const Xid&) { down->set_down(true); });
    ASSERT_EQ(stuck.commit().pending(), std::vector<std::string>{"down"});

    constexpr int clients = 64;
    constexpr int each = 1'000'000 / clients;
    std::atomic<long> committed{0};
    std::vector<std::thread> threads;
    threads.reserve(clients);
    for (int client = 0; client < clients; ++client) {
      threads.emplace_back([&] {
        for (int i = 0; i < each; ++i) {
          Transaction transaction = tm.begin();
          transaction.on(a, [](Branch&) {});
          transaction.on(b, [](Branch&) {});
          if (transaction.commit().committed()) ++committed;
          if (i % 64 != 0) continue;
          const std::uint64_t now = tm.log_counters().bytes;
          for (std::uint64_t known = most; known < now && !most.compare_exchange_weak(known, now);) {
          }
        }
      });
    }
    for (auto& thread : threads) thread.join();
    EXPECT_EQ(committed, clients * each);
    EXPECT_EQ(tm.outcome(pending).kind(), OutcomeKind::committed);
  }
  EXPECT_LE(most.load(), std::uint64_t{2} * (4 << 20)) << "one segment, and the next one made in time";

  down->set_down(false);
  auto tm = TransactionManager::open(config, registry);
  static_cast<void>(tm.recover_now());
  EXPECT_TRUE(down->prepared().empty()) << "the decision was copied forward through every segment";
  EXPECT_EQ(down->count(Verb::finish_rollback), 0U);
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace assent
