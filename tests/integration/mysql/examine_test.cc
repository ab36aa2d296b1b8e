// What `assent doctor` and `assent explain` are told of a real server.

#include <gmock/gmock.h>

#include <thread>

#include "fixture.h"

namespace assent::mysql_test {
namespace {

class Examine : public Server {
 protected:
  /// The findings of one severity that contain the text.
  static std::vector<Finding> of(const std::vector<Finding>& findings, Finding::Severity severity,
                                 const std::string& text) {
    std::vector<Finding> out;
    for (const Finding& each : findings) {
      if (each.severity == severity && each.what.find(text) != std::string::npos) out.push_back(each);
    }
    return out;
  }
  static std::string all(const std::vector<Finding>& findings) {
    std::string out;
    for (const Finding& each : findings) out += each.what + " | " + each.mend + "\n";
    return out;
  }
};
ASSENT_ON_EACH_SERVER(Examine);

TEST_P(Examine, finds_a_sound_server_sound) {
  const auto findings = shop_->examine();
  EXPECT_EQ(of(findings, Finding::Severity::good, "can take part").size(), 1U) << all(findings);
  EXPECT_EQ(of(findings, Finding::Severity::good, "prepared branches can be listed").size(), 1U) << all(findings);
  EXPECT_EQ(of(findings, Finding::Severity::good, "may be written").size(), 1U) << all(findings);
  EXPECT_EQ(of(findings, Finding::Severity::good, "one and the same server").size(), 1U) << all(findings);
  EXPECT_EQ(of(findings, Finding::Severity::good, "every commit is forced").size(), 1U) << all(findings);
  EXPECT_EQ(of(findings, Finding::Severity::advice, "binary log is on").size(), mariadb() ? 0U : 1U) << all(findings);
  for (const Finding& each : findings)
    EXPECT_EQ(each.mend.empty(), each.severity == Finding::Severity::good) << each.what;
}

TEST_P(Examine, names_tables_without_transactions) {
  const std::string myisam = table_ + "_myisam";
  sql("DROP TABLE IF EXISTS " + myisam);
  sql("CREATE TABLE " + myisam + " (id INT PRIMARY KEY) ENGINE=MyISAM");
  const auto found = of(shop_->examine(), Finding::Severity::problem, myisam + " (MyISAM)");
  EXPECT_EQ(found.size(), 1U);
  sql("DROP TABLE " + myisam);
}

TEST_P(Examine, warns_of_another_transaction_manager_beside_assent) {
  const auto own = connect();
  const std::string stranger = "'stranger-" + std::to_string(getpid()) + "','b',17";
  ASSERT_TRUE(own->run({"XA START " + stranger, "UPDATE " + table_ + " SET v=3 WHERE id=2", "XA END " + stranger,
                        "XA PREPARE " + stranger})
                  .ok());
  const auto findings = shop_->examine();
  EXPECT_TRUE(own->run({"XA ROLLBACK " + stranger}).ok());
  begin_binary_log();
  const auto severity = mariadb() ? Finding::Severity::advice : Finding::Severity::problem;
  EXPECT_EQ(of(findings, severity, "another transaction manager").size(), 1U) << all(findings);
}

TEST_P(Examine, names_the_grant_that_recovery_needs_on_mysql_and_none_on_mariadb) {
  if (mariadb()) {
    EXPECT_TRUE(of(shop_->examine(), Finding::Severity::problem, "XA_RECOVER_ADMIN").empty());
    return;
  }
  const std::string user = "assent_poor_" + std::to_string(getpid());
  const auto admin = mysql::Session::open(mysql::Settings::from(spec_of(admin_url_)));
  ASSERT_TRUE(admin);
  ASSERT_TRUE((*admin)
                  ->run({"CREATE USER '" + user + "'@'%' IDENTIFIED BY 'sesame'",
                         "GRANT ALL ON assent_test.* TO '" + user + "'@'%'"})
                  .ok());
  ResourceSpec spec = spec_of(url_);
  spec.url.user = user;
  spec.url.password = "sesame";
  const auto poor = registry_.open(spec);
  const auto findings = poor->examine();
  const auto found = of(findings, Finding::Severity::problem, "may not list prepared branches");
  ASSERT_EQ(found.size(), 1U) << all(findings);
  EXPECT_EQ(found[0].mend, "GRANT XA_RECOVER_ADMIN ON *.* TO '" + user + "'@'%';");
  EXPECT_FALSE(poor->probe()->capabilities.two_phase);
  const auto branches = poor->recover();
  ASSERT_FALSE(branches);
  EXPECT_EQ(branches.failure().code, Code::resource_error);
  EXPECT_NE(branches.failure().text.find("GRANT XA_RECOVER_ADMIN"), std::string::npos);
  EXPECT_TRUE((*admin)->run({"DROP USER '" + user + "'@'%'"}).ok());
}

TEST_P(Examine, tells_who_waits_for_a_prepared_branch) {
  ResourceSpec spec = spec_of(admin_url_);
  const auto admin = registry_.open(spec);
  const Xid id = xid();
  prepared(id, 5).reset();
  await_release_of(id);
  const auto waiter = connect();
  ASSERT_TRUE(waiter->run({"SET SESSION innodb_lock_wait_timeout=30"}).ok());
  std::thread waiting([&] { static_cast<void>(waiter->run({"UPDATE " + table_ + " SET v=6 WHERE id=1"})); });
  const std::string who = "session " + std::to_string(waiter->facts().connection_id) + " waits";
  bool seen = false;
  // MariaDB tells the same again to whoever asks within 0.1 s of the last question: asked more often, it never tells
  // anew.
  for (int i = 0; i < 100 && !seen; ++i) {
    const auto impact = admin->impact(id);
    ASSERT_TRUE(impact) << describe(impact.failure());
    for (const std::string& line : impact->waiting_sessions) seen = seen || line.starts_with(who);
    std::this_thread::sleep_for(std::chrono::milliseconds(150));
  }
  EXPECT_TRUE(seen);
  EXPECT_EQ(shop_->rollback(id, {.carrier_is_dead = true}).code, Code::ok);
  waiting.join();
  EXPECT_EQ(v(1), 6);
  EXPECT_EQ(admin->impact(id)->note, "the branch holds nothing");
  // Without the privilege: what to grant.
  auto open = start(xid());
  EXPECT_NE(shop_->impact(open->xid())->note.find("GRANT PROCESS"), std::string::npos);
}

}  // namespace
}  // namespace assent::mysql_test
