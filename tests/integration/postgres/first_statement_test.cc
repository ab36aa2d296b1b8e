// BEGIN goes with the first statement: whatever that is, it is in the branch's transaction, and so is all that follows.

#include "assent/tests/support/tcp_proxy.h"
#include "fixture.h"

namespace assent::testing {
namespace {

class PostgresFirstStatement : public PostgresTest {
 protected:
  /// From now on the resource is reached through a proxy.
  void go_through_proxy() {
    const ResourceUrl url = ResourceUrl::parse(url_);
    proxy_ = std::make_unique<TcpProxy>(url.host, url.port);
    std::string through = url_;
    const std::string before = ":" + std::to_string(url.port) + "/";
    through.replace(through.find(before), before.size(), ":" + std::to_string(proxy_->port()) + "/");
    resource_ = open_url(through + "?sslmode=disable");
    ASSERT_TRUE(resource_->probe());
  }
  std::string update(int id, int amount) const {
    return "UPDATE " + table_ + " SET v = v + " + std::to_string(amount) + " WHERE id = " + std::to_string(id);
  }

  std::unique_ptr<TcpProxy> proxy_;
};

TEST_F(PostgresFirstStatement, is_one_message_with_begin) {
  go_through_proxy();
  std::string seen;
  proxy_->on("BEGIN", [&seen](std::string_view message) { return seen = message; });
  auto branch = begin({.deadline = std::chrono::steady_clock::now() + 30s, .isolation = Isolation::serializable});
  EXPECT_EQ(seen, "");
  add(*branch, 1, -30);
  EXPECT_THAT(seen, ::testing::HasSubstr("ISOLATION LEVEL SERIALIZABLE"));
  EXPECT_THAT(seen, ::testing::HasSubstr("SET LOCAL statement_timeout"));
  EXPECT_THAT(seen, ::testing::HasSubstr(update(1, -30)));
  EXPECT_TRUE(branch->prepare().is_ok());
  EXPECT_TRUE(branch->commit().is_ok());
  EXPECT_EQ(value(1), "70");
}

TEST_F(PostgresFirstStatement, sees_the_transaction_that_it_is_in) {
  auto branch = begin({.deadline = std::chrono::steady_clock::now() + 30s, .isolation = Isolation::repeatable_read});
  const pqxx::result row = Postgres::session(*branch).exec(
      "SELECT current_setting('application_name'), current_setting('transaction_isolation'), "
      "current_setting('statement_timeout'), pg_current_xact_id_if_assigned() IS NULL");
  EXPECT_THAT(row[0][0].as<std::string>(), ::testing::StartsWith("assent:" + incarnation_hex()));
  EXPECT_EQ(row[0][1].as<std::string>(), "repeatable read");
  EXPECT_NE(row[0][2].as<std::string>(), "0");
  EXPECT_EQ(row[0][3].as<std::string>(), "t");
  EXPECT_TRUE(branch->rollback().is_ok());
}

TEST_F(PostgresFirstStatement, is_in_the_transaction_by_every_way_to_the_server) {
  const std::string one = update(1, -1);
  const std::vector<std::function<void(Postgres::Session&)>> ways = {
      [&](Postgres::Session& sql) { sql.exec(one); },
      [&](Postgres::Session& sql) { sql.exec(one + "; \n"); },
      [&](Postgres::Session& sql) { sql.exec("SELECT 1; " + one); },
      [&](Postgres::Session& sql) { sql.exec_params(one + " AND $1", true); },
      [&](Postgres::Session& sql) { sql.exec(one + " AND 'it''s' = " + sql.quote("it's")); },
      [&](pqxx::transaction_base& sql) { sql.exec(one); },
      [&](pqxx::dbtransaction& sql) { sql.exec_params(one + " AND $1", true); },
      [&](pqxx::dbtransaction& sql) {
        sql.conn().prepare("one", one);
        sql.exec_prepared("one");
      },
      [&](pqxx::dbtransaction& sql) {
        pqxx::pipeline line(sql);
        line.insert(one);
        line.complete();
      },
      [&](pqxx::dbtransaction& sql) {
        pqxx::subtransaction inner(sql);
        inner.exec(one);
        inner.commit();
      },
      [&](pqxx::dbtransaction& sql) {
        pqxx::stream_to stream(sql, table_);
        stream << std::make_tuple(3, 3);
        stream.complete();
        sql.exec(one);
      },
      [&](Postgres::Session& sql) {
        sql.exec("");
        sql.exec(one);
      },
      [&](Postgres::Session& sql) {
        sql.exec("-- nothing");
        sql.exec(one);
      },
  };
  for (std::size_t way = 0; way < ways.size(); ++way) {
    SCOPED_TRACE(way);
    auto branch = begin();
    EXPECT_NO_THROW(ways[way](Postgres::session(*branch)));
    EXPECT_EQ(value(1), "100");
    EXPECT_TRUE(branch->rollback().is_ok());
    EXPECT_EQ(value(1), "100");

    branch = begin();
    EXPECT_NO_THROW(ways[way](Postgres::session(*branch)));
    EXPECT_TRUE(branch->prepare().is_ok());
    EXPECT_EQ(value(1), "100");
    EXPECT_TRUE(branch->commit().is_ok());
    EXPECT_EQ(value(1), "99");
    run(update(1, 1) + "; DELETE FROM " + table_ + " WHERE id = 3");
  }
}

TEST_F(PostgresFirstStatement, that_fails_fails_the_branch) {
  for (const std::string& wrong :
       {std::string("UPDAT nothing"), std::string("SELECT 'open"), "UPDATE " + table_ + "_not SET v = 0",
        update(1, -1000), std::string("SELECT 1/0"), "SELECT 1; UPDAT nothing; " + update(1, -1)}) {
    SCOPED_TRACE(wrong);
    for (const int verb : {0, 1, 2}) {
      auto branch = begin();
      auto& sql = Postgres::session(*branch);
      EXPECT_THROW(sql.exec(wrong), pqxx::sql_error);
      // It does not run outside of the branch's transaction, either.
      EXPECT_THROW(sql.exec(update(1, -1)), pqxx::sql_error);
      const Reply reply = verb == 0 ? branch->prepare() : verb == 1 ? branch->commit_one_phase() : branch->rollback();
      EXPECT_EQ(reply.code, verb == 2 ? Code::ok : Code::rb_rollback) << describe(reply);
      EXPECT_NE(reply.certainty, Certainty::unknown);
      EXPECT_EQ(value(1), "100");
    }
  }
}

TEST_F(PostgresFirstStatement, that_cannot_be_read_is_shown_as_it_was_written) {
  auto branch = begin();
  try {
    Postgres::session(*branch).exec("SELECT 1 FRM x");
    FAIL();
  } catch (const pqxx::syntax_error& error) {
    EXPECT_EQ(error.query(), "SELECT 1 FRM x");
    EXPECT_EQ(error.error_position, 14);
  }
}

TEST_F(PostgresFirstStatement, that_ends_the_transaction_is_noticed_and_runs_once) {
  for (const std::string& end : {std::string("COMMIT"), update(1, -30) + "; COMMIT",
                                 update(1, -30) + "; COMMIT; SELECT 1/0", std::string("ROLLBACK")}) {
    SCOPED_TRACE(end);
    for (const bool prepares : {true, false}) {
      auto branch = begin();
      try {
        Postgres::session(*branch).exec(end);
      } catch (const pqxx::sql_error&) {
      }
      const Reply reply = prepares ? branch->prepare() : branch->rollback();
      EXPECT_EQ(reply.code, prepares ? Code::protocol_error : Code::heuristic_hazard) << describe(reply);
      EXPECT_FALSE(listed(branch->xid()));
      EXPECT_EQ(value(1), end.starts_with("UPDATE") ? "70" : "100");
      run("UPDATE " + table_ + " SET v = 100");
    }
  }
}

TEST_F(PostgresFirstStatement, on_a_session_that_has_ended_meanwhile_is_told_to_the_application) {
  for (const int verb : {0, 1, 2}) {
    resource_ = open({}, 1);
    std::string pid;
    {
      auto before = begin();
      pid = pid_of(*before);
    }
    auto branch = begin();
    kill_backend(pid);
    EXPECT_THROW(add(*branch, 1, -30), pqxx::broken_connection);
    EXPECT_THROW(add(*branch, 1, -30), pqxx::broken_connection);
    const Reply reply = verb == 0 ? branch->prepare() : verb == 1 ? branch->commit_one_phase() : branch->rollback();
    EXPECT_EQ(reply.code, verb == 2 ? Code::ok : Code::rb_comm_fail) << describe(reply);
    EXPECT_EQ(value(1), "100");
    branch.reset();
    EXPECT_NE(pid_of(*begin()), pid);
  }
}

TEST_F(PostgresFirstStatement, that_the_server_refuses_to_begin_with_is_rolled_back_for_certain) {
  go_through_proxy();
  const auto spoil = [](std::string_view message) {
    std::string text(message);
    return text.replace(text.find("BEGIN"), 5, "BEGIM");
  };
  // With the statement and then alone.
  const auto spoil_twice = [&](std::string_view message) {
    proxy_->on("BEGIN", spoil);
    return spoil(message);
  };
  for (const std::string first : {"exec", "exec_params", "none"}) {
    for (const int verb : {0, 1, 2}) {
      SCOPED_TRACE(first + ", " + std::to_string(verb));
      auto branch = begin();
      auto& sql = Postgres::session(*branch);
      proxy_->on("BEGIN", first == "exec" ? TcpProxy::Edit(spoil_twice) : TcpProxy::Edit(spoil));
      if (first == "exec") {
        EXPECT_THROW(sql.exec(update(1, -30)), pqxx::broken_connection);
      }
      if (first == "exec_params") {
        EXPECT_THROW(sql.exec_params(update(1, -30)), pqxx::broken_connection);
      }
      // Also when nobody tries again, which would show the driver that the session is lost.
      if (first != "none" && verb == 1) {
        EXPECT_THROW(sql.exec(update(1, -30)), pqxx::broken_connection);
      }
      const Reply reply = verb == 0 ? branch->prepare() : verb == 1 ? branch->commit_one_phase() : branch->rollback();
      const Code failed = first == "none" ? Code::rb_other : Code::rb_comm_fail;
      EXPECT_EQ(reply.code, verb == 2 ? Code::ok : failed) << describe(reply);
      EXPECT_NE(reply.certainty, Certainty::unknown);
      EXPECT_EQ(value(1), "100");
      branch = begin();
      add(*branch, 2, 0);
      EXPECT_TRUE(branch->rollback().is_ok());
    }
  }
}

TEST_F(PostgresFirstStatement, does_not_meet_a_session_that_was_lost_while_idle) {
  go_through_proxy();
  for (const bool reset : {true, false}) {
    std::vector<std::string> pids;
    {
      auto one = begin();
      auto two = begin();
      pids = {pid_of(*one), pid_of(*two)};
    }
    reset ? proxy_->reset() : proxy_->cut();
    for (const std::string& pid : pids) {
      ASSERT_TRUE(eventually([&] { return run("SELECT count(*) FROM pg_stat_activity WHERE pid = " + pid) == "0"; }));
    }
    for (int i = 0; i < 3; ++i) {
      auto branch = begin();
      ASSERT_TRUE(branch);
      EXPECT_NO_THROW(add(*branch, 1, 0));
    }
  }
}

TEST_F(PostgresFirstStatement, or_none_on_a_session_that_was_lost_is_rolled_back_for_certain) {
  go_through_proxy();
  for (const bool prepares : {true, false}) {
    auto branch = begin();
    proxy_->cut();
    EXPECT_EQ((prepares ? branch->prepare() : branch->commit_one_phase()).code, Code::rb_comm_fail);
  }
}

TEST_F(PostgresFirstStatement, is_not_needed) {
  const auto soon = [] { return std::chrono::steady_clock::now() + 30s; };
  auto branch = begin();
  EXPECT_TRUE(branch->prepare().is_ok());
  EXPECT_TRUE(listed(branch->xid()));
  EXPECT_TRUE(branch->commit().is_ok());
  EXPECT_EQ(resource_->fate(branch->xid(), branch->evidence()).value(), Fate::committed);

  branch = begin({.deadline = soon()});
  EXPECT_TRUE(branch->set_deadline(soon()).is_ok());
  EXPECT_TRUE(branch->set_deadline(std::nullopt).is_ok());
  EXPECT_TRUE(branch->commit_one_phase().is_ok());

  branch = begin();
  EXPECT_TRUE(branch->commit_deciding("decision").is_ok());
  EXPECT_EQ(resource_->settle(branch->xid()).value(), Fate::committed);

  branch = begin({.read_only = true});
  EXPECT_TRUE(branch->end().is_ok());
  EXPECT_EQ(branch->prepare().code, Code::read_only);

  branch = begin();
  EXPECT_TRUE(branch->rollback().is_ok());
  EXPECT_FALSE(listed(branch->xid()));

  // A session on which nothing was ever said is used again.
  resource_ = open({}, 1);
  const std::string pid = pid_of(*begin());
  begin()->end();
  EXPECT_EQ(pid_of(*begin()), pid);
}

TEST_F(PostgresFirstStatement, has_the_time_that_is_left_when_it_comes) {
  const auto timeout = [](Branch& branch) {
    const std::string text = Postgres::session(branch)
                                 .exec("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'")[0][0]
                                 .as<std::string>();
    return std::chrono::milliseconds(std::stol(text));
  };
  auto branch = begin({.deadline = std::chrono::steady_clock::now() + 1h});
  EXPECT_TRUE(branch->set_deadline(std::chrono::steady_clock::now() + 20s).is_ok());
  EXPECT_LE(timeout(*branch), 20s);
  EXPECT_GT(timeout(*branch), 0s);
  branch = begin({.deadline = std::chrono::steady_clock::now() + 1h});
  EXPECT_TRUE(branch->set_deadline(std::nullopt).is_ok());
  EXPECT_EQ(timeout(*branch), 0s);
}

}  // namespace
}  // namespace assent::testing
