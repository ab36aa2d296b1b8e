// Dry runs, back-off, and what is in a report.
#include "assent/tests/unit/recoverer/fixture.h"

namespace assent {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class Reports : public RecovererTest {};

TEST_F(Reports, a_dry_run_says_what_would_be_done_and_does_nothing) {
  const auto fresh = resource("fresh");
  configured.push_back({fresh, {}});
  prepare_everywhere(old_transaction(1));
  prepare_everywhere(old_transaction(2));
  log.decide(old_transaction(1), {"ledger", "shop"});
  log.decide(old_transaction(3), {"ledger"});
  committed(ledger, old_transaction(3));

  const RecoveryReport report = dry_run();

  EXPECT_EQ(branch(report, Xid::of(old_transaction(1), "ledger")).resolution.action, Action::commit);
  EXPECT_EQ(branch(report, Xid::of(old_transaction(2), "ledger")).resolution.action, Action::roll_back);
  EXPECT_EQ(branch(report, Xid::of(old_transaction(3), "ledger")).resolution.verdict, Verdict::finished);
  EXPECT_THAT(ledger->transcript(), IsEmpty());
  EXPECT_EQ(ledger->prepared().size(), 2U);
  EXPECT_THAT(log.history, IsEmpty());
  EXPECT_THAT(report.finished, IsEmpty());
}

TEST_F(Reports, says_the_evidence_in_words_in_the_order_it_came) {
  log.decide(old_transaction(1), {"ledger"});
  ledger->add_prepared(Xid::of(old_transaction(1), "ledger"));
  const RecoveryReport report = pass();
  const BranchReport& only = branch(report, Xid::of(old_transaction(1), "ledger"));
  EXPECT_THAT(only.lines, ElementsAre("incarnation: gone, of process 4711", "log: decided to commit, not finished",
                                      "ledger lists it as prepared", HasSubstr("ledger answered the commit: XA_OK")));
  EXPECT_EQ(only.resolution.text, "the decision to commit is recorded");
  EXPECT_EQ(only.decided_at_ms, 1'700'000'000'000);
}

TEST_F(Reports, acts_on_one_transaction_only_when_told_so) {
  prepare_everywhere(old_transaction(1));
  prepare_everywhere(old_transaction(2));
  how.only = old_transaction(2);
  EXPECT_EQ(pass().branches.size(), 4U);
  EXPECT_THAT(ledger->prepared(), ElementsAre(Xid::of(old_transaction(1), "ledger")));
}

TEST_F(Reports, a_resource_that_is_down_is_asked_less_and_less_often_up_to_the_cap) {
  options.first_retry = 1s;
  options.longest_retry = 5s;
  ledger->set_down(true);
  const auto start = how.now;
  std::vector<std::chrono::seconds> asked_at;
  for (int i = 0; i <= 20; ++i) {
    how.now = start + std::chrono::seconds(i);
    const std::size_t before = ledger->count(Verb::probe);
    const RecoveryReport report = pass();
    EXPECT_EQ(report.resource("ledger")->problem, ResourceReport::Problem::unreachable);
    EXPECT_GT(report.resource("ledger")->next_try, how.now);
    if (ledger->count(Verb::probe) != before) asked_at.emplace_back(i);
  }
  EXPECT_THAT(asked_at, ElementsAre(0s, 1s, 3s, 7s, 12s, 17s));
  EXPECT_EQ(shop->count(Verb::probe), 21U);
}

TEST_F(Reports, the_back_off_begins_anew_after_a_success) {
  ledger->set_down(true);
  pass();
  how.now += 1h;
  ledger->set_down(false);
  EXPECT_TRUE(pass().resource("ledger")->usable());
  ledger->set_down(true);
  EXPECT_EQ(pass().resource("ledger")->next_try, how.now + options.first_retry);
}

TEST_F(Reports, gather_asks_also_what_is_backed_off_and_leaves_the_back_off_as_it_is) {
  ledger->set_down(true);
  pass();
  ledger->set_down(false);
  EXPECT_TRUE(recoverer().gather({hand}, slots, how.now).resource("ledger")->usable());
  EXPECT_FALSE(pass().resource("ledger")->usable());
}

TEST_F(Reports, stops_asking_a_database_that_fails_in_the_middle_of_a_pass) {
  options.sessions = 1;  // of more, each may be in the middle of a question of its own
  for (std::uint64_t i = 1; i <= 10; ++i) prepare_everywhere(old_transaction(i));
  ledger->before(Verb::finish_rollback, [&](const Xid&) { ledger->set_down(true); });
  const RecoveryReport report = pass();
  EXPECT_EQ(ledger->count(Verb::finish_rollback), 1U);
  EXPECT_EQ(report.resource("ledger")->problem, ResourceReport::Problem::unreachable);
  EXPECT_TRUE(report.resource("ledger")->next_try.has_value());
  EXPECT_THAT(shop->prepared(), IsEmpty());
}

TEST_F(Reports, resources_are_worked_on_at_the_same_time) {
  prepare_everywhere(old_transaction(1));
  const auto gate = ledger->block(Verb::finish_rollback);
  shop->before(Verb::finish_rollback, [&](const Xid&) {  // comes here while ledger stands still
    gate->wait_for_call();
    gate->open();
  });
  pass();
  EXPECT_THAT(ledger->prepared(), IsEmpty());
}

TEST_F(Reports, an_undecided_branch_of_a_resource_that_is_not_configured_needs_a_person) {
  ledger->add_prepared(Xid::of(old_transaction(1), "warehouse"));
  const RecoveryReport report = pass();
  const BranchReport& stray = branch(report, Xid::of(old_transaction(1), "warehouse"));
  EXPECT_EQ(stray.evidence.identity, IdentityIs::not_configured);
  EXPECT_TRUE(stray.needs_person());
  EXPECT_THAT(ledger->transcript(), IsEmpty());
}

}  // namespace
}  // namespace assent
