// A cancel request travels on a connection of its own and may arrive a command late. On an idle session the server
// drops it; when the next command has begun, it ends that one.

#include <future>

#include "assent/tests/integration/postgres/fixture.h"
#include "assent/tests/support/tcp_proxy.h"

namespace assent::testing {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view long_sleep = "SELECT pg_sleep(3600); ";

/// The same simple-query message ('Q', length, text, 0) with a sleep before its text, in which a cancel finds it.
std::string made_slow(std::string_view message) {
  constexpr std::size_t type_and_length = 5;
  std::string slow = "Q";
  const auto length = static_cast<std::uint32_t>(message.size() - 1 + long_sleep.size());
  for (const unsigned shift : {24U, 16U, 8U, 0U}) slow += static_cast<char>(length >> shift);
  return slow + std::string(long_sleep) + std::string(message.substr(type_and_length));
}

class PostgresLateCancel : public PostgresTest {
 protected:
  void SetUp() override {
    PostgresTest::SetUp();
    ResourceUrl url = ResourceUrl::parse(url_);
    proxy_ = std::make_unique<TcpProxy>(url.host, url.port);
    far_ = open_url("postgresql://" + url.user + ":" + url.password + "@127.0.0.1:" + std::to_string(proxy_->port()) +
                    "/" + url.path + "?sslmode=disable");
  }
  void TearDown() override {
    branch_.reset();
    far_.reset();
    PostgresTest::TearDown();
  }

  /// The branch that is finished below: prepared, on a session that leads through the proxy.
  void prepare() {
    auto branch = far_->start(next_xid(), {});
    ASSERT_TRUE(branch) << describe(branch.failure());
    branch_ = std::move(branch).value();
    add(*branch_, 1, -30);
    ASSERT_TRUE(branch_->prepare().is_ok());
  }

  /// What `finish` answers when a cancel meets `verb` in the server.
  Reply cancelled(const std::string& verb, const std::function<Reply()>& finish) {
    proxy_->on(verb, made_slow);
    auto reply = std::async(std::launch::async, finish);
    const std::string asleep = " FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND position(" +
                               text_literal(to_gid(branch_->xid())) + " IN query) > 0";
    while (run("SELECT count(*)" + asleep) != "1") {
    }
    EXPECT_EQ(run("SELECT pg_cancel_backend(pid)" + asleep), "t");
    return reply.get();
  }

  void expect_still_prepared(const Reply& reply) {
    EXPECT_EQ(reply.code, Code::retry) << describe(reply);
    EXPECT_EQ(reply.certainty, Certainty::not_done) << describe(reply);
    EXPECT_THAT(reply.text, HasSubstr("canceling statement due to user request"));
    EXPECT_TRUE(listed(branch_->xid()));
  }

  std::unique_ptr<TcpProxy> proxy_;
  std::shared_ptr<ResourceManager> far_;
  std::unique_ptr<Branch> branch_;
};

TEST_F(PostgresLateCancel, that_meets_a_commit_leaves_the_branch_prepared) {
  ASSERT_NO_FATAL_FAILURE(prepare());
  expect_still_prepared(cancelled("COMMIT PREPARED", [&] { return branch_->commit(); }));
  expect_still_prepared(cancelled("COMMIT PREPARED", [&] { return far_->commit(branch_->xid(), {}); }));
  EXPECT_EQ(far_->fate(branch_->xid(), branch_->evidence()).value(), Fate::in_progress);
  EXPECT_TRUE(far_->commit(branch_->xid(), {}).is_ok());
  EXPECT_EQ(value(1), "70");
}

TEST_F(PostgresLateCancel, that_meets_a_rollback_leaves_the_branch_prepared) {
  ASSERT_NO_FATAL_FAILURE(prepare());
  expect_still_prepared(cancelled("ROLLBACK PREPARED", [&] { return branch_->rollback(); }));
  expect_still_prepared(cancelled("ROLLBACK PREPARED", [&] { return far_->rollback(branch_->xid(), {}); }));
  EXPECT_TRUE(far_->rollback(branch_->xid(), {}).is_ok());
  EXPECT_EQ(value(1), "100");
}

}  // namespace
}  // namespace assent::testing
