// What the servers do to a branch when something goes wrong inside of it, and how each verb says so.

#include <cppconn/exception.h>

#include <thread>

#include "assent/tests/support/tcp_proxy.h"
#include "fixture.h"

namespace assent::mysql_test {
namespace {

using assent::testing::TcpProxy;

/// A setting of the whole server, for as long as it lives.
class Setting {
 public:
  Setting(mysql::Session& admin, const std::string& on, std::string off) : admin_(admin), off_(std::move(off)) {
    EXPECT_TRUE(admin_.run({"SET GLOBAL " + on}).ok());
  }
  ~Setting() { end(); }
  Setting(const Setting&) = delete;
  Setting& operator=(const Setting&) = delete;
  void end() const { EXPECT_TRUE(admin_.run({"SET GLOBAL " + off_}).ok()); }

 private:
  mysql::Session& admin_;
  std::string off_;
};

/// As an operator makes a server that is about to hand over to another.
struct ReadOnly : Setting {
  explicit ReadOnly(mysql::Session& admin) : Setting(admin, "read_only=1", "read_only=0") {}
};

class Failures : public Server {
 protected:
  std::unique_ptr<mysql::Session> admin_session() {
    auto session = mysql::Session::open(mysql::Settings::from(spec_of(admin_url_)));
    EXPECT_TRUE(session) << describe(session.failure());
    return session ? std::move(session).value() : nullptr;
  }
  /// Asked until it is known: a session that is just ending holds its witness for a moment.
  Fate settled(const Xid& id) {
    while (true) {
      const auto fate = shop_->settle(id);
      if (fate) return *fate;
      EXPECT_EQ(fate.failure().code, Code::retry) << describe(fate.failure());
      if (fate.failure().code != Code::retry) return Fate::unknown;
    }
  }
  int thrown_by(Branch& branch, const std::string& text) {
    try {
      run(branch, text);
    } catch (const sql::SQLException& error) {
      return error.getErrorCode();
    }
    return 0;
  }
  void kill_session_of(Branch& branch) {
    const std::string id = query(branch, "SELECT CONNECTION_ID()");
    sql("KILL CONNECTION " + id);
    // MySQL takes a session off its process list before it has rolled back; the lock goes after that.
    await_release_of(branch.xid());
  }
  void await_end_of(const std::string& id) {
    while (sql("SELECT COUNT(*) FROM information_schema.processlist WHERE id=" + id) != "0") std::this_thread::yield();
  }
  /// A branch that holds row 1 and was made a deadlock's victim.
  std::unique_ptr<Branch> deadlocked(const Xid& id) {
    auto victim = start(id);
    write(*victim, 5, 1);
    const auto other = connect();
    // The other has changed more rows, so the server picks ours.
    EXPECT_TRUE(other
                    ->run({"START TRANSACTION", "INSERT INTO " + table_ + " VALUES (11,0),(12,0),(13,0),(14,0),(15,0)",
                           "UPDATE " + table_ + " SET v=1 WHERE id=2"})
                    .ok());
    std::thread waiting([&] { static_cast<void>(other->run({"UPDATE " + table_ + " SET v=1 WHERE id=1"})); });
    // Not before the other waits, or there would be no deadlock.
    const std::string waits =
        "SELECT COUNT(*) FROM information_schema.processlist WHERE id=" + std::to_string(other->facts().connection_id) +
        " AND command='Query' AND info LIKE 'UPDATE%'";
    while (sql(waits) != "1") std::this_thread::yield();
    int error = 0;
    for (int i = 0; i < 100 && error == 0; ++i) error = thrown_by(*victim, "UPDATE " + table_ + " SET v=6 WHERE id=2");
    EXPECT_EQ(error, 1213);
    waiting.join();
    static_cast<void>(other->run({"ROLLBACK"}));
    return victim;
  }
  std::pair<std::shared_ptr<ResourceManager>, std::unique_ptr<TcpProxy>> through_proxy() {
    ResourceSpec spec = spec_of(url_);
    auto proxy = std::make_unique<TcpProxy>(spec.url.host, spec.url.port);
    spec.url.port = proxy->port();
    return {registry_.open(spec), std::move(proxy)};
  }
};
ASSENT_ON_EACH_SERVER(Failures);

TEST_P(Failures, a_deadlock_victim_cannot_be_prepared_and_its_session_lives_on) {
  const Xid id = xid();
  auto victim = deadlocked(id);
  // In a victim even a question is refused, so this one is asked of the carrier's lock.
  const std::string session = owner_of(id);
  ASSERT_NE(session, "");
  const Reply reply = victim->prepare();
  EXPECT_EQ(reply.code, Code::rb_deadlock) << describe(reply);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_FALSE(listed(id));
  EXPECT_EQ(shop_->fate(id, "").value(), Fate::rolled_back);
  EXPECT_EQ(v(1), 0);
  auto next = start(xid());
  EXPECT_EQ(query(*next, "SELECT CONNECTION_ID()"), session);
}

TEST_P(Failures, a_deadlock_victim_is_not_committed_in_one_phase) {
  const Xid id = xid();
  const Reply reply = deadlocked(id)->commit_one_phase();
  EXPECT_EQ(reply.code, Code::rb_deadlock) << describe(reply);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_EQ(shop_->settle(id).value(), Fate::rolled_back);
}

TEST_P(Failures, a_deadlock_victim_is_rolled_back) {
  const Xid id = xid();
  auto victim = deadlocked(id);
  const Reply reply = victim->rollback();
  EXPECT_EQ(reply.code, Code::ok) << describe(reply);
  await_release_of(id);
}

TEST_P(Failures, a_lock_wait_timeout_is_thrown_and_leaves_the_earlier_work_in_the_branch) {
  ASSERT_TRUE(plain_->run({"START TRANSACTION", "UPDATE " + table_ + " SET v=1 WHERE id=2"}).ok());
  auto branch = start(xid());
  write(*branch, 5, 1);
  run(*branch, "SET SESSION innodb_lock_wait_timeout=1");
  EXPECT_EQ(thrown_by(*branch, "UPDATE " + table_ + " SET v=5 WHERE id=2"), 1205);
  ASSERT_TRUE(plain_->run({"ROLLBACK"}).ok());
  EXPECT_EQ(branch->prepare().code, Code::ok);
  EXPECT_EQ(branch->commit().code, Code::ok);
  EXPECT_EQ(v(1), 5);
  EXPECT_EQ(v(2), 0);
}

TEST_P(Failures, a_duplicate_key_is_thrown_and_leaves_the_earlier_work_in_the_branch) {
  auto branch = start(xid());
  write(*branch, 5);
  EXPECT_EQ(thrown_by(*branch, "INSERT INTO " + table_ + " VALUES (2,2)"), 1062);
  EXPECT_EQ(branch->commit_one_phase().code, Code::ok);
  EXPECT_EQ(v(1), 5);
}

TEST_P(Failures, rows_of_a_table_without_transactions_survive_a_rollback) {
  const std::string myisam = table_ + "_myisam";
  sql("DROP TABLE IF EXISTS " + myisam);
  sql("CREATE TABLE " + myisam + " (id INT PRIMARY KEY) ENGINE=MyISAM");
  auto branch = start(xid());
  // MySQL refuses the statement where it enforces that transactions can be replicated by GTID (1785).
  const int refused = thrown_by(*branch, "INSERT INTO " + myisam + " VALUES (1)");
  EXPECT_TRUE(refused == 0 || (refused == 1785 && !mariadb())) << refused;
  EXPECT_EQ(branch->rollback().code, Code::ok);
  EXPECT_EQ(sql("SELECT COUNT(*) FROM " + myisam), refused == 0 ? "1" : "0");
  sql("DROP TABLE " + myisam);
}

TEST_P(Failures, a_killed_session_prepares_nothing) {
  const Xid id = xid();
  auto branch = start(id);
  write(*branch, 5);
  kill_session_of(*branch);
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::resource_failed) << describe(reply);
  EXPECT_EQ(reply.certainty, Certainty::unknown);
  EXPECT_TRUE(shop_->carrier_gone(id, {}).value());
  EXPECT_EQ(shop_->fate(id, "").value(), Fate::rolled_back);
}

TEST_P(Failures, a_killed_session_does_not_commit_in_one_phase) {
  const Xid id = xid();
  auto branch = start(id);
  write(*branch, 5);
  kill_session_of(*branch);
  const Reply reply = branch->commit_one_phase();
  EXPECT_EQ(reply.code, Code::resource_failed) << describe(reply);
  EXPECT_EQ(reply.certainty, Certainty::unknown);
  EXPECT_EQ(shop_->settle(id).value(), Fate::rolled_back);
  EXPECT_EQ(v(1), 0);
}

TEST_P(Failures, a_killed_session_is_rolled_back_and_does_not_say_so) {
  const Xid id = xid();
  auto branch = start(id);
  write(*branch, 5);
  kill_session_of(*branch);
  const Reply reply = branch->rollback();
  EXPECT_EQ(reply.certainty, Certainty::unknown) << describe(reply);
  EXPECT_EQ(shop_->fate(id, "").value(), Fate::rolled_back);
}

TEST_P(Failures, a_session_killed_after_prepare_leaves_the_branch_to_recovery) {
  for (const bool commit : {true, false}) {
    const Xid id = xid();
    auto branch = start(id);
    write(*branch, 5);
    const std::string session = query(*branch, "SELECT CONNECTION_ID()");
    ASSERT_EQ(branch->prepare().code, Code::ok);
    sql("KILL CONNECTION " + session);
    await_release_of(id);
    const Reply reply = commit ? branch->commit() : branch->rollback();
    EXPECT_EQ(reply.code, Code::resource_failed) << describe(reply);
    EXPECT_EQ(reply.certainty, Certainty::unknown);
    const Reply again = commit ? shop_->commit(id, {}) : shop_->rollback(id, {});
    EXPECT_EQ(again.code, Code::ok) << describe(again);
    EXPECT_EQ(v(1), 5);
    EXPECT_EQ(shop_->fate(id, "").value(), commit ? Fate::committed : Fate::rolled_back);
  }
}

TEST_P(Failures, a_session_killed_while_it_idled_in_the_pool_is_replaced) {
  auto branch = start(xid());
  const std::string session = query(*branch, "SELECT CONNECTION_ID()");
  ASSERT_EQ(branch->rollback().code, Code::ok);
  sql("KILL CONNECTION " + session);
  await_end_of(session);
  auto next = start(xid());
  ASSERT_TRUE(next);
  write(*next, 5);
  EXPECT_EQ(next->commit_one_phase().code, Code::ok);
}

TEST_P(Failures, a_lost_reply_to_commit_is_told_by_the_witness) {
  auto [shop, proxy] = through_proxy();
  const Xid id = xid();
  auto branch = shop->start(id, {});
  ASSERT_TRUE(branch) << describe(branch.failure());
  write(**branch, 5);
  ASSERT_EQ((*branch)->prepare().code, Code::ok);
  proxy->on("XA COMMIT", TcpProxy::Fault::lose_reply);
  const Reply reply = (*branch)->commit();
  EXPECT_EQ(reply.code, Code::resource_failed) << describe(reply);
  EXPECT_EQ(reply.certainty, Certainty::unknown);
  const Reply again = shop_->commit(id, {.carrier_is_dead = true});
  EXPECT_EQ(again.code, Code::not_found) << describe(again);
  EXPECT_EQ(shop_->fate(id, "").value(), Fate::committed);
  EXPECT_EQ(v(1), 5);
}

TEST_P(Failures, a_lost_request_to_commit_leaves_the_branch_in_progress) {
  auto [shop, proxy] = through_proxy();
  const Xid id = xid();
  auto branch = shop->start(id, {});
  ASSERT_TRUE(branch);
  write(**branch, 5);
  ASSERT_EQ((*branch)->prepare().code, Code::ok);
  proxy->on("XA COMMIT", TcpProxy::Fault::lose_request);
  EXPECT_EQ((*branch)->commit().certainty, Certainty::unknown);
  EXPECT_EQ(shop_->fate(id, "").value(), Fate::in_progress);
  const Reply again = shop_->commit(id, {.carrier_is_dead = true});
  EXPECT_EQ(again.code, Code::ok) << describe(again);
  EXPECT_EQ(v(1), 5);
}

TEST_P(Failures, a_lost_reply_to_prepare_leaves_the_branch_prepared) {
  auto [shop, proxy] = through_proxy();
  // One statement a message, so that the reply that is lost is the verb's own.
  const auto own = application_connection(proxy->port());
  const Xid id = xid();
  auto branch = MySql::adopt(*shop, *own, id, {});
  ASSERT_TRUE(branch);
  write(**branch, 5);
  proxy->on("XA PREPARE", TcpProxy::Fault::lose_reply);
  EXPECT_EQ((*branch)->prepare().certainty, Certainty::unknown);
  EXPECT_TRUE(listed(id));
  EXPECT_EQ(shop_->fate(id, "").value(), Fate::in_progress);
  EXPECT_TRUE(shop_->carrier_gone(id, {.carrier_is_dead = true}).value());
  const Reply reply = shop_->rollback(id, {.carrier_is_dead = true});
  EXPECT_EQ(reply.code, Code::ok) << describe(reply);
  EXPECT_EQ(shop_->fate(id, "").value(), Fate::rolled_back);
}

TEST_P(Failures, a_lost_reply_to_a_one_phase_commit_is_settled_as_committed) {
  auto [shop, proxy] = through_proxy();
  // One statement a message, so that the reply that is lost is the verb's own.
  const auto own = application_connection(proxy->port());
  const Xid id = xid();
  auto branch = MySql::adopt(*shop, *own, id, {});
  ASSERT_TRUE(branch);
  write(**branch, 5);
  proxy->on("ONE PHASE", TcpProxy::Fault::lose_reply);
  EXPECT_EQ((*branch)->commit_one_phase().certainty, Certainty::unknown);
  EXPECT_EQ(shop_->settle(id).value(), Fate::committed);
  EXPECT_EQ(v(1), 5);
}

TEST_P(Failures, a_lost_request_for_a_one_phase_commit_is_settled_as_rolled_back) {
  auto [shop, proxy] = through_proxy();
  const Xid id = xid();
  auto branch = shop->start(id, {});
  ASSERT_TRUE(branch);
  write(**branch, 5);
  proxy->on("ONE PHASE", TcpProxy::Fault::lose_request);
  EXPECT_EQ((*branch)->commit_one_phase().certainty, Certainty::unknown);
  const auto fate = shop_->settle(id);
  ASSERT_TRUE(fate) << describe(fate.failure());
  EXPECT_EQ(*fate, Fate::rolled_back);
  EXPECT_EQ(shop_->settle(id).value(), Fate::rolled_back);
  EXPECT_EQ(v(1), 0);
}

TEST_P(Failures, a_server_whose_transactions_only_read_by_default_is_written_to_all_the_same) {
  const auto admin = admin_session();
  const Setting reads(*admin, "TRANSACTION READ ONLY", "TRANSACTION READ WRITE");
  const auto fresh = registry_.open(spec_of(url_, 1));
  for (int i = 1; i <= 2; ++i) {  // a session that is new, and one that was reset
    auto branch = fresh->start(xid(), {});
    ASSERT_TRUE(branch) << describe(branch.failure());
    write(**branch, i);
    ASSERT_EQ((*branch)->prepare().code, Code::ok);
    ASSERT_EQ((*branch)->commit().code, Code::ok);
    EXPECT_EQ(v(1), i);
  }
  auto own = mysql::Session::open(mysql::Settings::from(spec_of(url_)));
  ASSERT_TRUE(own);
  ASSERT_TRUE((*own)->run({"SET SESSION TRANSACTION READ ONLY"}).ok());
  auto adopted = MySql::adopt(*fresh, (*own)->connection(), xid(), {});
  ASSERT_TRUE(adopted) << describe(adopted.failure());
  write(**adopted, 3);
  EXPECT_EQ((*adopted)->commit_one_phase().code, Code::ok);
  EXPECT_EQ(v(1), 3);
}

TEST_P(Failures, witnesses_are_forgotten_also_where_the_server_demands_a_key_of_every_update) {
  const auto admin = admin_session();
  ASSERT_TRUE(admin);
  const Setting safe(*admin, "sql_safe_updates=1", "sql_safe_updates=0");
  shop_ = registry_.open(spec_of(url_));
  std::vector<Xid> finished;
  for (int i = 0; i < 3; ++i) {
    finished.push_back(xid());
    ASSERT_EQ(start(finished.back())->commit_one_phase().code, Code::ok);
  }
  const Reply reply = shop_->forget(finished);
  EXPECT_EQ(reply.code, Code::ok) << describe(reply);
  for (const Xid& id : finished) {
    EXPECT_EQ(sql("SELECT COUNT(*) FROM assent_witness WHERE gtrid=" + mysql::binary_literal(id.gtrid)), "0");
  }
}

TEST_P(Failures, a_one_phase_commit_that_the_server_refused_and_undid_is_settled_as_rolled_back) {
  const auto admin = admin_session();
  const Xid id = xid();
  auto branch = start(id);
  write(*branch, 5);
  const ReadOnly read_only(*admin);
  const Reply reply = branch->commit_one_phase();
  EXPECT_EQ(reply.certainty, Certainty::unknown) << describe(reply);
  EXPECT_NE(reply.text.find("(error 1290)"), std::string::npos) << describe(reply);
  EXPECT_FALSE(shop_->settle(id)) << "what cannot be written is not known yet";
  read_only.end();
  EXPECT_EQ(settled(id), Fate::rolled_back);
  EXPECT_EQ(v(1), 0);
}

TEST_P(Failures, a_one_phase_commit_that_waited_for_too_long_is_settled_as_rolled_back) {
  const auto admin = admin_session();
  const Xid id = xid();
  auto branch = start(id);
  write(*branch, 5);
  run(*branch, "SET SESSION lock_wait_timeout=1");
  ASSERT_TRUE(admin->run({"FLUSH TABLES WITH READ LOCK"}).ok());
  const Reply reply = branch->commit_one_phase();
  EXPECT_TRUE(admin->run({"UNLOCK TABLES"}).ok());
  EXPECT_EQ(reply.certainty, Certainty::unknown) << describe(reply);
  EXPECT_NE(reply.text.find("(error 1205)"), std::string::npos) << describe(reply);
  EXPECT_EQ(settled(id), Fate::rolled_back);
  EXPECT_EQ(v(1), 0);
}

TEST_P(Failures, a_branch_that_the_application_itself_ended_is_settled_as_it_ended) {
  for (const bool commit : {true, false}) {
    const Xid id = xid();
    auto branch = start(id);
    write(*branch, 5);
    run(*branch, "XA END " + mysql::xid_literal(id));
    run(*branch,
        commit ? "XA COMMIT " + mysql::xid_literal(id) + " ONE PHASE" : "XA ROLLBACK " + mysql::xid_literal(id));
    const Reply reply = branch->commit_one_phase();
    EXPECT_EQ(reply.certainty, Certainty::unknown) << describe(reply);
    EXPECT_EQ(shop_->settle(id).value(), commit ? Fate::committed : Fate::rolled_back);
  }
  EXPECT_EQ(v(1), 5);
}

// Its machine lost power: the server is told of no end, and would keep the silent session, and what it holds, for
// hours.
TEST_P(Failures, a_recovery_that_falls_silent_while_it_finishes_a_branch_holds_up_no_other) {
  for (const char* last_word : {"XA COMMIT", "RELEASE_ALL_LOCKS"}) {
    SCOPED_TRACE(last_word);
    const Xid id = xid();
    prepared(id, 5);
    auto [shop, proxy] = through_proxy();
    proxy->on(last_word, TcpProxy::Fault::hold_request);
    std::thread silent([&id, &held = *shop] { static_cast<void>(held.commit(id, {.carrier_is_dead = true})); });
    proxy->await_fault();
    // Each question waits some seconds for its turn.
    Reply reply = shop_->commit(id, {.carrier_is_dead = true});
    for (int again = 0; again < 10 && reply.code == Code::retry; ++again) {
      reply = shop_->commit(id, {.carrier_is_dead = true});
    }
    // On MySQL all of it is one message, which the server has not heard.
    const bool unheard = std::string(last_word) == "XA COMMIT" || !mariadb();
    EXPECT_EQ(reply.code, unheard ? Code::ok : Code::not_found) << describe(reply);
    EXPECT_EQ(shop_->fate(id, "").value(), Fate::committed);
    proxy->release();
    silent.join();
    EXPECT_FALSE(listed(id));
  }
  EXPECT_EQ(v(1), 5);
}

TEST_P(Failures, a_one_phase_commit_held_in_the_network_cannot_be_settled_and_then_commit) {
  auto [shop, proxy] = through_proxy();
  const Xid id = xid();
  auto branch = shop->start(id, {});
  ASSERT_TRUE(branch);
  write(**branch, 5);
  proxy->on("ONE PHASE", TcpProxy::Fault::hold_request);
  Reply late;
  std::thread committing([&, &held = *branch] { late = held->commit_one_phase(); });
  proxy->await_fault();
  const auto waiting = shop_->settle(id);
  ASSERT_FALSE(waiting);
  EXPECT_EQ(waiting.failure().code, Code::retry) << describe(waiting.failure());
  EXPECT_FALSE(shop_->carrier_gone(id, {}).value());
  EXPECT_TRUE(shop_->carrier_gone(id, {.carrier_is_dead = true}).value());
  EXPECT_EQ(shop_->settle(id).value(), Fate::rolled_back);
  proxy->release();
  committing.join();
  EXPECT_EQ(late.certainty, Certainty::unknown) << describe(late);
  EXPECT_EQ(v(1), 0);
}

}  // namespace
}  // namespace assent::mysql_test
