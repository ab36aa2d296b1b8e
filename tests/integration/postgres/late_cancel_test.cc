#include <atomic>
#include <thread>

#include "assent/tests/integration/postgres/fixture.h"

namespace assent::testing {
namespace {

class LateCancel : public PostgresTest {
 protected:
  // Most rounds end before a cancel meets the verb; a few are enough.
  static constexpr int rounds = 200;
};

// A cancel that was meant for a statement of the work, and arrives when the branch is being finished (57014).
TEST_F(LateCancel, of_a_rollback_of_a_prepared_branch_never_passes_for_a_rollback) {
  const auto cancelling = connect();
  int met = 0;
  for (int round = 0; round < rounds && met < 3; ++round) {
    const Xid xid = next_xid();
    auto branch = begin(xid);
    ASSERT_TRUE(branch);
    add(*branch, 1, -1);
    const std::string pid = pid_of(*branch);
    ASSERT_TRUE(branch->prepare().is_ok());
    std::atomic<bool> stop{false};
    std::atomic<bool> running{false};
    std::thread cancels([&] {
      while (!stop) {
        run(*cancelling, "SELECT count(pg_cancel_backend(" + pid + ")) FROM generate_series(1, 1000)");
        running = true;
      }
    });
    while (!running) std::this_thread::yield();
    const Reply reply = branch->rollback();
    stop = true;
    cancels.join();
    if (reply.is_ok()) continue;
    ++met;
    EXPECT_TRUE(!is_rollback(reply.code) || !listed(xid)) << describe(reply);
    branch.reset();
    EXPECT_TRUE(!listed(xid) || resource_->rollback(xid, {}).is_ok());
  }
  EXPECT_GT(met, 0) << "no cancel met a verb: the test showed nothing";
}

}  // namespace
}  // namespace assent::testing
