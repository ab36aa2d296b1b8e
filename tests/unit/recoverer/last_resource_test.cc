// What recovery does with transactions that a last resource decides: safety rules 1, 2, 5 and 6.
#include "assent/recovery/decision.h"
#include "assent/tests/unit/recoverer/fixture.h"

namespace assent {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

/// The ledger decides; the shop is the other branch.
class LastResourceRecovery : public RecovererTest {
 protected:
  static TransactionId decided_by_ledger(const TransactionId& of) {
    return {DeciderKind::resource, of.log, of.incarnation, of.sequence, "ledger"};
  }
  static Xid at_shop(const TransactionId& of) { return Xid::of(of, "shop"); }
  static Xid at_ledger(const TransactionId& of) { return Xid::of(of, "ledger"); }
  void keep(const TransactionId& of) const {
    ledger->keep_decision(at_ledger(of), to_bytes({of, "order 4711", 1'700'000'000'000, {{"shop", "evidence"}}}));
  }
  bool kept(const TransactionId& of) const {
    const std::vector<KeptDecision> all = ledger->decisions().value();
    return std::ranges::count(all, at_ledger(of).undecided(), &KeptDecision::branch) != 0;
  }

  const TransactionId id = decided_by_ledger(old_transaction(1));
};

TEST_F(LastResourceRecovery, commits_what_its_row_decided_and_forgets_the_row_after_the_log_is_told) {
  shop->add_prepared(at_shop(id));
  keep(id);
  bool flushed_before = false;
  ledger->before(Verb::forget, [&](const Xid&) {
    flushed_before = log.history == std::vector<std::string>{"finish recovered 1", "flush"};
  });
  const RecoveryReport report = pass();
  EXPECT_THAT(shop->prepared(), IsEmpty());
  EXPECT_EQ(shop->count(Verb::finish_commit, at_shop(id)), 1U);
  EXPECT_TRUE(flushed_before) << "a crash in between must leave the row, or the log's word that it is over";
  EXPECT_FALSE(kept(id));
  EXPECT_THAT(report.finished, ElementsAre(id));
  EXPECT_EQ(branch(report, at_shop(id)).label, "order 4711");
  EXPECT_EQ(ledger->count(Verb::settle), 0U);
}

TEST_F(LastResourceRecovery, asks_the_witness_of_what_is_not_prepared_any_more) {
  keep(id);
  committed(shop, id);
  const RecoveryReport report = pass();
  EXPECT_EQ(branch(report, at_shop(id)).resolution.verdict, Verdict::finished);
  EXPECT_FALSE(kept(id));
}

TEST_F(LastResourceRecovery, keeps_the_row_while_another_database_cannot_be_asked) {
  keep(id);
  shop->set_down(true);
  pass();
  EXPECT_TRUE(kept(id));
}

TEST_F(LastResourceRecovery, bars_what_has_no_row_before_it_rolls_back) {
  shop->add_prepared(at_shop(id));
  ledger->set_carrier(at_ledger(id), true);
  std::optional<Fate> barred;
  shop->before(Verb::finish_rollback, [&](const Xid&) { barred = ledger->witness(at_ledger(id)); });
  const RecoveryReport report = pass();
  EXPECT_EQ(barred, Fate::rolled_back);
  EXPECT_THAT(shop->prepared(), IsEmpty());
  EXPECT_EQ(branch(report, at_shop(id)).resolution.rule, 1);
  for (const Call& call : ledger->calls()) {
    if (call.verb == Verb::settle) break;
    if (call.verb == Verb::carrier_gone) {
      EXPECT_TRUE(call.options.carrier_is_dead) << "the answer would wait for the session that is left";
    }
  }
}

TEST_F(LastResourceRecovery, believes_a_commit_that_lands_while_it_asks) {
  shop->add_prepared(at_shop(id));
  ledger->before(Verb::settle, [&](const Xid&) { keep(id); });
  pass();
  EXPECT_EQ(shop->count(Verb::finish_commit, at_shop(id)), 1U);
  EXPECT_EQ(shop->count(Verb::finish_rollback), 0U);
}

TEST_F(LastResourceRecovery, raises_no_mark_over_a_commit_that_landed_while_it_asked) {
  log.finish(decided_by_ledger(old_transaction(9)));
  shop->add_prepared(at_shop(id));
  ledger->before(Verb::settle, [&](const Xid&) { keep(id); });
  pass();
  EXPECT_LE(log.mark(past), 1U) << "its row is read by the next pass, which tells the log how it ended";
  pass();
  EXPECT_THAT(log.history, Contains("finish recovered 1"));
  EXPECT_FALSE(kept(id));
}

TEST_F(LastResourceRecovery, asks_once_for_all_branches_of_a_transaction) {
  const auto stock = resource("stock");
  configured.push_back({stock, {}});
  log.note_resource({"stock", identity("stock")});
  shop->add_prepared(at_shop(id));
  stock->add_prepared(Xid::of(id, "stock"));
  pass();
  EXPECT_EQ(ledger->count(Verb::settle), 1U);
  EXPECT_EQ(shop->count(Verb::finish_rollback) + stock->count(Verb::finish_rollback), 2U);
}

TEST_F(LastResourceRecovery, waits_for_a_last_resource_that_is_down) {
  shop->add_prepared(at_shop(id));
  ledger->set_down(true);
  EXPECT_EQ(branch(pass(), at_shop(id)).resolution.verdict, Verdict::wait);
  ledger->set_down(false);
  ledger->answer(Verb::settle, Reply::not_done(Code::retry, "still at work"));
  how.ask_all_now = true;
  EXPECT_EQ(branch(pass(), at_shop(id)).resolution.verdict, Verdict::wait);
  EXPECT_THAT(shop->prepared(), ElementsAre(at_shop(id)));
  pass();
  EXPECT_THAT(shop->prepared(), IsEmpty());
}

TEST_F(LastResourceRecovery, asks_a_person_where_the_last_resource_is_not_configured) {
  configured.erase(configured.begin());
  shop->add_prepared(at_shop(id));
  EXPECT_EQ(branch(pass(), at_shop(id)).resolution.verdict, Verdict::needs_person);
  EXPECT_THAT(shop->prepared(), ElementsAre(at_shop(id)));
}

TEST_F(LastResourceRecovery, believes_no_row_of_another_database) {
  keep(id);
  shop->add_prepared(at_shop(id));
  ledger->set_identity({"scripted:another", ""});
  EXPECT_EQ(branch(pass(), at_shop(id)).resolution.verdict, Verdict::needs_person);
  EXPECT_EQ(ledger->count(Verb::settle), 0U);
  EXPECT_THAT(shop->prepared(), ElementsAre(at_shop(id)));
}

TEST_F(LastResourceRecovery, a_dry_run_bars_nothing_and_says_what_would_be_done) {
  shop->add_prepared(at_shop(id));
  EXPECT_EQ(branch(dry_run(), at_shop(id)).resolution.verdict, Verdict::roll_back);
  keep(id);
  EXPECT_EQ(branch(dry_run(), at_shop(id)).resolution.verdict, Verdict::commit);
  EXPECT_EQ(ledger->count(Verb::settle), 0U);
  EXPECT_TRUE(kept(id));
}

TEST_F(LastResourceRecovery, bars_only_the_transaction_that_it_was_told_to_resolve) {
  const TransactionId other = decided_by_ledger(old_transaction(2));
  shop->add_prepared(at_shop(id));
  shop->add_prepared(at_shop(other));
  how.only = other;
  pass();
  EXPECT_THAT(shop->prepared(), ElementsAre(at_shop(id)));
  EXPECT_EQ(ledger->witness(at_ledger(id)), std::nullopt);
}

TEST_F(LastResourceRecovery, a_copied_log_finishes_what_was_decided_and_bars_nothing) {
  const Incarnation copied = log.add_incarnation(3, false);
  const TransactionId decided = decided_by_ledger(log.transaction(copied, 1));
  const TransactionId open = decided_by_ledger(log.transaction(copied, 2));
  keep(decided);
  shop->add_prepared(at_shop(decided));
  shop->add_prepared(at_shop(open));
  const RecoveryReport report = pass();
  EXPECT_EQ(shop->count(Verb::finish_commit, at_shop(decided)), 1U);
  EXPECT_EQ(branch(report, at_shop(open)).resolution.verdict, Verdict::needs_person);
  EXPECT_EQ(ledger->count(Verb::settle), 0U);
}

TEST_F(LastResourceRecovery, a_row_that_cannot_be_read_still_says_that_it_committed) {
  ledger->keep_decision(at_ledger(id), "of another version");
  shop->add_prepared(at_shop(id));
  pass();
  EXPECT_EQ(shop->count(Verb::finish_commit, at_shop(id)), 1U);
  EXPECT_TRUE(kept(id)) << "who else took part is not known";
}

TEST_F(LastResourceRecovery, leaves_alone_what_runs_in_this_process) {
  const TransactionId running = decided_by_ledger(live_transaction(5));
  engine.states[running] = {EngineSays::active, {}};
  shop->add_prepared(at_shop(running));
  pass();
  keep(running);
  pass();
  EXPECT_EQ(ledger->count(Verb::settle), 0U);
  EXPECT_THAT(shop->prepared(), ElementsAre(at_shop(running)));
  EXPECT_TRUE(kept(running));
}

TEST_F(LastResourceRecovery, finishes_what_the_engine_left_to_it_also_while_the_row_cannot_be_read) {
  const TransactionId left = decided_by_ledger(live_transaction(5));
  engine.states[left] = {EngineSays::decided, {}};
  keep(left);
  shop->add_prepared(at_shop(left));
  ledger->answer(Verb::decisions, Reply::not_done(Code::resource_failed, "busy"));
  pass();
  EXPECT_THAT(shop->prepared(), IsEmpty());
  EXPECT_TRUE(kept(left));
  pass();
  EXPECT_THAT(engine.told, Contains("finished 5"));
  EXPECT_THAT(log.history, Contains("finish 5"));
  EXPECT_FALSE(kept(left));
}

TEST_F(LastResourceRecovery, takes_a_bar_away_when_no_session_can_run_into_it_any_more) {
  ledger->set_fate(at_ledger(id), Fate::rolled_back);
  ledger->set_carrier(at_ledger(id).undecided(), true);
  ledger->set_carriers_linger(true);
  pass();
  EXPECT_TRUE(kept(id));
  ledger->set_carriers_linger(false);
  pass();
  EXPECT_FALSE(kept(id));
}

TEST_F(LastResourceRecovery, leaves_a_bar_of_its_own_incarnation) {
  const TransactionId live_one = decided_by_ledger(live_transaction(3));
  ledger->set_fate(at_ledger(live_one), Fate::rolled_back);
  pass();
  EXPECT_TRUE(kept(live_one));
}

TEST_F(LastResourceRecovery, takes_a_row_away_that_a_crash_left_behind_the_logs_word) {
  keep(id);
  log.finish(id);
  pass();
  EXPECT_FALSE(kept(id));
}

TEST_F(LastResourceRecovery, shows_a_decision_of_a_slot_that_nobody_holds) {
  const TransactionId orphan{DeciderKind::resource, LogId{9}, Incarnation{1}, 1, "ledger"};
  const TransactionId elsewhere{DeciderKind::resource, LogId{8}, Incarnation{1}, 1, "ledger"};
  keep(orphan);
  keep(elsewhere);
  slots = {{.number = 1, .directory = "1", .holder_pid = 4711, .log = LogId{8}},
           {.number = 2, .directory = "2", .holder_pid = std::nullopt, .log = LogId{9}}};
  const RecoveryReport report = pass();
  ASSERT_EQ(report.branches.size(), 1U) << "of a live process nothing is told: it is at it";
  EXPECT_EQ(report.branches[0].transaction, orphan);
  EXPECT_EQ(report.branches[0].evidence.owner, Owner::unheld_slot);
  EXPECT_TRUE(kept(orphan) && kept(elsewhere));
}

TEST_F(LastResourceRecovery, keeps_the_row_for_as_long_as_the_logs_word_is_not_on_disk) {
  keep(id);
  shop->add_prepared(at_shop(id));
  log.disk_full = true;
  pass();
  pass();
  EXPECT_TRUE(kept(id)) << "a crash now would leave neither";
  log.disk_full = false;
  pass();
  EXPECT_FALSE(kept(id));
}

TEST_F(LastResourceRecovery, raises_no_mark_over_a_decision_nor_while_decisions_cannot_be_read) {
  log.finish(decided_by_ledger(old_transaction(9)));
  const TransactionId open = decided_by_ledger(old_transaction(3));
  keep(open);
  shop->set_down(true);
  pass();
  EXPECT_EQ(log.mark(past), 0U);
  shop->set_down(false);
  shop->set_fate(at_shop(open), Fate::in_progress);
  how.ask_all_now = true;
  pass();
  EXPECT_EQ(log.mark(past), 3U) << "up to the decision that is open";
  ledger->answer(Verb::decisions, Reply::not_done(Code::resource_failed, "busy"));
  shop->set_fate(at_shop(open), Fate::committed);
  pass();
  EXPECT_EQ(log.mark(past), 3U);
  pass();
  EXPECT_EQ(log.mark(past), 10U);
}

}  // namespace
}  // namespace assent
