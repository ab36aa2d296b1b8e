// Deadlines: pushed into the servers, bounding the work, never the prepare.

#include <cppconn/exception.h>

#include <thread>

#include "fixture.h"

namespace assent::mysql_test {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

class Deadlines : public Server {
 protected:
  static int thrown_by(Branch& branch, const std::string& text) {
    try {
      run(branch, text);
    } catch (const sql::SQLException& error) {
      return error.getErrorCode();
    }
    return 0;
  }
  static std::unique_ptr<Branch> take(Result<std::unique_ptr<Branch>> branch) {
    EXPECT_TRUE(branch) << describe(branch.failure());
    return branch ? std::move(branch).value() : nullptr;
  }
};
ASSENT_ON_EACH_SERVER(Deadlines);

TEST_P(Deadlines, cut_off_a_write_that_waits_for_a_lock) {
  ASSERT_TRUE(plain_->run({"START TRANSACTION", "UPDATE " + table_ + " SET v=1 WHERE id=1"}).ok());
  const Xid id = xid();
  auto branch = take(shop_->start(id, {.deadline = steady_clock::now() + milliseconds(300)}));
  const int error = thrown_by(*branch, "UPDATE " + table_ + " SET v=2 WHERE id=1");
  EXPECT_TRUE(error == (mariadb() ? 1969 : 1317) || error == 1205) << error;
  // Only the statement was undone: the caller must roll back, and can.
  const Reply reply = branch->rollback();
  EXPECT_EQ(reply.code, Code::ok) << describe(reply);
  ASSERT_TRUE(plain_->run({"ROLLBACK"}).ok());
}

TEST_P(Deadlines, cut_off_a_long_read) {
  auto branch = take(shop_->start(xid(), {.deadline = steady_clock::now() + milliseconds(200)}));
  int error = 0;
  try {
    query(*branch, "SELECT COUNT(*) FROM " + table_ + " WHERE BENCHMARK(4000000000,SHA2(v,512))=0");
  } catch (const sql::SQLException& thrown) {
    error = thrown.getErrorCode();
  }
  EXPECT_TRUE(mariadb() ? error == 1969 : error == 3024 || error == 1317) << error;
  EXPECT_EQ(branch->rollback().code, Code::ok);
}

TEST_P(Deadlines, do_not_bound_prepare_and_commit) {
  const Xid id = xid();
  const auto deadline = steady_clock::now() + milliseconds(200);
  auto branch = take(shop_->start(id, {.deadline = deadline}));
  write(*branch, 5);
  while (steady_clock::now() < deadline + milliseconds(300)) std::this_thread::yield();
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::ok) << describe(reply);
  EXPECT_EQ(branch->commit().code, Code::ok);
  EXPECT_EQ(v(1), 5);
}

TEST_P(Deadlines, leave_nothing_on_the_session) {
  auto one = registry_.open(spec_of(url_, 1));
  auto first = take(one->start(xid(), {.deadline = steady_clock::now() + milliseconds(400)}));
  const std::string session = query(*first, "SELECT CONNECTION_ID()");
  EXPECT_EQ(first->prepare().code, Code::ok);
  EXPECT_EQ(first->commit().code, Code::ok);
  auto second = take(one->start(xid(), {}));
  EXPECT_EQ(query(*second, "SELECT CONNECTION_ID()"), session);
  EXPECT_EQ(query(*second, std::string("SELECT @@innodb_lock_wait_timeout+0=@@GLOBAL.innodb_lock_wait_timeout AND ") +
                               (mariadb() ? "@@max_statement_time" : "@@max_execution_time") + "+0=0"),
            "1");
  // Past the first one's deadline: it must not cut this off.
  EXPECT_EQ(query(*second, "SELECT SLEEP(0.8)"), "0");
  EXPECT_EQ(second->rollback().code, Code::ok);
}

TEST_P(Deadlines, can_be_moved_and_taken_away) {
  auto branch = take(shop_->start(xid(), {.deadline = steady_clock::now() + milliseconds(100)}));
  EXPECT_EQ(branch->set_deadline(steady_clock::now() + std::chrono::hours(1)).code, Code::ok);
  EXPECT_EQ(query(*branch, "SELECT SLEEP(0.4)"), "0");
  EXPECT_EQ(branch->set_deadline(std::nullopt).code, Code::ok);
  EXPECT_EQ(query(*branch, "SELECT @@innodb_lock_wait_timeout=@@GLOBAL.innodb_lock_wait_timeout"), "1");
  ASSERT_TRUE(plain_->run({"START TRANSACTION", "UPDATE " + table_ + " SET v=1 WHERE id=1"}).ok());
  EXPECT_EQ(branch->set_deadline(steady_clock::now() + milliseconds(100)).code, Code::ok);
  EXPECT_NE(thrown_by(*branch, "UPDATE " + table_ + " SET v=2 WHERE id=1"), 0);
  EXPECT_EQ(branch->rollback().code, Code::ok);
  ASSERT_TRUE(plain_->run({"ROLLBACK"}).ok());
}

TEST_P(Deadlines, that_have_passed_start_nothing) {
  const Xid id = xid();
  const auto branch = shop_->start(id, {.deadline = steady_clock::now() - milliseconds(1)});
  ASSERT_FALSE(branch);
  EXPECT_EQ(branch.failure().certainty, Certainty::not_done);
  EXPECT_EQ(owner_of(id), "");
}

}  // namespace
}  // namespace assent::mysql_test
