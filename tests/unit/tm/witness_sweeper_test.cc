#include "assent/tm/witness_sweeper.h"

#include "assent/adapters/scripted/scripted_resource.h"
#include "assent/recovery/log_view.h"
#include "assent/tests/unit/recovery/log_fixture.h"

namespace assent::test {
namespace {

using detail::WitnessSweeper;

class Sweeper : public LogFixture {
 protected:
  Sweeper() : log_(open()), incarnation_(log_->begin_incarnation()), sweeper_(*log_) {}
  TransactionId id(std::uint64_t sequence) const { return {DeciderKind::log, log_->id(), incarnation_, sequence}; }

  std::unique_ptr<DecisionLog> log_;
  Incarnation incarnation_;
  WitnessSweeper sweeper_;
  std::shared_ptr<ScriptedResource> shop_ = std::make_shared<ScriptedResource>("shop");
};

TEST_F(Sweeper, forgets_in_batches) {
  for (std::uint64_t i = 1; i < WitnessSweeper::batch; ++i) EXPECT_FALSE(sweeper_.add(shop_, Xid::of(id(i), "shop")));
  sweeper_.sweep(false);
  EXPECT_EQ(shop_->count(Verb::forget), 0U);
  EXPECT_TRUE(sweeper_.add(shop_, Xid::of(id(WitnessSweeper::batch), "shop")));
  sweeper_.sweep(false);
  EXPECT_EQ(shop_->count(Verb::forget), WitnessSweeper::batch);
  sweeper_.sweep(true);
  EXPECT_EQ(shop_->count(Verb::forget), WitnessSweeper::batch) << "nothing was left";
}

TEST_F(Sweeper, a_one_phase_commit_is_known_to_be_over_before_its_witness_is_forgotten) {
  // Transaction 1 runs on, so the mark cannot pass; 2 committed in one phase. Were its witness forgotten before the log
  // knows, a crash would make it look like one that never committed.
  bool known = false;
  shop_->before(Verb::forget, [&](const Xid&) { known = LogView::read(disk, "slot")->is_over(id(2)); });
  log_->finish(id(2));
  static_cast<void>(sweeper_.add(shop_, Xid::of(id(2), "shop")));
  sweeper_.sweep(true);
  EXPECT_EQ(shop_->count(Verb::forget), 1U);
  EXPECT_TRUE(known);
}

TEST_F(Sweeper, forgets_nothing_when_the_log_cannot_be_written) {
  log_->finish(id(2));
  static_cast<void>(sweeper_.add(shop_, Xid::of(id(2), "shop")));
  disk.refuse_next_write(std::errc::no_space_on_device);
  sweeper_.sweep(true);
  EXPECT_FALSE(log_->poisoned()) << "a full disk is no broken one";
  EXPECT_EQ(shop_->count(Verb::forget), 0U);
}

}  // namespace
}  // namespace assent::test
