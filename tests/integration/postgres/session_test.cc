#include <sys/wait.h>

#include "assent/tests/integration/postgres/fixture.h"

namespace assent::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class PostgresSessions : public PostgresTest {
 protected:
  std::string with_password(const std::string& password) const {
    const ResourceUrl url = ResourceUrl::parse(url_);
    return "postgresql://" + url.user + ":" + password + "@" + url.host + ":" + std::to_string(url.port) + "/" +
           url.path;
  }
  std::string keywords() const {
    const ResourceUrl url = ResourceUrl::parse(url_);
    return "host=" + url.host + " port=" + std::to_string(url.port) + " user=" + url.user +
           " password=" + url.password + " dbname=" + url.path;
  }
};

TEST_F(PostgresSessions, a_wrong_password_is_one_clear_sentence_without_the_password) {
  const auto probe = open_url(with_password("hunter2hunter2"))->probe();
  ASSERT_FALSE(probe);
  EXPECT_EQ(probe.failure().code, Code::resource_failed);
  EXPECT_EQ(probe.failure().certainty, Certainty::not_done);
  EXPECT_THAT(probe.failure().text, HasSubstr("password authentication failed"));
  EXPECT_THAT(probe.failure().text, Not(HasSubstr("hunter2")));
  EXPECT_THAT(probe.failure().text, Not(HasSubstr("\n")));
}

TEST_F(PostgresSessions, an_unreachable_host_is_one_clear_sentence) {
  const auto branch = open_url("postgresql://assent:hunter2hunter2@127.0.0.1:1/bank")->start(next_xid(), {});
  ASSERT_FALSE(branch);
  EXPECT_EQ(branch.failure().code, Code::resource_failed);
  EXPECT_EQ(branch.failure().certainty, Certainty::not_done);
  EXPECT_THAT(branch.failure().text, HasSubstr("127.0.0.1:1/bank"));
  EXPECT_THAT(branch.failure().text, HasSubstr("Connection refused"));
  EXPECT_THAT(branch.failure().text, Not(HasSubstr("hunter2")));
}

TEST_F(PostgresSessions, tls_asked_for_is_tls_got) {
  const std::string certificate = environment("ASSENT_TEST_POSTGRES_CERTIFICATE");
  for (const std::string& parameters :
       {std::string("?sslmode=require"), "?sslmode=verify-ca&sslrootcert=" + certificate}) {
    auto resource = open(parameters);
    auto branch = resource->start(next_xid(), {});
    ASSERT_TRUE(branch) << describe(branch.failure());
    EXPECT_TRUE(
        Postgres::session(**branch).exec("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")[0][0].as<bool>());
  }
}

TEST_F(PostgresSessions, tls_that_cannot_be_verified_is_refused) {
  const auto probe = open("?sslmode=verify-ca&sslrootcert=/nonexistent")->probe();
  ASSERT_FALSE(probe);
  EXPECT_EQ(probe.failure().code, Code::resource_failed);
}

TEST_F(PostgresSessions, tls_asked_for_on_a_local_socket_is_refused) {
  const std::string folder = run(*connect_as_admin(), "SHOW unix_socket_directories");
  ASSERT_FALSE(folder.empty()) << "the server has no local socket";
  std::string host;
  for (const char each : folder.substr(0, folder.find(','))) host += each == '/' ? "%2F" : std::string(1, each);
  const ResourceUrl url = ResourceUrl::parse(url_);
  const std::string local =
      "postgresql://" + url.user + ":" + url.password + "@" + host + ":" + std::to_string(url.port) + "/" + url.path;
  EXPECT_TRUE(open_url(local)->probe());
  const auto probe = open_url(local + "?sslmode=require")->probe();
  ASSERT_FALSE(probe);
  EXPECT_THAT(probe.failure().text, HasSubstr("TLS was asked for"));
}

TEST_F(PostgresSessions, shows_the_branch_in_pg_stat_activity_while_it_is_open) {
  auto branch = begin();
  const std::string pid = pid_of(*branch);
  const std::string name = "SELECT application_name FROM pg_stat_activity WHERE pid = " + pid;
  EXPECT_THAT(run(name), ::testing::StartsWith("assent:" + incarnation_hex() + ":"));
  EXPECT_LE(run(name).size(), 63U);
  ASSERT_TRUE(branch->prepare().is_ok());
  EXPECT_EQ(run(name), "assent");
  EXPECT_TRUE(branch->rollback().is_ok());
}

TEST_F(PostgresSessions, uses_one_session_again_and_again) {
  resource_ = open({}, 1);
  std::string first;
  for (int turn = 0; turn < 5; ++turn) {
    auto branch = begin();
    const std::string pid = pid_of(*branch);
    if (first.empty()) first = pid;
    EXPECT_EQ(pid, first);
    add(*branch, 1, 1);
    if (turn % 2 == 0) {
      ASSERT_TRUE(branch->prepare().is_ok());
      ASSERT_TRUE(branch->commit().is_ok());
    } else {
      ASSERT_TRUE(branch->commit_one_phase().is_ok());
    }
  }
  EXPECT_EQ(value(1), "105");
}

TEST_F(PostgresSessions, never_pools_a_session_that_ended_badly) {
  resource_ = open({}, 1);
  std::string pid;
  {
    auto branch = begin();
    pid = pid_of(*branch);
    kill_backend(pid);
    static_cast<void>(branch->prepare());
  }
  EXPECT_NE(pid_of(*begin()), pid);
}

TEST_F(PostgresSessions, replaces_sessions_that_died_while_idle) {
  std::string pid;
  {
    auto branch = begin();
    pid = pid_of(*branch);
    ASSERT_TRUE(branch->rollback().is_ok());
  }
  kill_backend(pid);
  auto next = begin();
  ASSERT_TRUE(next);
  EXPECT_NE(pid_of(*next), pid);
}

TEST_F(PostgresSessions, recovery_replaces_its_own_dead_sessions) {
  resource_ = open("?application_name=" + table_);
  auto branch = begin();
  ASSERT_TRUE(branch->prepare().is_ok());
  ASSERT_TRUE(resource_->recover());
  const std::string mine = " FROM pg_stat_activity WHERE application_name = '" + table_ + "'";
  ASSERT_EQ(run("SELECT count(*)" + mine), "2");
  run("SELECT pg_terminate_backend(pid)" + mine);
  while (run("SELECT count(*)" + mine) != "0") {
  }
  EXPECT_TRUE(resource_->rollback(branch->xid(), {}).is_ok());
}

TEST_F(PostgresSessions, a_full_pool_answers_in_time_and_says_why) {
  resource_ = open({}, 1);
  auto only = begin();
  const auto second = resource_->start(next_xid(), {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.failure().code, Code::resource_failed);
  EXPECT_THAT(second.failure().text, HasSubstr("all 1 of the pool"));
  // Recovery has sessions of its own.
  EXPECT_TRUE(resource_->recover());
}

TEST_F(PostgresSessions, a_forked_child_neither_uses_nor_ends_its_parents_sessions) {
  auto idle = begin();
  ASSERT_TRUE(idle->rollback().is_ok());
  auto branch = begin();
  add(*branch, 1, -30);
  const pid_t child = fork();
  if (child == 0) {
    int failures = 0;
    if (branch->prepare().certainty != Certainty::not_done) ++failures;
    if (branch->rollback().code != Code::protocol_error) ++failures;
    if (resource_->start(next_xid(), {})) ++failures;
    if (resource_->recover()) ++failures;
    try {
      Postgres::session(*branch);
      ++failures;
    } catch (const Error&) {
    }
    branch.reset();
    idle.reset();
    resource_.reset();
    plain_.reset();
    _exit(failures);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_NO_THROW(add(*branch, 2, +30));
  EXPECT_TRUE(branch->prepare().is_ok());
  EXPECT_TRUE(branch->commit().is_ok());
  EXPECT_EQ(value(1), "70");
}

TEST_F(PostgresSessions, adopts_an_idle_connection_and_gives_it_back_idle) {
  pqxx::connection own(keywords());
  own.prepare("mine", "SELECT 41 + $1::int");
  for (const bool two_phase : {true, false}) {
    const Xid xid = next_xid();
    auto adopted = Postgres::adopt(*resource_, own, xid, {});
    ASSERT_TRUE(adopted) << describe(adopted.failure());
    add(**adopted, 1, -10);
    EXPECT_EQ(Postgres::session(**adopted).transaction().exec_prepared("mine", 1)[0][0].as<int>(), 42);
    if (two_phase) {
      ASSERT_TRUE((*adopted)->prepare().is_ok());
      EXPECT_TRUE(listed(xid));
      ASSERT_TRUE((*adopted)->commit().is_ok());
    } else {
      ASSERT_TRUE((*adopted)->commit_one_phase().is_ok());
    }
  }
  pqxx::work after(own);
  EXPECT_EQ(after.exec_prepared("mine", 1)[0][0].as<int>(), 42);
  EXPECT_EQ(after.exec("SELECT v FROM " + table_ + " WHERE id = 1")[0][0].as<int>(), 80);
}

TEST_F(PostgresSessions, rolls_back_on_a_borrowed_connection_and_leaves_it_open) {
  pqxx::connection own(keywords());
  {
    auto adopted = Postgres::adopt(*resource_, own, next_xid(), {});
    ASSERT_TRUE(adopted);
    add(**adopted, 1, -10);
  }
  pqxx::work after(own);
  EXPECT_EQ(after.exec("SELECT v FROM " + table_ + " WHERE id = 1")[0][0].as<int>(), 100);
}

TEST_F(PostgresSessions, refuses_to_adopt_a_connection_that_is_not_idle_on_both_sides) {
  pqxx::connection own(keywords());
  {
    pqxx::work busy(own);
    busy.exec("SELECT 1");
    const auto adopted = Postgres::adopt(*resource_, own, next_xid(), {});
    ASSERT_FALSE(adopted);
    EXPECT_EQ(adopted.failure().code, Code::outside);
  }
  {
    // A transaction object that has sent nothing yet: the server is idle, the client is not.
    pqxx::nontransaction busy(own);
    const auto adopted = Postgres::adopt(*resource_, own, next_xid(), {});
    ASSERT_FALSE(adopted);
    EXPECT_EQ(adopted.failure().code, Code::outside);
    EXPECT_EQ(busy.exec("SELECT pg_current_xact_id_if_assigned() IS NULL")[0][0].as<bool>(), true);
  }
  EXPECT_TRUE(Postgres::adopt(*resource_, own, next_xid(), {}));
}

TEST_F(PostgresSessions, refuses_to_adopt_a_connection_to_another_database) {
  std::string other = keywords();
  other.replace(other.find("dbname="), std::string::npos, "dbname=assent_test2");
  pqxx::connection own(other);
  const auto adopted = Postgres::adopt(*resource_, own, next_xid(), {});
  ASSERT_FALSE(adopted);
  EXPECT_EQ(adopted.failure().code, Code::invalid);
  EXPECT_THAT(adopted.failure().text, HasSubstr("assent_test2"));
}

TEST_F(PostgresSessions, a_borrowed_connection_does_not_reconnect_out_of_its_branch) {
  pqxx::connection own(keywords());
  auto adopted = Postgres::adopt(*resource_, own, next_xid(), {});
  ASSERT_TRUE(adopted);
  add(**adopted, 1, -10);
  kill_backend(pid_of(**adopted));
  EXPECT_THROW(add(**adopted, 1, -10), std::exception);
  EXPECT_THROW(add(**adopted, 2, -10), std::exception);
  EXPECT_EQ((*adopted)->prepare().certainty, Certainty::not_done);
  EXPECT_EQ(value(2), "100");
}

TEST_F(PostgresSessions, a_borrowed_connection_that_is_closed_meanwhile_is_a_lost_session) {
  pqxx::connection own(keywords());
  auto adopted = Postgres::adopt(*resource_, own, next_xid(), {});
  ASSERT_TRUE(adopted);
  add(**adopted, 1, -10);
  own.disconnect();
  EXPECT_EQ((*adopted)->prepare().certainty, Certainty::not_done);
  EXPECT_EQ(value(1), "100");
}

}  // namespace
}  // namespace assent::testing
