// The verbs of the contract, each on the real servers.

#include <cppconn/exception.h>
#include <cppconn/prepared_statement.h>

#include "fixture.h"

namespace assent::mysql_test {
namespace {

class Verbs : public Server {};
ASSENT_ON_EACH_SERVER(Verbs);

TEST_P(Verbs, commits_what_was_prepared) {
  const Xid id = xid();
  auto branch = prepared(id, 5);
  EXPECT_EQ(v(1), 0);
  EXPECT_TRUE(listed(id));
  EXPECT_EQ(shop_->fate(id, branch->evidence()).value(), Fate::in_progress);
  const Reply reply = branch->commit();
  EXPECT_EQ(reply.code, Code::ok) << describe(reply);
  EXPECT_EQ(v(1), 5);
  EXPECT_FALSE(listed(id));
  EXPECT_EQ(shop_->fate(id, branch->evidence()).value(), Fate::committed);
  await_release_of(id);
}

TEST_P(Verbs, rolls_back_what_was_prepared) {
  const Xid id = xid();
  auto branch = prepared(id, 5);
  EXPECT_EQ(branch->rollback().code, Code::ok);
  EXPECT_EQ(v(1), 0);
  EXPECT_EQ(shop_->fate(id, "").value(), Fate::rolled_back);
}

TEST_P(Verbs, rolls_back_what_was_not_prepared) {
  const Xid id = xid();
  auto branch = start(id);
  write(*branch, 5);
  EXPECT_EQ(shop_->fate(id, "").value(), Fate::in_progress);
  EXPECT_EQ(branch->rollback().code, Code::ok);
  EXPECT_EQ(v(1), 0);
  EXPECT_EQ(shop_->fate(id, "").value(), Fate::rolled_back);
  EXPECT_EQ(branch->rollback().code, Code::protocol_error);
}

TEST_P(Verbs, rolls_back_when_it_is_destroyed) {
  const Xid id = xid();
  auto branch = start(id);
  write(*branch, 5);
  branch.reset();
  EXPECT_EQ(v(1), 0);
  EXPECT_EQ(shop_->fate(id, "").value(), Fate::rolled_back);
}

TEST_P(Verbs, commits_in_one_phase) {
  const Xid id = xid();
  auto branch = start(id);
  write(*branch, 5);
  EXPECT_EQ(branch->commit_one_phase().code, Code::ok);
  EXPECT_EQ(v(1), 5);
  EXPECT_EQ(shop_->settle(id).value(), Fate::committed);
}

TEST_P(Verbs, finishes_from_elsewhere_what_a_gone_session_prepared) {
  const Xid one = xid();
  const Xid two = xid();
  prepared(one, 5).reset();
  EXPECT_TRUE(listed(one));
  const Reply committed = shop_->commit(one, {.carrier_is_dead = true});
  EXPECT_EQ(committed.code, Code::ok) << describe(committed);
  EXPECT_EQ(v(1), 5);
  prepared(two, 6).reset();
  const Reply rolled_back = shop_->rollback(two, {.carrier_is_dead = true});
  EXPECT_EQ(rolled_back.code, Code::ok) << describe(rolled_back);
  EXPECT_EQ(v(1), 5);
  const Reply again = shop_->commit(one, {});
  EXPECT_EQ(again.code, Code::not_found) << describe(again);
  EXPECT_EQ(again.certainty, Certainty::unknown);
}

TEST_P(Verbs, uses_a_session_again_and_resets_it) {
  auto one = registry_.open(spec_of(url_, 1));
  auto branch = one->start(xid(), {});
  ASSERT_TRUE(branch);
  run(**branch, "SET SESSION sql_mode='ANSI', autocommit=0, time_zone='+03:00'");
  run(**branch, "DO GET_LOCK('" + table_ + "',0)");
  run(**branch, "USE assent_test2");
  run(**branch, "SET NAMES latin1");
  run(**branch, "SET SESSION TRANSACTION READ ONLY");
  const auto session_id = [](Branch& each) { return query(each, "SELECT CONNECTION_ID()"); };
  const std::string first = session_id(**branch);
  ASSERT_EQ((*branch)->commit_one_phase().code, Code::ok);
  auto second = one->start(xid(), {});
  ASSERT_TRUE(second);
  EXPECT_EQ(session_id(**second), first);
  EXPECT_EQ(query(**second, "SELECT CONCAT_WS('/',@@autocommit+0,DATABASE(),@@time_zone,@@sql_mode=@@GLOBAL.sql_mode)"),
            "1/assent_test/SYSTEM/1");
  EXPECT_EQ(query(**second,
                  "SELECT CONCAT_WS('/',@@character_set_client,@@character_set_results,"
                  "@@character_set_connection,@@collation_connection=(SELECT COLLATION_NAME FROM "
                  "information_schema.COLLATIONS WHERE CHARACTER_SET_NAME='utf8mb4' AND IS_DEFAULT='Yes'))"),
            "utf8mb4/utf8mb4/utf8mb4/1");
  write(**second, 7);
  EXPECT_EQ(sql("SELECT IS_FREE_LOCK('" + table_ + "')"), "1");
  ASSERT_EQ((*second)->prepare().code, Code::ok);
  ASSERT_EQ((*second)->commit().code, Code::ok);
  EXPECT_EQ(v(1), 7);
  auto third = one->start(xid(), {.read_only = true});
  ASSERT_TRUE(third);
  EXPECT_EQ(session_id(**third), first);
  EXPECT_EQ((*third)->prepare().code, Code::read_only);
  auto fourth = one->start(xid(), {});
  ASSERT_TRUE(fourth);
  EXPECT_EQ(session_id(**fourth), first);
  EXPECT_EQ((*fourth)->rollback().code, Code::ok);
}

TEST_P(Verbs, holds_a_read_only_branch_to_it) {
  const Xid id = xid();
  auto branch = start(id, {.read_only = true});
  EXPECT_THROW(write(*branch, 5), sql::SQLException);
  EXPECT_EQ(branch->prepare().code, Code::read_only);
  EXPECT_FALSE(listed(id));
  // The declaration ended with the branch.
  auto next = start(xid());
  write(*next, 6);
  EXPECT_EQ(next->commit_one_phase().code, Code::ok);
  EXPECT_EQ(v(1), 6);
}

TEST_P(Verbs, runs_under_the_isolation_asked_for) {
  auto branch = start(xid(), {.isolation = Isolation::read_committed});
  const std::string question = "SELECT v FROM " + table_ + " WHERE id=1";
  EXPECT_EQ(query(*branch, question), "0");
  sql("UPDATE " + table_ + " SET v=9 WHERE id=1");
  EXPECT_EQ(query(*branch, question), "9");
  auto repeatable = start(xid(), {.isolation = Isolation::repeatable_read});
  EXPECT_EQ(query(*repeatable, question), "9");
  sql("UPDATE " + table_ + " SET v=10 WHERE id=1");
  EXPECT_EQ(query(*repeatable, question), "9");
}

TEST_P(Verbs, refuses_to_prepare_what_the_application_ended_itself) {
  for (const std::string end : {"XA COMMIT %x ONE PHASE", "XA ROLLBACK %x"}) {
    const Xid id = xid();
    auto branch = start(id);
    write(*branch, 5);
    run(*branch, "XA END " + mysql::xid_literal(id));
    std::string text = end;
    text.replace(text.find("%x"), 2, mysql::xid_literal(id));
    run(*branch, text);
    const Reply reply = branch->prepare();
    EXPECT_EQ(reply.code, Code::protocol_error) << describe(reply);
    EXPECT_EQ(reply.certainty, Certainty::not_done);
    EXPECT_FALSE(listed(id));
  }
}

TEST_P(Verbs, refuses_to_prepare_in_place_of_its_own_a_branch_that_the_application_began) {
  const Xid id = xid();
  const Xid other = xid();
  auto branch = start(id);
  run(*branch, "XA END " + mysql::xid_literal(id));
  run(*branch, "XA ROLLBACK " + mysql::xid_literal(id));
  run(*branch, "XA START " + mysql::xid_literal(other));
  write(*branch, 5);
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::protocol_error) << describe(reply);
  EXPECT_FALSE(listed(id));
  EXPECT_FALSE(listed(other));
  EXPECT_EQ(v(1), 0);
}

TEST_P(Verbs, rolls_back_when_the_application_left_a_result_unread) {
  const Xid one = xid();
  auto branch = start(one);
  write(*branch, 5);
  run(*branch, "SELECT 1");
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::rb_protocol) << describe(reply);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_FALSE(listed(one));
  auto again = start(xid());
  write(*again, 6);
  run(*again, "SELECT 1");
  EXPECT_EQ(again->rollback().code, Code::ok);
  EXPECT_EQ(v(1), 0);
}

TEST_P(Verbs, refuses_commit_inside_a_branch) {
  auto branch = start(xid());
  write(*branch, 5);
  EXPECT_THROW(run(*branch, "COMMIT"), sql::SQLException);
  EXPECT_THROW(run(*branch, "CREATE TABLE never (id INT)"), sql::SQLException);
  run(*branch, "SET autocommit=0");
  EXPECT_THROW(run(*branch, "SET autocommit=1"), sql::SQLException);
  EXPECT_EQ(v(1), 0);
  EXPECT_EQ(branch->rollback().code, Code::ok);
}

TEST_P(Verbs, refuses_the_same_xid_twice) {
  const Xid id = xid();
  auto branch = start(id);
  const auto second = shop_->start(id, {});
  ASSERT_FALSE(second);
  EXPECT_EQ(second.failure().code, Code::duplicate) << describe(second.failure());
  EXPECT_EQ(branch->rollback().code, Code::ok);
}

TEST_P(Verbs, refuses_what_is_not_its_own) {
  Xid foreign = xid();
  foreign.format_id = 1;
  EXPECT_EQ(shop_->start(foreign, {}).failure().code, Code::invalid);
  EXPECT_EQ(shop_->commit(foreign, {}).code, Code::invalid);
  EXPECT_EQ(shop_->rollback(foreign, {}).code, Code::invalid);
}

TEST_P(Verbs, adopts_a_connection_of_the_applications) {
  const auto own = connect();
  const Xid id = xid();
  auto branch = MySql::adopt(*shop_, own->connection(), id, {});
  ASSERT_TRUE(branch) << describe(branch.failure());
  write(**branch, 5);
  EXPECT_EQ((*branch)->prepare().code, Code::ok);
  EXPECT_EQ((*branch)->commit().code, Code::ok);
  branch->reset();
  EXPECT_EQ(owner_of(id), "");
  EXPECT_TRUE(own->answers());
  EXPECT_EQ(v(1), 5);
}

TEST_P(Verbs, adopts_a_connection_that_takes_one_statement_at_a_time) {
  const auto own = application_connection();
  for (int round = 1; round <= 3; ++round) {
    const Xid id = xid();
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(5);
    auto branch = MySql::adopt(*shop_, *own, id, {.deadline = deadline});
    ASSERT_TRUE(branch) << describe(branch.failure());
    EXPECT_NE(query(**branch, "SELECT @@innodb_lock_wait_timeout"), "50");
    write(**branch, round);
    if (round == 1) {
      EXPECT_EQ((*branch)->commit_one_phase().code, Code::ok);
    } else if (round == 2) {
      EXPECT_EQ((*branch)->prepare().code, Code::ok);
      EXPECT_EQ((*branch)->commit().code, Code::ok);
    } else {
      EXPECT_EQ((*branch)->rollback().code, Code::ok);
    }
    EXPECT_EQ(owner_of(id), "");
    const std::unique_ptr<sql::Statement> statement(own->createStatement());
    const std::unique_ptr<sql::ResultSet> row(statement->executeQuery("SELECT @@innodb_lock_wait_timeout"));
    ASSERT_TRUE(row->next());
    EXPECT_EQ(row->getInt(1), 50);
  }
  EXPECT_EQ(v(1), 2);
}

TEST_P(Verbs, adopts_a_connection_without_autocommit) {
  const auto own = application_connection();
  own->setAutoCommit(false);
  const Xid id = xid();
  auto branch = MySql::adopt(*shop_, *own, id, {});
  ASSERT_TRUE(branch) << describe(branch.failure());
  write(**branch, 5);
  EXPECT_EQ((*branch)->commit_one_phase().code, Code::ok);
  EXPECT_FALSE(own->getAutoCommit());
  EXPECT_EQ(v(1), 5);
}

TEST_P(Verbs, leaves_an_adopted_connection_clean_when_it_cannot_start) {
  const auto own = application_connection();
  const Xid id = xid();
  ASSERT_EQ(start(id)->commit_one_phase().code, Code::ok);
  const auto branch = MySql::adopt(*shop_, *own, id, {});
  ASSERT_FALSE(branch);
  EXPECT_EQ(branch.failure().code, Code::duplicate) << describe(branch.failure());
  EXPECT_EQ(owner_of(id), "");
  const std::unique_ptr<sql::Statement> statement(own->createStatement());
  EXPECT_FALSE(statement->execute("UPDATE " + table_ + " SET v=8 WHERE id=1"));
  EXPECT_EQ(v(1), 8);
}

TEST_P(Verbs, leave_a_borrowed_connection_its_own_time_limit_whichever_way_its_branch_ends) {
  const std::string limit = mariadb() ? "max_statement_time" : "max_execution_time";
  const auto own = connect();
  ASSERT_TRUE(own->run({"SET SESSION " + limit + "=77"}).ok());
  const auto later = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  for (const StartOptions& options : {StartOptions{}, StartOptions{.deadline = later}}) {
    for (const bool prepared : {false, true}) {
      for (const bool commits : {false, true}) {
        auto branch = MySql::adopt(*shop_, own->connection(), xid(), options);
        ASSERT_TRUE(branch) << describe(branch.failure());
        write(**branch, 7);
        if (prepared) {
          ASSERT_EQ((*branch)->prepare().code, Code::ok);
        }
        const Reply end = !commits   ? (*branch)->rollback()
                          : prepared ? (*branch)->commit()
                                     : (*branch)->commit_one_phase();
        ASSERT_EQ(end.code, Code::ok) << describe(end);
        const auto answer = own->run({"SELECT @@" + limit + "=77"});
        EXPECT_EQ(answer.value(0), "1") << "prepared " << prepared << ", commits " << commits;
      }
    }
  }
}

TEST_P(Verbs, refuses_to_adopt_a_connection_in_a_transaction) {
  const auto own = connect();
  ASSERT_TRUE(own->run({"START TRANSACTION", "UPDATE " + table_ + " SET v=7 WHERE id=1"}).ok());
  const Xid id = xid();
  const auto branch = MySql::adopt(*shop_, own->connection(), id, {});
  ASSERT_FALSE(branch);
  EXPECT_EQ(branch.failure().code, Code::outside) << describe(branch.failure());
  EXPECT_EQ(owner_of(id), "");
  ASSERT_TRUE(own->run({"COMMIT"}).ok());
  EXPECT_EQ(v(1), 7);
}

}  // namespace
}  // namespace assent::mysql_test
