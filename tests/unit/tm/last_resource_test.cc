// A last resource: it decides by a row that it commits with its own work, and the log is not written.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/use_future.hpp>
#include <optional>
#include <utility>

#include "assent/recovery/decision.h"
#include "assent/tests/unit/tm/engine_fixture.h"
#include "assent/tm/async.h"
#include "assent/xa/error.h"

namespace assent {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

class LastResource : public EngineFixture {
 protected:
  LastResource() {
    c_ = std::make_shared<ScriptedResource>("c", Identity{"scripted:c", ""});
    scripted_["c"] = c_;
  }
  TransactionManager open(const std::string& last = "a") {
    Config config = this->config();
    config.last_resource = last;
    return TransactionManager::open(config, registry(), observer_);
  }
  Outcome commit(TransactionManager& manager, std::vector<std::string> resources = {"a", "b"},
                 const RunOptions& options = {}) {
    return manager.run(options, [&](Transaction& transaction) {
      for (const std::string& each : resources) transaction.on(manager.resource<Scripted>(each), [](Branch&) {});
    });
  }
  /// The other database goes away before phase two: its branch is prepared, and nobody finishes it.
  TransactionId lose_b_before_phase_two(TransactionManager& manager) {
    b_->before(Verb::commit, [this](const Xid&) { b_->set_down(true); });
    const Outcome outcome = commit(manager);
    EXPECT_TRUE(outcome.committed()) << outcome.text();
    EXPECT_THAT(outcome.pending(), ElementsAre("b"));
    return outcome.id();
  }

  std::shared_ptr<ScriptedResource> c_;
};

TEST_F(LastResource, commits_last_with_the_decision_and_writes_no_log) {
  auto manager = open();
  const auto before = manager.log_counters();
  const Outcome outcome = commit(manager, {"a", "b", "c"}, {.label = "order 4711"});
  EXPECT_TRUE(outcome.committed()) << outcome.text();
  EXPECT_EQ(outcome.id().kind, DeciderKind::resource);
  EXPECT_EQ(outcome.id().decider, "a");
  EXPECT_EQ(a_->count(Verb::prepare), 0U);
  EXPECT_EQ(a_->count(Verb::commit_deciding), 1U);
  EXPECT_EQ(b_->count(Verb::prepare) + b_->count(Verb::commit), 2U);
  EXPECT_EQ(c_->count(Verb::prepare) + c_->count(Verb::commit), 2U);
  const auto kept = a_->decisions();
  ASSERT_EQ(kept.value().size(), 1U);
  const auto decision = decision_from(kept.value()[0].decision);
  ASSERT_TRUE(decision);
  EXPECT_EQ(decision->id.text(), outcome.id().text());
  EXPECT_EQ(decision->label, "order 4711");
  EXPECT_THAT(decision->branches, UnorderedElementsAre(DecidedBranch{"b", ""}, DecidedBranch{"c", ""}));
  EXPECT_EQ(manager.log_counters().decisions, before.decisions);
}

TEST_F(LastResource, of_one_transaction_or_of_all_but_one) {
  auto manager = open("");
  EXPECT_EQ(commit(manager).id().kind, DeciderKind::log);
  EXPECT_EQ(commit(manager, {"a", "b"}, {.last_resource = "b"}).id().decider, "b");
  EXPECT_EQ(b_->count(Verb::commit_deciding), 1U);
  manager = open("a");
  EXPECT_EQ(commit(manager, {"a", "b"}, {.last_resource = ""}).id().kind, DeciderKind::log);
}

TEST_F(LastResource, forces_the_log_only_at_the_close_and_forgets_its_rows_then) {
  {
    auto manager = open();
    ASSERT_TRUE(commit(manager).committed());
    manager.recover_now();  // notes in the log who c is
    const auto before = manager.log_counters();
    for (int i = 0; i < 100; ++i) ASSERT_TRUE(commit(manager).committed());
    EXPECT_EQ(manager.log_counters().syncs, before.syncs);
  }
  EXPECT_THAT(a_->decisions().value(), IsEmpty());
}

TEST_F(LastResource, that_votes_no_rolls_the_others_back) {
  auto manager = open();
  a_->answer(Verb::commit_deciding, Reply::not_done(Code::rb_integrity, "a deferred constraint"));
  const Outcome outcome = commit(manager);
  EXPECT_EQ(outcome.kind(), OutcomeKind::rolled_back);
  EXPECT_THAT(outcome.text(), HasSubstr("a deferred constraint"));
  EXPECT_THAT(b_->prepared(), IsEmpty());
  EXPECT_EQ(b_->count(Verb::rollback), 1U);
}

TEST_F(LastResource, is_not_asked_when_another_branch_votes_no) {
  auto manager = open();
  b_->answer(Verb::prepare, Reply::not_done(Code::rb_deadlock, "deadlock"));
  EXPECT_EQ(commit(manager, {"a", "b"}, {.attempts = 1}).kind(), OutcomeKind::rolled_back);
  EXPECT_EQ(a_->count(Verb::commit_deciding), 0U);
  EXPECT_EQ(a_->count(Verb::rollback), 1U);
}

TEST_F(LastResource, whose_answer_is_lost_says_by_its_row_that_it_committed) {
  auto manager = open();
  a_->answer(Verb::commit_deciding, Reply::unknown(Code::resource_failed, "lost"), ScriptedResource::Effect::happens);
  const Outcome outcome = commit(manager);
  EXPECT_TRUE(outcome.committed()) << outcome.text();
  EXPECT_EQ(b_->count(Verb::commit), 1U);
}

TEST_F(LastResource, whose_answer_is_lost_is_barred_when_it_did_not_commit) {
  auto manager = open();
  a_->answer(Verb::commit_deciding, Reply::unknown(Code::resource_failed, "lost"));
  const Outcome outcome = commit(manager);
  EXPECT_EQ(outcome.kind(), OutcomeKind::rolled_back) << outcome.text();
  EXPECT_EQ(b_->count(Verb::rollback), 1U);
  EXPECT_EQ(a_->witness(Xid::of(outcome.id(), "a")), Fate::rolled_back);
}

class LastResourceInDoubt : public LastResource, public testing::WithParamInterface<bool> {};

TEST_P(LastResourceInDoubt, is_settled_by_recovery_and_the_others_follow) {
  const bool committed = GetParam();
  auto manager = open();
  a_->answer(Verb::commit_deciding, Reply::unknown(Code::resource_failed, "lost"),
             committed ? ScriptedResource::Effect::happens : ScriptedResource::Effect::as_certain);
  a_->answer(Verb::settle, Reply::not_done(Code::retry, "still at work"));
  a_->answer(Verb::settle, Reply::not_done(Code::retry, "still at work"));  // the pass that is called for
  const Outcome outcome = commit(manager);
  EXPECT_EQ(outcome.kind(), OutcomeKind::in_doubt) << outcome.text();
  EXPECT_THAT(b_->prepared(), ElementsAre(Xid::of(outcome.id(), "b"))) << "left alone while it is in doubt";
  for (int i = 0; i < 3; ++i) manager.recover_now();
  bool ended = false;
  for (const Call& call : a_->calls()) {
    ended = ended ||
            (call.verb == Verb::carrier_gone && call.xid == Xid::of(outcome.id(), "a") && call.options.carrier_is_dead);
  }
  EXPECT_TRUE(ended) << "a session of which nothing was heard may hold what the answer waits for";
  EXPECT_THAT(b_->prepared(), IsEmpty());
  EXPECT_EQ(b_->count(committed ? Verb::finish_commit : Verb::finish_rollback), 1U);
  EXPECT_EQ(b_->count(committed ? Verb::finish_rollback : Verb::finish_commit), 0U);
  EXPECT_EQ(manager.outcome(outcome.id()).kind(), committed ? OutcomeKind::committed : OutcomeKind::rolled_back);
}

INSTANTIATE_TEST_SUITE_P(Whether, LastResourceInDoubt, testing::Values(true, false),
                         [](const auto& param) { return param.param ? "committed" : "barred"; });

TEST_F(LastResource, that_the_application_did_not_use_takes_part_where_a_decision_is_needed) {
  auto manager = open();
  EXPECT_TRUE(commit(manager, {"b", "c"}).committed());
  EXPECT_EQ(a_->count(Verb::start), 1U);
  EXPECT_EQ(a_->count(Verb::commit_deciding), 1U);
  EXPECT_TRUE(commit(manager, {"b"}).committed());
  EXPECT_TRUE(manager
                  .run([&](Transaction& transaction) {
                    transaction.on(manager.resource<Scripted>("b"), [](Branch&) {});
                    transaction.on(manager.resource<Scripted>("c"), {.read_only = true}, [](Branch&) {});
                  })
                  .committed());
  EXPECT_EQ(a_->count(Verb::start), 1U) << "one writer decides by itself";
  a_->set_down(true);
  EXPECT_EQ(commit(manager, {"b", "c"}, {.attempts = 1}).kind(), OutcomeKind::rolled_back);
}

TEST_F(LastResource, that_turns_out_unable_to_decide_rolls_everything_back) {
  auto manager = open();
  auto transaction = manager.begin();
  transaction.on(manager.resource<Scripted>("b"), [](Branch&) {});
  transaction.on(manager.resource<Scripted>("c"), [](Branch&) {});
  a_->set_capabilities({.two_phase = true});
  const Outcome outcome = transaction.commit();
  EXPECT_EQ(outcome.kind(), OutcomeKind::rolled_back);
  EXPECT_THAT(outcome.text(), HasSubstr("cannot be a last resource"));
}

TEST_F(LastResource, refuses_what_cannot_decide) {
  auto manager = open();
  auto transaction = manager.begin();
  const auto a = manager.resource<Scripted>("a");
  EXPECT_THROW(transaction.on(a, {.read_only = true}, [](Branch&) {}), Error);
  EXPECT_EQ(transaction.rollback().kind(), OutcomeKind::rolled_back);
  EXPECT_THROW(static_cast<void>(manager.begin({.last_resource = "nobody"})), Error);
  EXPECT_THROW(static_cast<void>(manager.begin({.last_resource = std::string(40, 'x')})), Error);
  b_->set_capabilities({.two_phase = true});
  auto other = manager.begin({.last_resource = "b"});
  try {
    other.on(manager.resource<Scripted>("b"), [](Branch&) {});
    FAIL() << "took what cannot decide";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::resource_unfit);
  }
}

TEST_F(LastResource, acknowledges_at_the_decision) {
  auto manager = open();
  const auto gate = b_->block(Verb::commit);
  const Outcome outcome = commit(manager, {"a", "b"}, {.ack_at = AckAt::decided});
  EXPECT_TRUE(outcome.committed());
  EXPECT_THAT(outcome.pending(), ElementsAre("b"));
  gate->open();
  EXPECT_THAT(manager.wait(outcome.id()).pending(), IsEmpty());
}

TEST_F(LastResource, decides_for_a_commit_that_no_thread_waits_for_used_or_not) {
  auto manager = open();
  for (const std::vector<std::string>& used : {std::vector<std::string>{"a", "b"}, {"b", "c"}}) {
    auto transaction = manager.begin();
    for (const std::string& each : used) transaction.on(manager.resource<Scripted>(each), [](Branch&) {});
    const Outcome outcome = transaction.async_commit(boost::asio::use_future).get();
    EXPECT_TRUE(outcome.committed()) << outcome.text();
  }
  EXPECT_EQ(a_->count(Verb::commit_deciding), 2U);
  a_->answer(Verb::start, Reply::not_done(Code::resource_failed, "no session became free"));
  auto transaction = manager.begin();
  for (const char* each : {"b", "c"}) transaction.on(manager.resource<Scripted>(each), [](Branch&) {});
  const Outcome outcome = transaction.async_commit(boost::asio::use_future).get();
  EXPECT_EQ(outcome.kind(), OutcomeKind::rolled_back);
  EXPECT_THAT(outcome.text(), HasSubstr("no session became free"));
  EXPECT_THAT(b_->prepared(), IsEmpty());
}

TEST_F(LastResource, nobody_decides_over_a_reader_that_prepared_beside_the_only_writer) {
  auto manager = open();
  for (const bool waits : {true, false}) {
    auto transaction = manager.begin();
    transaction.on(manager.resource<Scripted>("b"), [](Branch&) {});
    transaction.on(manager.resource<Scripted>("c"), {.read_only = true}, [](Branch&) {});
    c_->set_prepares_readers(true);
    const Outcome outcome = waits ? transaction.commit() : transaction.async_commit(boost::asio::use_future).get();
    EXPECT_EQ(outcome.kind(), OutcomeKind::rolled_back) << outcome.text();
    EXPECT_THAT(b_->prepared(), IsEmpty());
    EXPECT_THAT(c_->prepared(), IsEmpty());
  }
}

TEST_F(LastResource, another_process_finishes_what_its_row_says_and_then_takes_the_row_away) {
  TransactionId id;
  {
    auto manager = open();
    id = lose_b_before_phase_two(manager);
  }
  EXPECT_EQ(a_->decisions().value().size(), 1U);
  b_->set_down(false);
  auto manager = open("");
  EXPECT_TRUE(manager.outcome(id).committed());
  manager.recover_now();
  EXPECT_THAT(b_->prepared(), IsEmpty());
  EXPECT_EQ(b_->witness(Xid::of(id, "b")), std::nullopt) << "committed, and its witness swept";
  EXPECT_THAT(a_->decisions().value(), IsEmpty());
  EXPECT_TRUE(manager.outcome(id).committed()) << "the log remembers what became of it";
}

TEST_F(LastResource, is_committed_also_to_who_asks_while_recovery_takes_its_row_away) {
  TransactionId id;
  {
    auto manager = open();
    id = lose_b_before_phase_two(manager);
  }
  auto manager = open("");
  bool first = true;
  a_->before(Verb::settle, [&](const Xid&) {
    if (!std::exchange(first, false)) return;
    b_->set_down(false);
    manager.recover_now();
  });
  EXPECT_TRUE(manager.outcome(id).committed());
  EXPECT_FALSE(first) << "the row was never asked";
}

TEST_F(LastResource, a_process_that_does_not_have_it_leaves_its_transactions_to_one_that_has) {
  {
    auto manager = open();
    lose_b_before_phase_two(manager);
  }
  b_->set_down(false);
  const auto a = scripted_.extract("a");
  auto without = open("");
  for (int i = 0; i < 2; ++i) without.recover_now();
  EXPECT_EQ(b_->prepared().size(), 1U) << "only a knows";
  scripted_["a"] = a.mapped();
  auto with = open("");
  with.recover_now();
  EXPECT_THAT(b_->prepared(), IsEmpty());
}

TEST_F(LastResource, that_took_no_part_leaves_a_one_phase_commit_in_doubt_to_its_own_database) {
  auto manager = open();
  b_->answer(Verb::commit_one_phase, Reply::unknown(Code::resource_failed, "lost"), ScriptedResource::Effect::happens);
  b_->answer(Verb::settle, Reply::not_done(Code::retry, "still at work"));
  const Outcome outcome = commit(manager, {"b"});
  EXPECT_EQ(outcome.kind(), OutcomeKind::in_doubt);
  for (int i = 0; i < 2; ++i) manager.recover_now();
  EXPECT_TRUE(manager.outcome(outcome.id()).committed());
  // It is over: were it not, its number would keep the log's mark down.
  const auto before = manager.log_counters();
  EXPECT_EQ(manager.outcome(outcome.id()).pending(), std::vector<std::string>());
  EXPECT_EQ(manager.log_counters().decisions, before.decisions);
}

TEST_F(LastResource, another_process_bars_what_was_not_decided_and_rolls_back) {
  TransactionId id;
  {
    auto manager = open();
    // Lost, and nothing more is heard: as if the process had died right here.
    a_->answer(Verb::commit_deciding, Reply::unknown(Code::resource_failed, "lost"));
    for (int i = 0; i < 5; ++i) a_->answer(Verb::settle, Reply::not_done(Code::retry, "still at work"));
    id = commit(manager).id();
    a_->set_down(true);
  }
  a_->set_down(false);
  auto manager = open("");
  for (int i = 0; i < 6; ++i) manager.recover_now();
  EXPECT_THAT(b_->prepared(), IsEmpty());
  EXPECT_EQ(b_->count(Verb::finish_rollback), 1U);
  EXPECT_EQ(manager.outcome(id).kind(), OutcomeKind::rolled_back);
}

}  // namespace
}  // namespace assent
