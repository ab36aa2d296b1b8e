// MySQL with its binary log on was seen to lose prepared branches at kill -9 when branches of several formats were in
// one binary log, and never with one format. Assent has one format; this is the fact that it stands on.
#include <gtest/gtest.h>

#include <algorithm>

#include "assent/tests/crash/world.h"

namespace assent::testing {
namespace {

TEST(OneFormat, mysql_with_its_binary_log_loses_no_prepared_branch_at_kill_9) {
  if (!url(Server::mysql)) GTEST_SKIP() << no_mysql;
  Bank bank(Server::mysql);
  const std::string& shop = bank.shop_url();
  ASSERT_EQ(Bank::on_mysql(shop, "SELECT @@log_bin"), "1");
  const RunsAgainAfter again(Server::mysql);
  const int kills = long_run() ? 40 : 4;
  constexpr int branches = 12;
  for (int account = 1; account <= branches; ++account) bank.open_account(account);

  for (int kill = 1; kill <= kills; ++kill) {
    SCOPED_TRACE("kill " + std::to_string(kill));
    std::vector<std::string> literals;
    std::vector<std::string> hexes;
    for (int i = 1; i <= branches; ++i) {
      const std::string gtrid = bank.table() + '-' + std::to_string(kill) + '-' + std::to_string(i) + '.';
      hexes.push_back(to_hex(gtrid));
      literals.push_back("0x" + hexes.back() + ",0x01," + std::to_string(Xid::assent_format));
      Bank::on_mysql(shop, std::vector<std::string>{
                               "XA START " + literals.back(),
                               "UPDATE " + bank.table() + " SET balance = balance + 1 WHERE id = " + std::to_string(i),
                               "XA END " + literals.back(), "XA PREPARE " + literals.back()});
      // A third of them is committed before the kill, so that prepares and commits stand mixed in the binary log.
      if (i % 3 == 0) Bank::on_mysql(shop, "XA COMMIT " + literals.back());
    }
    kill_9(Server::mysql);
    start(Server::mysql);
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

}  // namespace
}  // namespace assent::testing
