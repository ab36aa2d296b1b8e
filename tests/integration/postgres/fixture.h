#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "assent/adapters/postgres/postgres.h"
#include "assent/adapters/postgres/session.h"
#include "assent/adapters/postgres/settings.h"
#include "assent/xa/error.h"

namespace assent::testing {

using namespace std::chrono_literals;
using detail::postgres::Answer;
using detail::postgres::bytes_literal;
using detail::postgres::Settings;
using detail::postgres::text_literal;
using PlainSession = detail::postgres::Session;

/// One test on the real server: a table of its own with the rows (1, 100) and (2, 100), Xids nobody else makes, a
/// second pair of eyes (`plain`), and nothing left behind.
class PostgresTest : public ::testing::Test {
 protected:
  /// Empty, and a failure, where the variable is not set.
  static std::string environment(const char* name) {
    const char* const value = std::getenv(name);
    EXPECT_NE(value, nullptr) << name << " is not set: run through scripts/test or scripts/with-servers";
    return value == nullptr ? std::string() : value;
  }

  void SetUp() override {
    const char* url = std::getenv("ASSENT_TEST_POSTGRES_URL");
    ASSERT_NE(url, nullptr) << "ASSENT_TEST_POSTGRES_URL is not set: run through scripts/test or scripts/with-servers";
    url_ = url;
    std::random_device random;
    log_ = LogId{(std::uint64_t{random()} << 32U) | random()};
    incarnation_ = Incarnation{(std::uint64_t{random()} << 32U) | random()};
    table_ = "t_" + to_hex(std::to_string(static_cast<std::uint64_t>(log_)).substr(0, 12));
    plain_ = connect();
    ASSERT_TRUE(plain_);
    ASSERT_EQ(run("CREATE TABLE " + table_ + "(id int PRIMARY KEY, v int NOT NULL CHECK (v >= 0)); INSERT INTO " +
                  table_ + " VALUES (1, 100), (2, 100)"),
              "");
    resource_ = open();
    ASSERT_TRUE(resource_->probe());
  }

  void TearDown() override {
    resource_.reset();
    if (!plain_) return;
    plain_ = connect();
    run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'assent:" +
        incarnation_hex() + ":%'");
    const Answer mine = plain_->exec("SELECT gid FROM pg_prepared_xacts WHERE database = current_database()");
    for (int row = 0; row < mine.rows(); ++row) {
      const auto xid = from_gid(mine.field(row, 0));
      const auto transaction = xid ? xid->transaction() : std::nullopt;
      if (transaction && transaction->log == log_) run("ROLLBACK PREPARED " + text_literal(mine.field(row, 0)));
    }
    run("DELETE FROM public.assent_witness WHERE position(decode('" + log_hex() + "','hex') IN gtrid) > 0");
    run("DROP TABLE IF EXISTS " + table_);
  }

  std::string incarnation_hex() const { return to_hex64(static_cast<std::uint64_t>(incarnation_)); }
  std::string log_hex() const { return to_hex64(static_cast<std::uint64_t>(log_)); }

  /// The test's URL with another query string, or another user info and so on.
  std::shared_ptr<ResourceManager> open(const std::string& parameters = {}, std::size_t pool_size = 4) {
    return open_url(url_ + parameters, pool_size);
  }
  static std::shared_ptr<ResourceManager> open_url(const std::string& url, std::size_t pool_size = 4) {
    Registry registry;
    Postgres::register_with(registry);
    ResourceSpec spec;
    spec.name = "ledger";
    spec.url = ResourceUrl::parse(url);
    spec.pool_size = pool_size;
    spec.pool_wait_ms = 200;
    return registry.open(spec);
  }

  std::unique_ptr<PlainSession> connect() const { return connect_to(url_); }
  static std::unique_ptr<PlainSession> connect_to(const std::string& url) {
    auto session = PlainSession::open(Settings::from(ResourceUrl::parse(url)));
    EXPECT_TRUE(session) << describe(session.failure());
    return session ? std::move(session).value() : nullptr;
  }
  std::unique_ptr<PlainSession> connect_as_admin() const {
    return connect_to(std::getenv("ASSENT_TEST_POSTGRES_ADMIN_URL"));
  }

  Xid next_xid() { return Xid::of({DeciderKind::log, log_, incarnation_, ++sequence_}, "ledger"); }

  std::unique_ptr<Branch> begin(const Xid& xid, const StartOptions& options = {}) {
    auto branch = resource_->start(xid, options);
    EXPECT_TRUE(branch) << describe(branch.failure());
    return branch ? std::move(branch).value() : nullptr;
  }
  std::unique_ptr<Branch> begin(const StartOptions& options = {}) { return begin(next_xid(), options); }

  /// Asks until it is so. What is waited for is another session's, so asking is what takes the time.
  static bool eventually(const std::function<bool()>& is_so) {
    const auto patience = std::chrono::steady_clock::now() + 30s;
    while (!is_so()) {
      if (std::chrono::steady_clock::now() > patience) return false;
    }
    return true;
  }

  void add(Branch& branch, int id, int amount) {
    Postgres::session(branch).exec("UPDATE " + table_ + " SET v = v + " + std::to_string(amount) +
                                   " WHERE id = " + std::to_string(id));
  }

  /// A query on the plain session: its first field, or "ERROR <sqlstate>".
  std::string run(const std::string& sql) const { return run(*plain_, sql); }
  static std::string run(PlainSession& session, const std::string& sql) {
    const Answer answer = session.exec(sql);
    return answer.ok() ? answer.field(0, 0) : "ERROR " + answer.sqlstate;
  }
  std::string value(int id) const { return run("SELECT v FROM " + table_ + " WHERE id = " + std::to_string(id)); }
  bool listed(const Xid& xid) const {
    return run("SELECT count(*) FROM pg_prepared_xacts WHERE gid = " + text_literal(to_gid(xid))) == "1";
  }
  std::string witness_of(const Xid& xid) const {
    return run("SELECT state FROM public.assent_witness WHERE gtrid = " + bytes_literal(xid.gtrid));
  }
  /// The server process of a branch.
  static std::string pid_of(Branch& branch) {
    return Postgres::session(branch).exec("SELECT pg_backend_pid()")[0][0].as<std::string>();
  }
  void kill_backend(const std::string& pid) const {
    ASSERT_EQ(run("SELECT pg_terminate_backend(" + pid + ")"), "t");
    while (run("SELECT count(*) FROM pg_stat_activity WHERE pid = " + pid) != "0") {
    }
  }
  /// Returns when that server process waits for a lock.
  void await_lock_wait(const std::string& pid) const {
    while (run("SELECT wait_event_type FROM pg_stat_activity WHERE pid = " + pid) != "Lock") {
    }
  }

  std::string url_;
  LogId log_{};
  Incarnation incarnation_{};
  std::uint64_t sequence_ = 0;
  std::string table_;
  std::unique_ptr<PlainSession> plain_;
  std::shared_ptr<ResourceManager> resource_;
};

}  // namespace assent::testing
