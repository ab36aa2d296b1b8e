// Recovery in a loop beside a load, among branches that are none of its business. It must touch none of them.
#include <gtest/gtest.h>

#include <algorithm>
#include <csignal>

#include "assent/tests/crash/world.h"

namespace assent::testing {
namespace {

/// Branches of strangers, prepared by hand; taken away at the end.
class Strangers {
 public:
  Strangers(Bank& bank, const TransactionId& ours, const TransactionId& other_log) : bank_(bank) {
    bank.open_account(101);
    bank.open_account(102);
    bank.open_account(103);
    const std::string own = bank.table();
    prepare_in_postgres(bank.ledger_url(), "stranger " + own, "UPDATE " + own + " SET balance = 1 WHERE id = 101");
    // In pgjdbc's convention, of another format.
    prepare_in_postgres(bank.ledger_url(), to_gid({1, own, "ledger"}),
                        "UPDATE " + own + " SET balance = 1 WHERE id = 102");
    prepare_in_postgres(bank.ledger_url(), to_gid(Xid::of(other_log, "ledger")),
                        "UPDATE " + own + " SET balance = 1 WHERE id = 103");
    // The very branch that recovery would roll back, had it been prepared in its own database.
    second_url_ = bank.ledger_url();
    second_url_.replace(second_url_.rfind("/assent_test"), std::string::npos, "/assent_test2");
    Bank::on_postgres(second_url_, "CREATE TABLE " + own + " (id int)");
    prepare_in_postgres(second_url_, to_gid(Xid::of(ours, "ledger")), "INSERT INTO " + own + " VALUES (1)");

    prepare_in_mysql(Xid::of(other_log, "shop"), 103);
    // Of our format, but no transaction's name.
    prepare_in_mysql({Xid::assent_format, "x" + own, "shop"}, 102);
    // A MySQL server can lose branches at a kill when formats are mixed, so not on the one that other tests kill.
    if (bank.shop() != Server::mysql) {
      EXPECT_EQ(Bank::on_mysql(bank.shop_url(), "SELECT @@log_bin"), "0");
      prepare_in_mysql({1, own, "shop"}, 101);
    }
    prepared_ = listed();
  }
  ~Strangers() {
    try {
      for (const auto& [url, gid] : gids_) Bank::on_postgres(url, "ROLLBACK PREPARED '" + gid + "'");
      for (const std::string& xid : xids_) Bank::on_mysql(bank_.shop_url(), "XA ROLLBACK " + xid);
      Bank::on_postgres(second_url_, "DROP TABLE " + bank_.table());
    } catch (const std::exception& error) {
      ADD_FAILURE() << error.what();
    }
  }
  Strangers(const Strangers&) = delete;
  Strangers& operator=(const Strangers&) = delete;

  std::size_t count() const { return gids_.size() + xids_.size(); }
  const std::vector<std::string>& prepared() const { return prepared_; }

  /// Those of them that are prepared now.
  std::vector<std::string> listed() const {
    std::vector<std::string> out;
    for (const auto& [url, gid] : gids_) {
      if (Bank::on_postgres(url, "SELECT count(*) FROM pg_prepared_xacts WHERE gid = '" + gid + "'") == "1") {
        out.push_back(gid);
      }
    }
    const auto now = Bank::listed_by_mysql(bank_.shop_url());
    for (const std::string& gtrid : gtrids_) {
      // MariaDB lists what is printable as it is, all else in hex. One name may end like another.
      const std::string hex = to_hex(gtrid);
      if (std::ranges::any_of(now, [&](const auto& each) {
            return each.starts_with("0x" + hex) || each.starts_with("x'" + hex + "'") ||
                   each.starts_with("'" + gtrid + "'");
          })) {
        out.push_back(to_hex(gtrid));
      }
    }
    return out;
  }

 private:
  void prepare_in_postgres(const std::string& url, const std::string& gid, const std::string& work) {
    Bank::on_postgres(url, "BEGIN; " + work + "; PREPARE TRANSACTION '" + gid + "'");
    gids_.emplace_back(url, gid);
  }
  void prepare_in_mysql(const Xid& xid, int account) {
    const std::string literal =
        "0x" + to_hex(xid.gtrid) + ",0x" + to_hex(xid.bqual) + ',' + std::to_string(xid.format_id);
    Bank::on_mysql(
        bank_.shop_url(),
        std::vector<std::string>{"XA START " + literal,
                                 "UPDATE " + bank_.table() + " SET balance = 1 WHERE id = " + std::to_string(account),
                                 "XA END " + literal, "XA PREPARE " + literal});
    xids_.push_back(literal);
    gtrids_.push_back(xid.gtrid);
  }

  Bank& bank_;
  std::string second_url_;
  std::vector<std::pair<std::string, std::string>> gids_;
  std::vector<std::string> xids_;
  std::vector<std::string> gtrids_;
  std::vector<std::string> prepared_;
};

class Bystanders : public ::testing::TestWithParam<Server> {};

TEST_P(Bystanders, are_never_touched_by_recovery_beside_a_load) {
  std::optional<StopsAfter> stops;
  if (GetParam() == Server::mysql_nobinlog) stops.emplace(GetParam());
  if (!url(GetParam())) GTEST_SKIP() << no_mysql;
  Bank bank(GetParam());
  World world(bank, 1);
  World elsewhere(bank, 2);
  bank.open_account(3);
  bank.open_account(4);

  // A transaction of this node whose process is gone before it prepared anything.
  TransactionId ours;
  {
    const auto dead = world.start();
    ours = TransactionId::from_text(id_in(dead->ask("hold all 1", "held"))).value();
    dead->kill_9();
  }
  // Prepared, and its process alive: on another node; on this node; and on this node, but hanging.
  const auto stop_prepared = [](World& of, int account) {
    World::Setting setting = of.setting();
    setting.account = account;
    auto worker = of.start(setting);
    worker->say("at prepare ledger after last 1 stop");
    worker->say("transfer pair 7");
    worker->hear("at point");
    return worker;
  };
  const auto on_another_node = stop_prepared(elsewhere, 2);
  const auto alive = stop_prepared(world, 3);
  const auto hanging = stop_prepared(world, 4);
  hanging->signal(SIGSTOP);
  hanging->await_stop();

  const auto loaded = world.start();
  const auto recovering = world.start();
  EXPECT_TRUE(eventually([&] { return world.balances().has_value(); })) << world.describe();
  const LogId unknown{static_cast<std::uint64_t>(*elsewhere.logs().begin()) ^ 1U};
  const Strangers strangers(bank, ours, {DeciderKind::log, unknown, Incarnation{1}, 1});
  ASSERT_EQ(strangers.prepared().size(), strangers.count());
  ASSERT_EQ(elsewhere.in_doubt().size(), 2U);

  const int times = long_run() ? 2000 : 100;
  loaded->say("load all " + std::to_string(times));
  for (int pass = 0; pass < times / 4; ++pass) recovering->ask("recover", "recovered");
  loaded->hear("loaded");
  EXPECT_EQ(std::ranges::count_if(loaded->heard(),
                                  [](const std::string& line) { return line.starts_with("outcome committed"); }),
            times);
  for (int i = 0; i < times; ++i) world.expect(effect_of("all", 1));
  for (int pass = 0; pass < 5; ++pass) recovering->ask("recover", "recovered");

  EXPECT_EQ(strangers.listed(), strangers.prepared());
  EXPECT_EQ(elsewhere.in_doubt().size(), 2U);
  EXPECT_EQ(world.in_doubt().size(), 4U) << world.describe();

  // The living decide for themselves, and it holds.
  hanging->signal(SIGCONT);
  for (Process* each : {on_another_node.get(), alive.get(), hanging.get()}) {
    each->say("go");
    EXPECT_EQ(kind_in(each->hear("outcome")), "committed");
    each->ask("quit", "closed");
  }
  elsewhere.expect(effect_of("pair", 7));
  for (const int account : {3, 4}) {
    EXPECT_EQ(bank.ledger_balance(account), Bank::opening_balance - 7);
    EXPECT_EQ(bank.shop_balance(account), Bank::opening_balance + 7);
  }
  loaded->ask("quit", "closed");
  recovering->ask("quit", "closed");
  world.expect_all_is_over();
  elsewhere.expect_all_is_over();
  EXPECT_EQ(strangers.listed(), strangers.prepared());
}

INSTANTIATE_TEST_SUITE_P(With, Bystanders, ::testing::Values(Server::mariadb, Server::mysql, Server::mysql_nobinlog),
                         [](const auto& each) { return test_name(each.param); });

}  // namespace
}  // namespace assent::testing
