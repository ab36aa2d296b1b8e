// The asynchronous interface over real servers: many more transactions than sessions or threads.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <stdexcept>

#include "assent/tests/integration/transactions/world.h"
#include "assent/tm/async.h"
#include "assent/xa/error.h"

namespace assent::testing {
namespace {

namespace asio = boost::asio;
using asio::use_awaitable;

class AsyncOverServers : public World, public ::testing::WithParamInterface<Server> {
 protected:
  void SetUp() override { set_up(GetParam()); }
  TransactionManager open_small() const {
    Config config = this->config();
    config.threads = 4;
    for (ResourceSpec& resource : config.resources) resource.pool_size = 4;
    return TransactionManager::open(config, registry());
  }
};

TEST_P(AsyncOverServers, many_transfers_in_one_thread_all_commit_and_no_money_is_lost) {
  constexpr int many = 40;
  auto tm = open_small();
  const auto ledger_handle = tm.resource<Postgres>("ledger");
  const auto shop_handle = tm.resource<MySql>("shop");
  const auto notes_handle = tm.resource<Sqlite>("notes");
  const long before[] = {ledger(), shop(), notes()};
  int committed = 0;
  const auto transfer = [&]() -> asio::awaitable<void> {
    Transaction tx = tm.begin({.deadline = std::chrono::minutes(5)});
    co_await tx.async_on(
        ledger_handle, [&](pqxx::transaction_base& sql) { add_to_ledger(sql, -3); }, use_awaitable);
    co_await tx.async_on(
        shop_handle, [&](sql::Connection& sql) { add_to_shop(sql, 2); }, use_awaitable);
    co_await tx.async_on(
        notes_handle, [&](sqlite3& sql) { add_to_notes(sql, 1); }, use_awaitable);
    const Outcome outcome = co_await tx.async_commit(use_awaitable);
    EXPECT_TRUE(outcome.committed()) << outcome.text();
    EXPECT_TRUE(outcome.pending().empty()) << outcome.text();
    ++committed;
  };
  asio::io_context context;
  for (int i = 0; i < many; ++i) asio::co_spawn(context, transfer(), asio::detached);
  context.run();
  EXPECT_EQ(committed, many);
  EXPECT_EQ(tm.log_counters().decisions, static_cast<std::uint64_t>(many));
  EXPECT_EQ(ledger() - before[0], -3 * many);
  EXPECT_EQ(shop() - before[1], 2 * many);
  EXPECT_EQ(notes() - before[2], many);
}

TEST_P(AsyncOverServers, what_the_database_refuses_comes_as_its_own_exception_and_nothing_is_left) {
  auto tm = open_small();
  const auto ledger_handle = tm.resource<Postgres>("ledger");
  const auto shop_handle = tm.resource<MySql>("shop");
  const long before[] = {ledger(), shop()};
  bool thrown = false;
  std::optional<Outcome> outcome;
  asio::io_context context;
  asio::co_spawn(
      context,
      [&]() -> asio::awaitable<void> {
        Transaction tx = tm.begin();
        co_await tx.async_on(
            shop_handle, [&](sql::Connection& sql) { add_to_shop(sql, 2); }, use_awaitable);
        try {
          co_await tx.async_on(
              ledger_handle, [](pqxx::transaction_base& sql) { sql.exec("SELECT 1 / 0"); }, use_awaitable);
        } catch (const pqxx::sql_error&) {
          thrown = true;
        }
        outcome = co_await tx.async_commit(use_awaitable);
      },
      asio::detached);
  context.run();
  EXPECT_TRUE(thrown);
  ASSERT_TRUE(outcome);
  EXPECT_EQ(outcome->kind(), OutcomeKind::rolled_back);
  EXPECT_EQ(ledger(), before[0]);
  EXPECT_EQ(shop(), before[1]);
}

INSTANTIATE_TEST_SUITE_P(Servers, AsyncOverServers, ::testing::Values(Server::mariadb, Server::mysql),
                         [](const auto& each) { return std::string(name(each.param)); });

}  // namespace
}  // namespace assent::testing
