// Safety rule 6: the order of a pass, and prepares that land after their transaction is over.
#include "assent/tests/unit/recoverer/fixture.h"

namespace assent {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class LatePrepare : public RecovererTest {
 protected:
  void roll_back_unconfirmed(const TransactionId& id, const std::string& resource) {
    engine.states[id] = {EngineSays::rollback_unconfirmed, {}};
    engine.unconfirmed.push_back({id, resource, ""});
  }
};

TEST_F(LatePrepare, rule_6_a_transaction_that_decides_and_ends_during_the_pass_is_not_rolled_back) {
  // Listed while running; then it decides, and leaves the engine with shop pending, between the listing and whatever is
  // read next. Each order of reading but "engine, then log" sees it inactive and undecided at some interleaving.
  const TransactionId id = live_transaction(1);
  prepare_everywhere(id);
  engine.states[id] = {EngineSays::active, {}};
  bool engine_was_asked_first = false;
  engine.before_state = [&](const TransactionId&) { engine_was_asked_first = true; };
  log.before_unfinished = [&] {
    EXPECT_TRUE(engine_was_asked_first) << "the log was read before the engine was asked";
    log.decide(id, {"ledger", "shop"});
    engine.states[id] = {EngineSays::decided, {}};
  };
  pass();
  EXPECT_EQ(ledger->count(Verb::finish_rollback), 0U);
  EXPECT_EQ(shop->count(Verb::finish_rollback), 0U);
}

TEST_F(LatePrepare, rule_6_asks_the_engine_only_after_everything_was_listed) {
  prepare_everywhere(live_transaction(1));
  engine.states[live_transaction(1)] = {EngineSays::active, {}};
  std::size_t listed = 0;
  engine.before_state = [&](const TransactionId&) {
    listed = ledger->count(Verb::recover) + shop->count(Verb::recover);
  };
  pass();
  EXPECT_EQ(listed, 2U);
}

TEST_F(LatePrepare, rule_6_lists_again_before_it_calls_a_branch_resurrected) {
  // Listed while running; finished, and forgotten by the engine, before the engine is asked.
  const TransactionId id = live_transaction(1);
  prepare_everywhere(id);
  engine.before_state = [&](const TransactionId&) {
    ledger->lose(Xid::of(id, "ledger"));
    shop->lose(Xid::of(id, "shop"));
  };
  const RecoveryReport report = pass();
  EXPECT_EQ(report.needing_person(), 0U);
  EXPECT_EQ(branch(report, Xid::of(id, "shop")).resolution.verdict, Verdict::finished);
}

TEST_F(LatePrepare, rule_6_lists_again_before_it_rolls_back) {
  const Xid xid = Xid::of(old_transaction(1), "ledger");
  ledger->add_prepared(xid);
  engine.before_state = {};
  log.before_unfinished = [&] { ledger->lose(xid); };
  const RecoveryReport report = pass();
  EXPECT_EQ(ledger->count(Verb::finish_rollback), 0U);
  EXPECT_EQ(branch(report, xid).resolution.verdict, Verdict::wait);
}

TEST_F(LatePrepare, rule_6_a_prepare_that_lands_after_an_empty_pass_is_rolled_back_by_a_later_one) {
  pass();
  pass();
  const Xid late = Xid::of(old_transaction(1), "shop");
  shop->add_prepared(late);
  pass();
  EXPECT_EQ(shop->count(Verb::finish_rollback, late), 1U);
  EXPECT_THAT(shop->prepared(), IsEmpty());
  // and again: nothing is remembered of it
  shop->add_prepared(late);
  pass();
  EXPECT_EQ(shop->count(Verb::finish_rollback, late), 2U);
}

TEST_F(LatePrepare, rule_6_an_unconfirmed_rollback_waits_while_a_session_may_still_prepare) {
  const Xid xid = Xid::of(live_transaction(1), "shop");
  roll_back_unconfirmed(live_transaction(1), "shop");
  shop->set_carrier(xid, true);

  EXPECT_EQ(branch(pass(), xid).resolution.verdict, Verdict::wait);
  EXPECT_THAT(engine.told, IsEmpty());

  shop->add_prepared(xid);  // the late prepare
  pass();
  EXPECT_THAT(shop->prepared(), IsEmpty());
  EXPECT_THAT(engine.told, ElementsAre("resolved 1 shop XA_OK"));
  for (const Call& call : shop->calls()) EXPECT_FALSE(call.options.carrier_is_dead);
}

TEST_F(LatePrepare, rule_6_an_unconfirmed_rollback_is_confirmed_when_the_carrier_is_gone_and_nothing_is_prepared) {
  roll_back_unconfirmed(live_transaction(1), "shop");
  const RecoveryReport report = pass();
  EXPECT_EQ(branch(report, Xid::of(live_transaction(1), "shop")).resolution.verdict, Verdict::finished);
  EXPECT_THAT(engine.told, ElementsAre("resolved 1 shop XA_OK"));
}

TEST_F(LatePrepare, rule_6_lists_again_after_the_carrier_is_proven_gone) {
  // The prepare lands after the listing, and its session ends before recovery asks for it.
  const Xid xid = Xid::of(live_transaction(1), "shop");
  roll_back_unconfirmed(live_transaction(1), "shop");
  shop->before(Verb::carrier_gone, [&](const Xid&) { shop->add_prepared(xid); });
  pass();
  EXPECT_EQ(shop->count(Verb::finish_rollback, xid), 1U);
  EXPECT_THAT(shop->prepared(), IsEmpty());
}

TEST_F(LatePrepare, a_rollback_that_was_committed_by_somebody_is_heuristic) {
  const Xid xid = Xid::of(live_transaction(1), "shop");
  roll_back_unconfirmed(live_transaction(1), "shop");
  shop->set_fate(xid, Fate::committed);
  EXPECT_EQ(branch(pass(), xid).resolution.verdict, Verdict::heuristic);
  EXPECT_THAT(engine.told, ElementsAre("resolved 1 shop XA_HEURCOM"));
}

TEST_F(LatePrepare, a_lost_answer_to_a_rollback_is_asked_again) {
  const Xid xid = Xid::of(old_transaction(1), "shop");
  shop->add_prepared(xid);
  shop->answer(Verb::finish_rollback, Reply::unknown(Code::resource_failed, "no answer"));
  EXPECT_FALSE(branch(pass(), xid).done);
  how.now += std::chrono::hours(1);
  EXPECT_TRUE(branch(pass(), xid).done);
  EXPECT_EQ(shop->count(Verb::finish_rollback, xid), 2U);
}

}  // namespace
}  // namespace assent
