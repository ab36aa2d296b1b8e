// What recovery does with decisions and with branches of incarnations that are gone: safety rules 1, 2, 4, 5 and 7.
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <system_error>
#include <thread>

#include "assent/tests/unit/recoverer/fixture.h"

namespace assent {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

class Settling : public RecovererTest {};

TEST_F(Settling, commits_what_is_decided_and_rolls_back_what_is_not) {
  prepare_everywhere(old_transaction(1));
  prepare_everywhere(old_transaction(2));
  log.decide(old_transaction(1), {"ledger", "shop"});

  const RecoveryReport report = pass();

  for (const auto& each : {ledger, shop}) {
    EXPECT_THAT(each->prepared(), IsEmpty());
    EXPECT_EQ(each->count(Verb::finish_commit, Xid::of(old_transaction(1), each->name())), 1U);
    EXPECT_EQ(each->count(Verb::finish_rollback, Xid::of(old_transaction(2), each->name())), 1U);
    EXPECT_EQ(each->count(Verb::finish_commit), 1U);
    EXPECT_EQ(each->count(Verb::finish_rollback), 1U);
  }
  EXPECT_THAT(report.finished, ElementsAre(old_transaction(1)));
  EXPECT_THAT(log.unfinished(), IsEmpty());
  EXPECT_TRUE(report.clean(log.id()));
  EXPECT_EQ(branch(report, Xid::of(old_transaction(1), "shop")).label, "order 4711");
}

TEST_F(Settling, asks_each_database_once_what_it_has_prepared_when_nothing_is_rolled_back) {
  for (std::uint64_t i = 0; i < 100; ++i) {
    prepare_everywhere(old_transaction(i));
    log.decide(old_transaction(i), {"ledger", "shop"});
  }
  pass();
  EXPECT_EQ(ledger->count(Verb::recover), 1U);
  EXPECT_EQ(ledger->count(Verb::finish_commit), 100U);
}

TEST_F(Settling, asks_each_database_twice_however_many_branches_are_rolled_back) {
  for (std::uint64_t i = 1; i <= 100; ++i) prepare_everywhere(old_transaction(i));
  pass();
  EXPECT_EQ(ledger->count(Verb::recover), 2U);
  EXPECT_EQ(ledger->count(Verb::finish_rollback), 100U);
}

// In a process of its own, whose threads would have a stack larger than there is room for: none can be made.
TEST_F(Settling, goes_on_without_threads_when_none_can_be_made) {
  for (std::uint64_t i = 1; i <= 20; ++i) prepare_everywhere(old_transaction(i));
  const pid_t child = ::fork();
  if (child == 0) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, std::size_t{1} << 47);
    if (pthread_setattr_default_np(&attributes) != 0) ::_exit(2);
    try {
      std::thread([] {}).join();
      ::_exit(3);
    } catch (const std::system_error&) {
    }
    pass();
    ::_exit(ledger->prepared().empty() && shop->prepared().empty() ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(Settling, rule_1_leaves_branches_of_other_deciders_alone) {
  const TransactionId elsewhere{DeciderKind::log, LogId{8}, Incarnation{1}, 1};
  const TransactionId abandoned{DeciderKind::log, LogId{9}, Incarnation{1}, 1};
  const TransactionId unknown{DeciderKind::log, LogId{10}, Incarnation{1}, 1};
  const Xid foreign{4711, "gtrid", "bqual"};
  slots = {{1, "", 1234, LogId{8}}, {2, "", std::nullopt, LogId{9}}};
  for (const TransactionId& each : {elsewhere, abandoned, unknown}) prepare_everywhere(each);
  ledger->add_prepared(foreign);

  const RecoveryReport report = pass();

  EXPECT_EQ(ledger->prepared().size(), 4U);
  EXPECT_THAT(ledger->transcript(), IsEmpty());
  EXPECT_THAT(shop->transcript(), IsEmpty());
  EXPECT_EQ(branch(report, Xid::of(elsewhere, "shop")).evidence.owner, Owner::held_elsewhere);
  EXPECT_EQ(branch(report, Xid::of(elsewhere, "shop")).holder_pid, 1234);
  EXPECT_EQ(branch(report, Xid::of(abandoned, "shop")).evidence.owner, Owner::unheld_slot);
  EXPECT_EQ(branch(report, Xid::of(unknown, "shop")).evidence.owner, Owner::unknown_log);
  EXPECT_EQ(branch(report, foreign).evidence.owner, Owner::foreign);
}

TEST_F(Settling, rule_2_leaves_running_transactions_alone) {
  prepare_everywhere(live_transaction(1));
  engine.states[live_transaction(1)] = {EngineSays::active, {}};
  log.decide(live_transaction(2), {"ledger", "shop"});
  prepare_everywhere(live_transaction(2));
  engine.states[live_transaction(2)] = {EngineSays::active, {}};

  pass();

  EXPECT_EQ(ledger->prepared().size(), 2U);
  EXPECT_THAT(ledger->transcript(), IsEmpty());
}

TEST_F(Settling, rule_2_takes_every_live_transaction_for_running_when_there_is_no_engine_to_ask) {
  hand.live = nullptr;
  prepare_everywhere(live_transaction(1));
  const RecoveryReport report = pass();
  EXPECT_EQ(ledger->prepared().size(), 1U);
  EXPECT_EQ(branch(report, Xid::of(live_transaction(1), "shop")).resolution.verdict, Verdict::leave);
}

TEST_F(Settling, rule_2_a_moved_log_finishes_its_commits_and_presumes_nothing) {
  const Incarnation copied = log.add_incarnation(3, false);
  prepare_everywhere(log.transaction(copied, 1));
  prepare_everywhere(log.transaction(copied, 2));
  log.decide(log.transaction(copied, 1), {"ledger", "shop"});

  const RecoveryReport report = pass();

  EXPECT_THAT(ledger->prepared(), ElementsAre(Xid::of(log.transaction(copied, 2), "ledger")));
  EXPECT_TRUE(branch(report, Xid::of(log.transaction(copied, 2), "ledger")).needs_person());
  EXPECT_FALSE(report.clean(log.id()));
}

TEST_F(Settling, rule_2_ends_sessions_only_of_incarnations_that_are_gone_for_certain) {
  const Incarnation copied = log.add_incarnation(3, false);
  for (const Incarnation each : {past, live, copied}) {
    prepare_everywhere(log.transaction(each, 1));
    log.decide(log.transaction(each, 1), {"ledger", "shop"});
  }
  engine.states[live_transaction(1)] = {EngineSays::decided, {}};

  pass();

  std::size_t commits = 0;
  for (const Call& call : ledger->calls()) {
    if (call.verb != Verb::finish_commit) continue;
    ++commits;
    EXPECT_EQ(call.options.carrier_is_dead, call.xid.transaction()->incarnation == past);
  }
  EXPECT_EQ(commits, 3U);
}

TEST_F(Settling, rule_2_presumes_nothing_of_an_incarnation_that_the_log_does_not_know) {
  prepare_everywhere(log.transaction(Incarnation{77}, 1));
  const RecoveryReport report = pass();
  EXPECT_EQ(ledger->prepared().size(), 1U);
  EXPECT_EQ(report.needing_person(), 2U);
}

TEST_F(Settling, rule_4_leaves_what_is_in_doubt_prepared) {
  log.decide(live_transaction(1), {"ledger", "shop"});
  prepare_everywhere(live_transaction(1));
  engine.states[live_transaction(1)] = {EngineSays::in_doubt, {}};
  log.poison = "a sync failed";

  const RecoveryReport report = pass();

  EXPECT_EQ(ledger->prepared().size(), 1U);
  EXPECT_THAT(ledger->transcript(), IsEmpty());
  EXPECT_EQ(branch(report, Xid::of(live_transaction(1), "shop")).resolution.verdict, Verdict::wait);
}

TEST_F(Settling, rule_5_keeps_a_decision_while_one_branch_has_given_no_evidence) {
  log.decide(old_transaction(1), {"ledger", "shop"});
  prepare_everywhere(old_transaction(1));
  shop->set_down(true);

  const RecoveryReport first = pass();
  EXPECT_THAT(first.finished, IsEmpty());
  EXPECT_EQ(log.unfinished().size(), 1U);
  EXPECT_EQ(ledger->count(Verb::forget), 0U);

  shop->set_down(false);
  how.now += std::chrono::hours(1);
  EXPECT_THAT(pass().finished, ElementsAre(old_transaction(1)));
  EXPECT_THAT(shop->prepared(), IsEmpty());
}

TEST_F(Settling, rule_5_forgets_a_witness_only_after_the_decision_has_left_the_log) {
  log.decide(old_transaction(1), {"ledger", "shop"});
  prepare_everywhere(old_transaction(1));
  std::vector<std::string> at_forget;
  ledger->before(Verb::forget, [&](const Xid&) { at_forget = log.history; });
  pass();
  EXPECT_THAT(at_forget, ElementsAre("finish 1", "flush"));
}

TEST_F(Settling, rule_5_keeps_the_witness_when_the_log_could_not_be_written) {
  log.decide(old_transaction(1), {"ledger", "shop"});
  prepare_everywhere(old_transaction(1));
  log.poison = "a sync failed";
  pass();
  EXPECT_THAT(ledger->prepared(), IsEmpty());
  EXPECT_EQ(ledger->count(Verb::forget), 0U);
}

TEST_F(Settling, rule_5_keeps_the_witnesses_while_a_full_disk_keeps_the_end_out_of_the_log) {
  log.decide(old_transaction(1), {"ledger", "shop"});
  prepare_everywhere(old_transaction(1));
  log.disk_full = true;
  pass();
  EXPECT_TRUE(ledger->prepared().empty());
  EXPECT_EQ(ledger->count(Verb::forget), 0U);
}

TEST_F(Settling, rule_7_a_copied_log_takes_an_absent_witness_to_a_person_and_calls_nothing_heuristic) {
  const Incarnation copied = log.add_incarnation(3, false);
  const Incarnation adopted = log.add_incarnation(4, true, true);
  for (const Incarnation each : {copied, adopted}) {
    const TransactionId id = log.transaction(each, 1);
    log.decide(id, {"ledger"});
    ledger->set_fate(Xid::of(id, "ledger"), Fate::rolled_back);
  }
  const RecoveryReport report = pass();
  for (const Incarnation each : {copied, adopted}) {
    const BranchReport& told = branch(report, Xid::of(log.transaction(each, 1), "ledger"));
    EXPECT_EQ(told.resolution.verdict, Verdict::needs_person) << told.resolution.text;
  }
}

TEST_F(Settling, rule_2_leaves_the_witnesses_of_a_copied_log_to_the_original) {
  log.decide(old_transaction(1), {"ledger", "shop"});
  prepare_everywhere(old_transaction(1));
  log.is_moved = true;
  pass();
  EXPECT_TRUE(ledger->prepared().empty()) << "what the copy records as decided is finished";
  EXPECT_EQ(ledger->count(Verb::forget), 0U);
}

TEST_F(Settling, rule_5_shows_a_branch_that_reappears_as_resurrected) {
  log.decide(old_transaction(1), {"ledger", "shop"});
  prepare_everywhere(old_transaction(1));
  pass();
  ASSERT_EQ(log.mark(past), 2U);
  restart();
  ledger->add_prepared(Xid::of(old_transaction(1), "ledger"));

  const RecoveryReport report = pass();

  EXPECT_EQ(ledger->prepared().size(), 1U);
  EXPECT_EQ(branch(report, Xid::of(old_transaction(1), "ledger")).resolution.verdict, Verdict::resurrected);
  EXPECT_EQ(report.needing_person(), 1U);
}

TEST_F(Settling, rule_5_knows_a_finished_decision_above_the_mark) {
  log.decide(old_transaction(3), {"ledger", "shop"});
  log.decide(old_transaction(1), {"ledger", "gone"});
  prepare_everywhere(old_transaction(3));
  pass();
  ASSERT_LE(log.mark(past), 1U);
  ledger->add_prepared(Xid::of(old_transaction(3), "ledger"));
  const RecoveryReport report = pass();
  EXPECT_EQ(ledger->prepared().size(), 1U);
  EXPECT_EQ(branch(report, Xid::of(old_transaction(3), "ledger")).resolution.verdict, Verdict::resurrected);
}

TEST_F(Settling, rule_5_raises_the_mark_over_an_undecided_transaction_only_when_its_carriers_are_proven_gone) {
  log.decide(old_transaction(2), {"ledger", "shop"});
  prepare_everywhere(old_transaction(2));
  shop->answer(Verb::carrier_gone, Reply::unknown(Code::resource_failed, "no answer"));
  pass();  // of 0, shop gives no proof
  EXPECT_EQ(log.mark(past), 0U);
  pass();
  EXPECT_EQ(log.mark(past), 3U);
}

TEST_F(Settling, rule_5_does_not_raise_the_mark_while_a_session_may_still_prepare) {
  log.finish(old_transaction(2));
  shop->set_carrier(Xid::of(old_transaction(1), "shop"), true);
  shop->set_carriers_linger(true);
  pass();
  EXPECT_EQ(log.mark(past), 1U);
  shop->set_carriers_linger(false);
  pass();
  EXPECT_EQ(log.mark(past), 3U);
}

TEST_F(Settling, rule_5_proves_so_many_undecided_transactions_over_in_a_pass) {
  options.mark_proofs = 2;
  log.finish(old_transaction(5));
  pass();
  EXPECT_EQ(log.mark(past), 2U) << "0 and 1";
  pass();
  EXPECT_EQ(log.mark(past), 4U);
  pass();
  EXPECT_EQ(log.mark(past), 6U);
}

TEST_F(Settling, rule_5_does_not_raise_the_mark_over_a_branch_that_is_prepared_after_its_carrier_was_proven_gone) {
  log.decide(old_transaction(2), {"ledger", "shop"});
  prepare_everywhere(old_transaction(2));
  const Xid late = Xid::of(old_transaction(1), "shop");
  shop->before(Verb::carrier_gone, [&](const Xid& xid) {
    if (xid == late) shop->add_prepared(late);
  });
  pass();
  EXPECT_EQ(log.mark(past), 1U);
  shop->before(Verb::carrier_gone, {});
  pass();
  EXPECT_THAT(shop->prepared(), IsEmpty());
  EXPECT_EQ(shop->count(Verb::finish_rollback, late), 1U);
  EXPECT_EQ(log.mark(past), 3U);
}

TEST_F(Settling, rule_5_does_not_raise_the_mark_over_a_branch_that_its_server_hides) {
  // MariaDB, after a finish that met the leaving owner: in no list and no session, until the server starts again.
  const Xid hidden = Xid::of(old_transaction(1), "shop");
  shop->set_fate(hidden, Fate::in_progress);
  log.finish(old_transaction(2));
  pass();
  EXPECT_EQ(log.mark(past), 1U);
  shop->set_fate(hidden, Fate::rolled_back);
  pass();
  EXPECT_EQ(log.mark(past), 3U);
}

TEST_F(Settling, rule_5_raises_no_mark_over_undecided_transactions_while_a_resource_cannot_give_its_proof) {
  log.note_resource({"warehouse", identity("warehouse")});  // recorded once, and not configured now
  log.decide(old_transaction(2), {"ledger", "shop"});
  prepare_everywhere(old_transaction(2));
  EXPECT_THAT(pass().finished, ElementsAre(old_transaction(2)));
  EXPECT_EQ(log.mark(past), 0U);
}

TEST_F(Settling, rule_5_ends_no_session_for_the_mark_of_a_log_that_was_moved) {
  const Incarnation copied = log.add_incarnation(3, false);
  log.decide(log.transaction(copied, 2), {"ledger", "shop"});
  prepare_everywhere(log.transaction(copied, 2));
  pass();
  EXPECT_EQ(ledger->count(Verb::carrier_gone), 0U);
  EXPECT_EQ(log.mark(copied), 0U);
}

TEST_F(Settling, commits_a_branch_that_is_prepared_again_although_it_was_settled_before) {
  log.decide(old_transaction(1), {"ledger", "shop"});
  prepare_everywhere(old_transaction(1));
  shop->set_down(true);
  pass();
  ledger->add_prepared(Xid::of(old_transaction(1), "ledger"));
  shop->set_down(false);
  how.now += std::chrono::hours(1);
  EXPECT_THAT(pass().finished, ElementsAre(old_transaction(1)));
  EXPECT_THAT(ledger->prepared(), IsEmpty());
}

TEST_F(Settling, has_nothing_to_say_of_a_decision_that_the_engine_finished_meanwhile) {
  log.decide(live_transaction(1), {"ledger", "shop"});
  engine.before_state = [&](const TransactionId& id) { log.finish(id); };
  EXPECT_THAT(pass().branches, IsEmpty());
  EXPECT_EQ(ledger->count(Verb::fate) + ledger->count(Verb::finish_commit), 0U);
}

TEST_F(Settling, rule_7_settles_a_branch_that_is_not_found_by_its_witness) {
  log.decide(old_transaction(1), {"ledger", "shop"});
  committed(ledger, old_transaction(1));
  committed(shop, old_transaction(1));
  EXPECT_THAT(pass().finished, ElementsAre(old_transaction(1)));
  EXPECT_EQ(ledger->count(Verb::finish_commit), 0U);
}

TEST_F(Settling, rule_7_asks_the_witness_when_a_commit_is_answered_not_found) {
  log.decide(old_transaction(1), {"ledger", "shop"});
  prepare_everywhere(old_transaction(1));
  const Xid xid = Xid::of(old_transaction(1), "ledger");
  ledger->before(Verb::finish_commit, [&](const Xid&) {  // somebody else is faster
    ledger->lose(xid);
    ledger->set_fate(xid, Fate::committed);
  });
  const RecoveryReport report = pass();
  EXPECT_THAT(report.finished, ElementsAre(old_transaction(1)));
  EXPECT_EQ(branch(report, xid).resolution.verdict, Verdict::finished);
}

TEST_F(Settling, rule_7_takes_not_found_without_a_witness_to_a_person_and_never_for_success) {
  log.decide(old_transaction(1), {"ledger", "shop"});
  committed(shop, old_transaction(1));

  const RecoveryReport report = pass();

  const BranchReport& lost = branch(report, Xid::of(old_transaction(1), "ledger"));
  EXPECT_EQ(lost.resolution.verdict, Verdict::needs_person);
  ASSERT_TRUE(lost.answer.has_value()) << "the commit was not even tried";
  EXPECT_EQ(lost.answer->code, Code::not_found);
  EXPECT_EQ(report.needing_person(), 1U);
  EXPECT_EQ(log.unfinished().size(), 1U);
}

TEST_F(Settling, rule_7_waits_for_a_branch_that_the_server_hides) {
  log.decide(old_transaction(1), {"ledger", "shop"});
  committed(shop, old_transaction(1));
  const Xid xid = Xid::of(old_transaction(1), "ledger");
  ledger->set_fate(xid, Fate::in_progress);

  const RecoveryReport report = pass();
  EXPECT_EQ(branch(report, xid).resolution.verdict, Verdict::wait);
  EXPECT_FALSE(branch(report, xid).needs_person());

  ledger->add_prepared(xid);
  EXPECT_THAT(pass().finished, ElementsAre(old_transaction(1)));
}

TEST_F(Settling, rule_7_shows_a_decided_branch_that_was_rolled_back_as_heuristic_and_tells_the_engine_once) {
  log.decide(live_transaction(1), {"ledger", "shop"});
  engine.states[live_transaction(1)] = {EngineSays::decided, {"shop"}};
  ledger->set_fate(Xid::of(live_transaction(1), "ledger"), Fate::rolled_back);

  EXPECT_EQ(pass().needing_person(), 1U);
  pass();

  EXPECT_THAT(engine.told, ElementsAre("resolved 1 ledger XA_HEURRB"));
  EXPECT_EQ(log.unfinished().size(), 1U);
}

TEST_F(Settling, a_rollback_answered_to_a_decided_commit_is_heuristic) {
  log.decide(old_transaction(1), {"ledger"});
  prepare_everywhere(old_transaction(1));
  ledger->answer(Verb::finish_commit, Reply::not_done(Code::rb_rollback, "rolled back"));
  const Xid xid = Xid::of(old_transaction(1), "ledger");
  ledger->before(Verb::finish_commit, [&](const Xid&) { ledger->lose(xid); });
  const RecoveryReport report = pass();
  EXPECT_EQ(branch(report, xid).resolution.verdict, Verdict::heuristic);
  EXPECT_EQ(log.unfinished().size(), 1U);
}

TEST_F(Settling, completes_what_the_engine_left_pending) {
  log.decide(live_transaction(1), {"ledger", "shop"});
  shop->add_prepared(Xid::of(live_transaction(1), "shop"));
  engine.states[live_transaction(1)] = {EngineSays::decided, {"ledger"}};

  EXPECT_THAT(pass().finished, ElementsAre(live_transaction(1)));

  EXPECT_THAT(engine.told, ElementsAre("resolved 1 shop XA_OK", "finished 1"));
  EXPECT_EQ(ledger->count(Verb::fate), 0U);
  EXPECT_EQ(ledger->count(Verb::finish_commit), 0U);
}

TEST_F(Settling, remembers_evidence_that_an_earlier_pass_got) {
  log.decide(live_transaction(1), {"ledger", "shop"});
  prepare_everywhere(live_transaction(1));
  engine.states[live_transaction(1)] = {EngineSays::decided, {}};
  shop->set_down(true);
  pass();
  const std::size_t asked = ledger->count(Verb::fate) + ledger->count(Verb::finish_commit);
  how.now += std::chrono::hours(1);
  shop->set_down(false);
  pass();
  EXPECT_EQ(ledger->count(Verb::fate) + ledger->count(Verb::finish_commit), asked);
  EXPECT_THAT(engine.told, ElementsAre("resolved 1 ledger XA_OK", "resolved 1 shop XA_OK", "finished 1"));
}

TEST_F(Settling, settles_the_logs_of_adopted_slots_in_the_same_pass) {
  MemoryLog adopted{LogId{8}};
  const TransactionId theirs = adopted.transaction(adopted.add_incarnation(5), 1);
  for (const auto& each : {ledger, shop}) adopted.note_resource({each->name(), identity(each->name())});
  adopted.decide(theirs, {"ledger", "shop"});
  prepare_everywhere(theirs);
  prepare_everywhere(old_transaction(1));

  const RecoveryReport report = recoverer().pass({hand, {&adopted, std::nullopt, nullptr}}, slots, how);

  EXPECT_THAT(report.finished, ElementsAre(theirs));
  EXPECT_THAT(ledger->prepared(), IsEmpty());
  EXPECT_TRUE(report.clean(adopted.id()));
}

}  // namespace
}  // namespace assent
