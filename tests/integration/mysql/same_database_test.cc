// Behind one address another server may answer for the next session. It has neither the branches nor their witnesses,
// and recovery would take both for a rollback.

#include "assent/tests/support/tcp_proxy.h"
#include "fixture.h"

namespace assent::mysql_test {
namespace {

using assent::testing::TcpProxy;

/// With a user who may do the same on the other server, too.
class SameDatabase : public Server {
 protected:
  void SetUp() override {
    Server::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    const std::string other = mariadb() ? "MYSQL" : "MARIADB";
    const std::string there = environment("ASSENT_TEST_" + other + "_ADMIN_URL");
    if (there.empty()) GTEST_SKIP() << "no second server: ASSENT_TEST_" << other << "_ADMIN_URL is not set";
    admins_.push_back(admin(admin_url_));
    admins_.push_back(admin(there));
    for (const auto& each : admins_) {
      ASSERT_TRUE(each);
      ASSERT_TRUE(each->run({"CREATE USER " + user_ + "@'%' IDENTIFIED BY 'pw'",
                             "GRANT ALL ON assent_test.* TO " + user_ + "@'%'"})
                      .ok());
      if (!each->facts().mariadb) {
        ASSERT_TRUE(each->run({"GRANT XA_RECOVER_ADMIN ON *.* TO " + user_ + "@'%'"}).ok());
      }
    }
    here_ = ResourceUrl::parse(url_).port;
    elsewhere_ = ResourceUrl::parse(there).port;
    proxy_ = std::make_unique<TcpProxy>("127.0.0.1", here_);
    moving_ = registry_.open(
        spec_of("mysql://" + user_ + ":pw@127.0.0.1:" + std::to_string(proxy_->port()) + "/assent_test"));
  }

  void TearDown() override {
    moving_.reset();
    for (const auto& each : admins_) {
      if (each) static_cast<void>(each->run({"DROP USER IF EXISTS " + user_ + "@'%'"}));
    }
    Server::TearDown();
  }

  static std::unique_ptr<mysql::Session> admin(const std::string& url) {
    auto session = mysql::Session::open(mysql::Settings::from(spec_of(url)));
    EXPECT_TRUE(session) << describe(session.failure());
    return session ? std::move(session).value() : nullptr;
  }

  /// As a failover does it: the sessions end, and the address leads elsewhere.
  void lead_to(std::uint16_t port) {
    proxy_->lead_to(port);
    proxy_->cut();
  }

  static void expect_refused(const Reply& reply) {
    EXPECT_EQ(reply.code, Code::resource_error) << describe(reply);
    EXPECT_EQ(reply.certainty, Certainty::not_done) << describe(reply);
    EXPECT_NE(reply.text.find("another database answers at"), std::string::npos) << describe(reply);
  }

  const std::string user_ = "twin_" + std::to_string(getpid());
  std::vector<std::unique_ptr<mysql::Session>> admins_;
  std::uint16_t here_ = 0;
  std::uint16_t elsewhere_ = 0;
  std::unique_ptr<TcpProxy> proxy_;
  std::shared_ptr<ResourceManager> moving_;
};
ASSENT_ON_EACH_SERVER(SameDatabase);

TEST_P(SameDatabase, rule_8_no_session_of_another_server_is_used) {
  ASSERT_TRUE(moving_->probe());
  const Xid id = xid();
  {
    auto branch = moving_->start(id, {});
    ASSERT_TRUE(branch) << describe(branch.failure());
    write(**branch, 5);
    ASSERT_EQ((*branch)->prepare().code, Code::ok);
  }
  lead_to(elsewhere_);
  expect_refused(moving_->start(xid(), {}).failure());
  expect_refused(moving_->probe().failure());
  expect_refused(moving_->recover().failure());
  expect_refused(moving_->commit(id, {.carrier_is_dead = true}));
  expect_refused(moving_->rollback(id, {.carrier_is_dead = true}));
  expect_refused(moving_->fate(id, "").failure());
  expect_refused(moving_->settle(id).failure());
  expect_refused(moving_->carrier_gone(id, {.carrier_is_dead = true}).failure());
  lead_to(here_);
  EXPECT_EQ(moving_->commit(id, {.carrier_is_dead = true}).code, Code::ok);
  EXPECT_EQ(v(1), 5);
}

TEST_P(SameDatabase, rule_8_the_first_session_says_which_it_is_also_without_a_probe) {
  ASSERT_TRUE(moving_->start(xid(), {}));
  lead_to(elsewhere_);
  expect_refused(moving_->start(xid(), {}).failure());
}

TEST_P(SameDatabase, rule_8_a_connection_to_another_server_is_not_adopted) {
  const auto own = application_connection();
  proxy_->lead_to(elsewhere_);
  for (const bool known : {false, true}) {
    if (known) {
      ASSERT_TRUE(moving_->probe());
    }
    const auto branch = MySql::adopt(*moving_, *own, xid(), {});
    ASSERT_FALSE(branch);
    expect_refused(branch.failure());
  }
  const std::unique_ptr<sql::Statement> statement(own->createStatement());
  EXPECT_FALSE(statement->execute("UPDATE " + table_ + " SET v=8 WHERE id=1"));
  EXPECT_EQ(v(1), 8);
}

/// MariaDB has no identity of its own but the one that Assent keeps in the schema.
class RestoredSchema : public OnServer {
 protected:
  std::string server() const override { return "MARIADB"; }
};

TEST_F(RestoredSchema, rule_8_is_another_database_to_sessions_that_are_opened_on_it) {
  const std::string row = "UPDATE assent_identity SET id=";
  const std::string before = sql("SELECT id FROM assent_identity WHERE one=1").value_or("");
  ASSERT_EQ(before.size(), 36U);
  auto open = start(xid());
  sql(row + "UUID()");
  auto second = shop_->start(xid(), {});
  sql(row + "'" + before + "'");
  ASSERT_FALSE(second);
  EXPECT_NE(second.failure().text.find("it was mysql:" + before), std::string::npos) << describe(second.failure());
  EXPECT_TRUE(shop_->start(xid(), {}));
  EXPECT_EQ(open->rollback().code, Code::ok);
}

}  // namespace
}  // namespace assent::mysql_test
