#pragma once

#include <cppconn/connection.h>
#include <cppconn/driver.h>
#include <cppconn/resultset.h>
#include <cppconn/statement.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "assent/adapters/mysql/mysql.h"
#include "assent/adapters/mysql/session.h"
#include "assent/adapters/mysql/settings.h"
#include "assent/adapters/mysql/sql_text.h"
#include "assent/xa/registry.h"

namespace assent::mysql_test {

inline std::string environment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? "" : value;
}

inline ResourceSpec spec_of(const std::string& url, std::size_t pool_size = 16) {
  ResourceSpec spec;
  spec.name = "shop";
  spec.url = ResourceUrl::parse(url);
  spec.pool_size = pool_size;
  return spec;
}

/// One process' transactions: no other test has the like.
inline Xid fresh_xid() {
  static const auto log = static_cast<LogId>(std::random_device{}() * 0x100000001ULL ^ static_cast<unsigned>(getpid()));
  static std::atomic<std::uint64_t> sequence = 0;
  return Xid::of({DeciderKind::log, log, Incarnation{7}, ++sequence}, "shop");
}

/// A test on a real server: MariaDB always, MySQL where there is one.
class OnServer : public ::testing::Test {
 protected:
  /// MARIADB or MYSQL.
  virtual std::string server() const = 0;

  void SetUp() override {
    url_ = environment("ASSENT_TEST_" + server() + "_URL");
    admin_url_ = environment("ASSENT_TEST_" + server() + "_ADMIN_URL");
    if (url_.empty()) {
      if (!mariadb()) GTEST_SKIP() << "no MySQL server: ASSENT_TEST_MYSQL_URL is not set";
      FAIL() << "no MariaDB server: ASSENT_TEST_MARIADB_URL is not set";
    }
    MySql::register_with(registry_);
    shop_ = registry_.open(spec_of(url_));
    plain_ = connect();
    table_ = "t_" + std::to_string(getpid());
    ASSERT_TRUE(shop_->probe());
    sql("DROP TABLE IF EXISTS " + table_);
    sql("CREATE TABLE " + table_ + " (id INT PRIMARY KEY, v INT) ENGINE=InnoDB");
    sql("INSERT INTO " + table_ + " VALUES (1,0),(2,0)");
  }

  void TearDown() override {
    if (!plain_) return;
    branches_.clear();
    for (const Xid& xid : xids_) static_cast<void>(shop_->rollback(xid, {.carrier_is_dead = true}));
    static_cast<void>(shop_->forget(xids_));
    // Not IF EXISTS alone: a table that a lost branch still holds must fail the test, not the next one.
    sql("DROP TABLE " + table_);
  }

  bool mariadb() const { return server() == "MARIADB"; }

  std::unique_ptr<mysql::Session> connect() {
    auto session = mysql::Session::open(mysql::Settings::from(spec_of(url_)));
    EXPECT_TRUE(session) << describe(session.failure());
    if (session)
      static_cast<void>(session.value()->run({"SET SESSION innodb_lock_wait_timeout=2,lock_wait_timeout=5"}));
    return session ? std::move(session).value() : nullptr;
  }

  /// A connection as an application makes one: a statement a round trip.
  std::unique_ptr<sql::Connection> application_connection(std::uint16_t port = 0) {
    const ResourceUrl url = ResourceUrl::parse(url_);
    sql::ConnectOptionsMap options;
    options["hostName"] = sql::SQLString("tcp://" + url.host + ":" + std::to_string(port == 0 ? url.port : port));
    options["userName"] = sql::SQLString(url.user);
    options["password"] = sql::SQLString(url.password);
    options["schema"] = sql::SQLString(url.path);
    return std::unique_ptr<sql::Connection>(get_driver_instance()->connect(options));
  }

  std::optional<std::string> sql(const std::string& text) {
    const mysql::Answer answer = plain_->run({text});
    EXPECT_TRUE(answer.ok()) << text << ": " << (answer.ok() ? "" : answer.failure->describe());
    return answer.value(0);
  }

  /// To be called after branches of another format than Assent's: MySQL can lose prepared branches at a kill when its
  /// last binary log names several formats, and other tests kill it.
  void begin_binary_log() {
    if (mariadb()) return;
    const auto admin = mysql::Session::open(mysql::Settings::from(spec_of(admin_url_)));
    ASSERT_TRUE(admin) << describe(admin.failure());
    EXPECT_TRUE(admin.value()->run({"FLUSH BINARY LOGS"}).ok());
  }

  /// The number of the error, or 0.
  static int error_of(mysql::Session& session, const std::string& text) {
    const mysql::Answer answer = session.run({text});
    return answer.ok() ? 0 : answer.failure->number;
  }

  int v(int id) { return std::stoi(sql("SELECT v FROM " + table_ + " WHERE id=" + std::to_string(id)).value_or("-1")); }

  Xid xid() {
    xids_.push_back(fresh_xid());
    return xids_.back();
  }

  std::unique_ptr<Branch> start(const Xid& xid, const StartOptions& options = {}) {
    auto branch = shop_->start(xid, options);
    EXPECT_TRUE(branch) << describe(branch.failure());
    return branch ? std::move(branch).value() : nullptr;
  }

  /// What an application does; the connector throws what fails.
  static void run(Branch& branch, const std::string& text) {
    const std::unique_ptr<sql::Statement> statement(MySql::session(branch).createStatement());
    statement->execute(text);
  }
  static std::string query(Branch& branch, const std::string& text) {
    const std::unique_ptr<sql::Statement> statement(MySql::session(branch).createStatement());
    const std::unique_ptr<sql::ResultSet> rows(statement->executeQuery(text));
    return rows->next() ? rows->getString(1).asStdString() : "";
  }
  void write(Branch& branch, int value, int id = 1) {
    run(branch, "UPDATE " + table_ + " SET v=" + std::to_string(value) + " WHERE id=" + std::to_string(id));
  }

  /// A prepared branch that wrote `value`; on its own session still.
  std::unique_ptr<Branch> prepared(const Xid& xid, int value = 1) {
    auto branch = start(xid);
    write(*branch, value);
    const Reply reply = branch->prepare();
    EXPECT_EQ(reply.code, Code::ok) << describe(reply);
    return branch;
  }

  /// What recovery says of a prepared branch.
  std::string note_of(const Xid& xid) {
    const auto branches = shop_->recover();
    if (!branches) return describe(branches.failure());
    for (const PreparedBranch& branch : *branches) {
      if (branch.xid == xid) return branch.note;
    }
    return "not listed";
  }

  bool listed(const Xid& xid) {
    const auto branches = shop_->recover();
    EXPECT_TRUE(branches) << describe(branches.failure());
    for (const PreparedBranch& branch : *branches) {
      if (branch.xid == xid) return true;
    }
    return false;
  }

  std::string owner_of(const Xid& xid) {
    return sql("SELECT IS_USED_LOCK(" + mysql::carrier_lock(xid) + ")").value_or("");
  }
  /// A pooled session gives the lock back behind the verb's answer, and a server needs a moment to see that a session
  /// has ended.
  void await_release_of(const Xid& xid) {
    EXPECT_EQ(sql("SELECT GET_LOCK(" + mysql::carrier_lock(xid) + ",60)"), "1");
    EXPECT_EQ(sql("SELECT RELEASE_LOCK(" + mysql::carrier_lock(xid) + ")"), "1");
  }

  std::string url_;
  std::string admin_url_;
  Registry registry_;
  std::shared_ptr<ResourceManager> shop_;
  std::unique_ptr<mysql::Session> plain_;  ///< a session of the test's own
  std::string table_;
  std::vector<Xid> xids_;
  std::vector<std::unique_ptr<Branch>> branches_;  ///< kept until the end of the test
};

/// Runs on both.
class Server : public OnServer, public ::testing::WithParamInterface<const char*> {
 protected:
  std::string server() const override { return GetParam(); }
};

inline std::string server_name(const ::testing::TestParamInfo<const char*>& info) {
  return info.param;
}

#define ASSENT_ON_EACH_SERVER(suite) \
  INSTANTIATE_TEST_SUITE_P(On, suite, ::testing::Values("MARIADB", "MYSQL"), assent::mysql_test::server_name)

}  // namespace assent::mysql_test
