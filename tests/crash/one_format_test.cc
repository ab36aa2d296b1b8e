// MySQL was seen to lose prepared branches at kill -9 when branches of several formats were prepared, with its binary
// log and without it, and never with one format (its bug 120125: it keeps them in a map whose order is none when
// formats differ). Assent has one format; this is the fact that it stands on. The names are Assent's own: they differ
// behind bytes that are zero only, where an order of text would end.
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "assent/tests/crash/world.h"

namespace assent::testing {
namespace {

class OneFormat : public ::testing::TestWithParam<Server> {};

TEST_P(OneFormat, loses_no_prepared_branch_at_kill_9_on_mysql) {
  const Server server = GetParam();
  std::optional<StopsAfter> stops;
  std::optional<RunsAgainAfter> again;
  if (server == Server::mysql_nobinlog) {
    stops.emplace(server);
  } else {
    again.emplace(server);
  }
  if (!url(server)) GTEST_SKIP() << no_mysql;
  Bank bank(server);
  const std::string& shop = bank.shop_url();
  ASSERT_EQ(Bank::on_mysql(shop, "SELECT @@log_bin"), server == Server::mysql ? "1" : "0");
  const int kills = long_run() ? 40 : 4;
  constexpr int branches = 12;
  for (int account = 1; account <= branches; ++account) bank.open_account(account);
  const LogId log{(std::uint64_t{std::random_device{}()} << 32U) | std::random_device{}()};

  for (int kill = 1; kill <= kills; ++kill) {
    SCOPED_TRACE("kill " + std::to_string(kill));
    std::vector<std::string> literals;
    std::vector<std::string> hexes;
    for (int i = 1; i <= branches; ++i) {
      const Xid xid =
          Xid::of({DeciderKind::log, log, Incarnation{static_cast<std::uint64_t>(kill)}, static_cast<std::uint64_t>(i)},
                  "shop");
      hexes.push_back(to_hex(xid.gtrid));
      literals.push_back("0x" + hexes.back() + ",0x" + to_hex(xid.bqual) + "," + std::to_string(xid.format_id));
      Bank::on_mysql(shop, std::vector<std::string>{
                               "XA START " + literals.back(),
                               "UPDATE " + bank.table() + " SET balance = balance + 1 WHERE id = " + std::to_string(i),
                               "XA END " + literals.back(), "XA PREPARE " + literals.back()});
      // A third of them is committed before the kill, so that prepares and commits stand mixed in the binary log.
      if (i % 3 == 0) Bank::on_mysql(shop, "XA COMMIT " + literals.back());
    }
    kill_9(server);
    start(server);
    const auto listed = Bank::listed_by_mysql(shop);
    for (int i = 1; i <= branches; ++i) {
      const auto index = static_cast<std::size_t>(i - 1);
      const bool is_listed =
          std::ranges::any_of(listed, [&](const auto& each) { return each.find(hexes[index]) != std::string::npos; });
      EXPECT_EQ(is_listed, i % 3 != 0) << "branch " << i;
      if (is_listed) Bank::on_mysql(shop, (i % 3 == 1 ? "XA COMMIT " : "XA ROLLBACK ") + literals[index]);
      EXPECT_EQ(bank.shop_balance(i), Bank::opening_balance + (i % 3 == 2 ? 0 : kill)) << "branch " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(On, OneFormat, ::testing::Values(Server::mysql, Server::mysql_nobinlog),
                         [](const auto& each) { return test_name(each.param); });

}  // namespace
}  // namespace assent::testing
