#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>
#include <stdexcept>
#include <thread>

#include "assent/tests/unit/tm/engine_fixture.h"
#include "assent/xa/error.h"

namespace assent {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

class EngineTest : public EngineFixture {
 protected:
  /// Work in both databases.
  static void touch(Transaction& transaction, const Resource<Scripted>& a, const Resource<Scripted>& b) {
    transaction.on(a, [](Branch&) {});
    transaction.on(b, [](Branch&) {});
  }
};

TEST_F(EngineTest, commits_two_branches_through_the_log) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  const Outcome outcome = manager.run([&](Transaction& transaction) { touch(transaction, a, b); });
  EXPECT_TRUE(outcome.committed()) << outcome.text();
  EXPECT_TRUE(outcome.pending().empty());
  EXPECT_EQ(manager.log_counters().decisions, 1U);
  EXPECT_EQ(a_->count(Verb::prepare), 1U);
  EXPECT_EQ(b_->count(Verb::commit), 1U);
  EXPECT_EQ(manager.outcome(outcome.id()).kind(), OutcomeKind::committed);
}

TEST_F(EngineTest, one_resource_commits_in_one_phase_without_the_log) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  static_cast<void>(manager.recover_now());  // notes the identities of all databases
  const auto syncs = manager.log_counters().syncs;
  const Outcome outcome = manager.run([&](Transaction& transaction) { transaction.on(a, [](Branch&) {}); });
  EXPECT_TRUE(outcome.committed());
  EXPECT_EQ(a_->count(Verb::prepare), 0U);
  EXPECT_EQ(a_->count(Verb::commit_one_phase), 1U);
  EXPECT_EQ(manager.log_counters().decisions, 0U);
  EXPECT_EQ(manager.log_counters().syncs, syncs);
}

TEST_F(EngineTest, an_exception_leaving_on_makes_the_transaction_rollback_only) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  Transaction transaction = manager.begin();
  transaction.on(b, [](Branch&) {});
  EXPECT_THROW(transaction.on(a, [](Branch&) { throw std::runtime_error("lock wait timeout"); }), std::runtime_error);
  const Outcome outcome = transaction.commit();
  EXPECT_EQ(outcome.kind(), OutcomeKind::rolled_back);
  EXPECT_THAT(outcome.reason(), HasSubstr("lock wait timeout"));
  EXPECT_EQ(a_->count(Verb::rollback) + b_->count(Verb::rollback), 2U);
  EXPECT_EQ(a_->count(Verb::prepare), 0U);
}

TEST_F(EngineTest, an_exception_leaving_run_rolls_back_and_goes_on_to_the_caller) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto work = [&](Transaction& transaction) {
    transaction.on(a, [](Branch&) {});
    throw std::logic_error("no such account");
  };
  EXPECT_THROW(static_cast<void>(manager.run(work)), std::logic_error);
  EXPECT_EQ(a_->count(Verb::rollback), 1U);
  EXPECT_EQ(a_->count(Verb::start), 1U);
}

TEST_F(EngineTest, destroyed_undecided_rolls_back) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  {
    Transaction transaction = manager.begin();
    transaction.on(a, [](Branch&) {});
    Transaction moved = std::move(transaction);
  }
  EXPECT_EQ(a_->count(Verb::rollback), 1U);
  EXPECT_EQ(a_->open_branches(), 0U);
}

TEST_F(EngineTest, run_tries_again_after_a_deadlock_and_only_then) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  a_->answer(Verb::prepare, Reply::not_done(Code::rb_deadlock, "deadlock"));
  const Outcome second = manager.run([&](Transaction& transaction) { touch(transaction, a, b); });
  EXPECT_TRUE(second.committed());
  EXPECT_EQ(a_->count(Verb::prepare), 2U);

  a_->answer(Verb::prepare, Reply::not_done(Code::rb_integrity, "constraint"));
  const Outcome once = manager.run([&](Transaction& transaction) { touch(transaction, a, b); });
  EXPECT_EQ(once.kind(), OutcomeKind::rolled_back);
  EXPECT_EQ(a_->count(Verb::prepare), 3U);
}

TEST_F(EngineTest, run_never_tries_again_what_is_in_doubt) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  a_->answer(Verb::commit_one_phase, Reply::unknown(Code::resource_failed, "lost"), ScriptedResource::Effect::happens);
  a_->answer(Verb::settle, Reply::not_done(Code::resource_failed, "down"));
  const Outcome outcome = manager.run([&](Transaction& transaction) { transaction.on(a, [](Branch&) {}); });
  EXPECT_EQ(outcome.kind(), OutcomeKind::in_doubt);
  EXPECT_EQ(a_->count(Verb::commit_one_phase), 1U);
  // Later, when the database can be asked, the witness tells.
  EXPECT_EQ(manager.outcome(outcome.id()).kind(), OutcomeKind::committed);
}

TEST_F(EngineTest, a_lost_one_phase_reply_is_settled_by_the_witness) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  a_->answer(Verb::commit_one_phase, Reply::unknown(Code::resource_failed, "lost"), ScriptedResource::Effect::happens);
  const Outcome happened = manager.run([&](Transaction& transaction) { transaction.on(a, [](Branch&) {}); });
  EXPECT_TRUE(happened.committed());
  a_->answer(Verb::commit_one_phase, Reply::unknown(Code::resource_failed, "lost"));
  const Outcome did_not = manager.run([&](Transaction& transaction) { transaction.on(a, [](Branch&) {}); });
  EXPECT_EQ(did_not.kind(), OutcomeKind::rolled_back);
}

TEST_F(EngineTest, phase_one_and_phase_two_cost_the_slowest_branch_and_not_the_sum) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  const auto prepare_a = a_->block(Verb::prepare);
  const auto prepare_b = b_->block(Verb::prepare);
  const auto commit_a = a_->block(Verb::commit);
  const auto commit_b = b_->block(Verb::commit);
  std::thread client([&] {
    const Outcome outcome = manager.run([&](Transaction& transaction) { touch(transaction, a, b); });
    EXPECT_TRUE(outcome.committed());
  });
  // Each stands at its gate while the other does: one after the other, the second would never come.
  prepare_a->wait_for_call();
  prepare_b->wait_for_call();
  prepare_a->open();
  prepare_b->open();
  commit_a->wait_for_call();
  commit_b->wait_for_call();
  commit_b->open();
  commit_a->open();
  client.join();
}

TEST_F(EngineTest, what_can_be_sent_ahead_is_sent_before_a_verb_that_blocks_and_costs_no_other_thread) {
  a_->set_capabilities({.two_phase = true, .prepared_survives_disconnect = true, .sends_ahead = true});
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  std::vector<std::string> order;  // one thread has it
  std::set<std::thread::id> threads;
  const auto watch = [&](ScriptedResource& resource, Verb verb) {
    resource.before(verb, [&, verb](const Xid& xid) {
      order.push_back(std::string(to_string(verb)) + ' ' + xid.bqual);
      threads.insert(std::this_thread::get_id());
    });
  };
  for (const Verb verb : {Verb::send_ahead, Verb::prepare, Verb::commit}) {
    watch(*a_, verb);
    watch(*b_, verb);
  }
  EXPECT_TRUE(manager.run([&](Transaction& transaction) { touch(transaction, a, b); }).committed());
  EXPECT_THAT(order, ElementsAre("send_ahead a", "prepare b", "prepare a", "send_ahead a", "commit b", "commit a"));
  EXPECT_THAT(threads, ElementsAre(std::this_thread::get_id()));
}

TEST_F(EngineTest, nothing_is_sent_ahead_of_a_branch_that_could_not_be_ended) {
  a_->set_capabilities({.two_phase = true, .prepared_survives_disconnect = true, .sends_ahead = true});
  a_->answer(Verb::end, Reply::not_done(Code::rb_rollback, "a statement failed"));
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  const Outcome outcome = manager.run([&](Transaction& transaction) { touch(transaction, a, b); });
  EXPECT_EQ(outcome.kind(), OutcomeKind::rolled_back);
  EXPECT_EQ(a_->count(Verb::send_ahead), 0U);
  EXPECT_EQ(a_->count(Verb::prepare), 0U);
  EXPECT_EQ(b_->count(Verb::rollback), 1U);
}

TEST_F(EngineTest, a_deadline_that_passed_rolls_back) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  Transaction late = manager.begin({.deadline = std::chrono::milliseconds(0), .label = ""});
  EXPECT_THROW(late.on(a, [](Branch&) {}), Error);
  EXPECT_EQ(late.commit().kind(), OutcomeKind::rolled_back);
  EXPECT_EQ(a_->count(Verb::start), 0U);
}

TEST_F(EngineTest, a_lost_commit_reply_is_committed_with_a_pending_branch_that_recovery_finishes) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  static_cast<void>(manager.recover_now());
  b_->answer(Verb::commit, Reply::unknown(Code::resource_failed, "lost"));
  const auto held = b_->block(Verb::finish_commit);
  const Outcome outcome = manager.run([&](Transaction& transaction) { touch(transaction, a, b); });
  EXPECT_TRUE(outcome.committed());
  EXPECT_THAT(outcome.pending(), ElementsAre("b"));
  held->open();
  const RecoveryReport report = manager.recover_now();
  EXPECT_EQ(report.needing_person(), 0U);
  EXPECT_TRUE(b_->prepared().empty());
  EXPECT_GE(b_->count(Verb::finish_commit, Xid::of(outcome.id(), "b")), 1U);
  EXPECT_EQ(b_->count(Verb::finish_rollback), 0U);
  EXPECT_THAT(observer_->lines(), Contains("resolved 1/b XA_OK"));
  EXPECT_TRUE(manager.outcome(outcome.id()).pending().empty());
}

TEST_F(EngineTest, a_lost_prepare_reply_is_rolled_back_until_confirmed) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  b_->answer(Verb::prepare, Reply::unknown(Code::resource_failed, "lost"), ScriptedResource::Effect::happens);
  const Outcome outcome = manager.run([&](Transaction& transaction) { touch(transaction, a, b); });
  EXPECT_EQ(outcome.kind(), OutcomeKind::rolled_back);
  static_cast<void>(manager.recover_now());
  EXPECT_TRUE(b_->prepared().empty());
  EXPECT_THAT(observer_->lines(), Contains("resolved 1/b XA_OK"));
}

TEST_F(EngineTest, rule_6_a_prepare_that_lands_after_the_rollback_is_rolled_back_too) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  b_->answer(Verb::prepare, Reply::unknown(Code::resource_failed, "lost"));
  Transaction transaction = manager.begin();
  touch(transaction, a, b);
  const Xid xid = Xid::of(transaction.id(), "b");
  b_->set_carrier(xid, true);  // the server still has the session that brings the prepare
  EXPECT_EQ(transaction.commit().kind(), OutcomeKind::rolled_back);
  static_cast<void>(manager.recover_now());  // finds nothing, which proves nothing
  b_->add_prepared(xid);
  b_->set_carrier(xid, false);
  static_cast<void>(manager.recover_now());
  EXPECT_TRUE(b_->prepared().empty());
  EXPECT_EQ(b_->witness(xid), Fate::rolled_back);
}

TEST_F(EngineTest, recovery_never_touches_a_live_transaction) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  const auto at_commit = a_->block(Verb::commit);
  std::thread client([&] {
    const Outcome outcome = manager.run([&](Transaction& transaction) { touch(transaction, a, b); });
    EXPECT_TRUE(outcome.committed()) << outcome.text();
  });
  at_commit->wait_for_call();
  for (int i = 0; i < 20; ++i) static_cast<void>(manager.recover_now());
  EXPECT_EQ(a_->count(Verb::finish_commit) + a_->count(Verb::finish_rollback), 0U);
  at_commit->open();
  client.join();
}

TEST_F(EngineTest, a_load_goes_on_while_recovery_runs_in_a_loop) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  std::atomic<bool> stop{false};
  std::thread recovery([&] {
    while (!stop) static_cast<void>(manager.recover_now());
  });
  std::vector<std::thread> clients;
  clients.reserve(4);
  std::atomic<int> committed{0};
  for (int client = 0; client < 4; ++client) {
    clients.emplace_back([&] {
      for (int i = 0; i < 100; ++i) {
        if (manager.run([&](Transaction& transaction) { touch(transaction, a, b); }).committed()) ++committed;
      }
    });
  }
  for (auto& client : clients) client.join();
  stop = true;
  recovery.join();
  EXPECT_EQ(committed, 400);
  EXPECT_EQ(a_->count(Verb::finish_commit) + a_->count(Verb::finish_rollback), 0U);
  EXPECT_EQ(b_->count(Verb::finish_commit) + b_->count(Verb::finish_rollback), 0U);
  EXPECT_TRUE(a_->prepared().empty());
}

TEST_F(EngineTest, a_person_is_called_once_for_a_branch_and_again_only_when_the_reason_changes) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  a_->answer(Verb::commit, Reply::unknown(Code::resource_failed, "lost"));
  a_->before(Verb::finish_commit, [&](const Xid& xid) { a_->lose(xid); });
  const Outcome outcome = manager.run([&](Transaction& transaction) { touch(transaction, a, b); });
  ASSERT_THAT(outcome.pending(), ElementsAre("a"));
  const auto calls = [&] {
    std::vector<std::string> out;
    for (const std::string& line : observer_->lines()) {
      if (line.starts_with("person")) out.push_back(line);
    }
    return out;
  };
  for (int i = 0; i < 3; ++i) static_cast<void>(manager.recover_now());
  EXPECT_THAT(calls(), ElementsAre(HasSubstr("person 1/a decided, and neither the list")));

  a_->set_down(true);
  static_cast<void>(manager.recover_now());
  a_->set_down(false);
  static_cast<void>(manager.recover_now());
  EXPECT_EQ(calls().size(), 1U) << "a database that was away is no news";

  a_->set_fate(Xid::of(outcome.id(), "a"), Fate::rolled_back);
  for (int i = 0; i < 3; ++i) static_cast<void>(manager.recover_now());
  EXPECT_THAT(calls(), ElementsAre(HasSubstr("neither the list"), HasSubstr("the database rolled it back")));
}

TEST_F(EngineTest, what_a_process_left_is_finished_by_the_next_open) {
  TransactionId id;
  {
    auto manager = open();
    const auto a = manager.resource<Scripted>("a");
    const auto b = manager.resource<Scripted>("b");
    a_->answer(Verb::commit, Reply::unknown(Code::resource_failed, "lost"));
    for (int i = 0; i < 3; ++i) a_->answer(Verb::finish_commit, Reply::not_done(Code::resource_failed, "down"));
    const Outcome outcome = manager.run([&](Transaction& transaction) { touch(transaction, a, b); });
    EXPECT_THAT(outcome.pending(), ElementsAre("a"));
    id = outcome.id();
  }
  a_->answer(Verb::start, Reply::ok());
  auto manager = open();
  EXPECT_EQ(manager.outcome(id).kind(), OutcomeKind::committed);
  for (int i = 0; i < 5 && !a_->prepared().empty(); ++i) static_cast<void>(manager.recover_now());
  EXPECT_TRUE(a_->prepared().empty());
  EXPECT_EQ(a_->count(Verb::finish_rollback), 0U);
}

TEST_F(EngineTest, rule_8_two_resources_that_are_one_database_are_refused) {
  b_->set_identity({"scripted:a", ""});
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  Transaction transaction = manager.begin();
  transaction.on(a, [](Branch&) {});
  try {
    transaction.on(b, [](Branch&) {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::resource_unfit);
    EXPECT_THAT(error.what(), HasSubstr("are one database"));
  }
  EXPECT_EQ(transaction.commit().kind(), OutcomeKind::rolled_back);
}

TEST_F(EngineTest, rule_8_a_changed_identity_stops_the_resource_and_shows_old_and_new) {
  {
    auto manager = open();
    const auto a = manager.resource<Scripted>("a");
    static_cast<void>(manager.run([&](Transaction& transaction) { transaction.on(a, [](Branch&) {}); }));
  }
  a_->set_identity({"scripted:other", ""});
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  Transaction transaction = manager.begin();
  try {
    transaction.on(a, [](Branch&) {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("scripted:a"));
    EXPECT_THAT(error.what(), HasSubstr("scripted:other"));
  }
}

TEST_F(EngineTest, a_database_that_is_down_is_an_error_and_a_rollback) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  a_->set_down(true);
  Transaction transaction = manager.begin();
  try {
    transaction.on(a, [](Branch&) {});
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::resource_down);
  }
  EXPECT_EQ(transaction.commit().kind(), OutcomeKind::rolled_back);
}

TEST_F(EngineTest, misuse_is_refused_with_a_word) {
  auto manager = open();
  EXPECT_THROW(manager.resource<Scripted>("c"), Error);
  EXPECT_THROW(manager.begin({.deadline = {}, .label = std::string(257, 'x')}), Error);
  Transaction transaction = manager.begin();
  EXPECT_TRUE(transaction.commit().committed());
  EXPECT_THROW(static_cast<void>(transaction.commit()), Error);
  EXPECT_THROW(static_cast<void>(transaction.rollback()), Error);
}

TEST_F(EngineTest, a_forked_child_is_refused_and_the_parent_goes_on) {
  auto manager = open();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  Transaction transaction = manager.begin();
  touch(transaction, a, b);
  const pid_t child = fork();
  if (child == 0) {
    int wrong = 0;
    try {
      static_cast<void>(transaction.commit());
      wrong |= 1;
    } catch (const Error&) {
    }
    try {
      static_cast<void>(manager.begin());
      wrong |= 2;
    } catch (const Error&) {
    }
    {
      const Transaction dropped = std::move(transaction);
      const TransactionManager closed = std::move(manager);
    }
    _exit(wrong);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status)) << "the child died";
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_TRUE(transaction.commit().committed());
}

TEST_F(EngineTest, a_transaction_may_outlive_its_manager) {
  auto manager = std::make_unique<TransactionManager>(open());
  const auto a = manager->resource<Scripted>("a");
  Transaction transaction = manager->begin();
  transaction.on(a, [](Branch&) {});
  manager.reset();
  EXPECT_TRUE(transaction.commit().committed());
}

TEST_F(EngineTest, a_transaction_has_at_most_64_branches_also_where_two_begin_at_once) {
  std::vector<std::string> others;
  for (int i = 1; i < 64; ++i) {
    others.push_back("r" + std::to_string(i));
    scripted_[others.back()] =
        std::make_shared<ScriptedResource>(others.back(), Identity{"scripted:" + others.back(), ""});
  }
  auto tm = open();
  const auto work_on = [&](Transaction& tx, const std::string& name) {
    tx.on(tm.resource<Scripted>(name), [](Branch&) {});
  };
  Transaction tx = tm.begin();
  for (const std::string& each : others) work_on(tx, each);
  a_->before(Verb::start, [&](const Xid&) { work_on(tx, "b"); });  // as another thread may, while this one begins
  for (int tries = 0; tries < 2; ++tries) {
    try {
      work_on(tx, "a");
      ADD_FAILURE() << "the 65th branch was opened";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::misuse) << error.what();
    }
    EXPECT_EQ(a_->open_branches(), 0U);
  }
  const Outcome outcome = tx.commit();
  EXPECT_TRUE(outcome.committed()) << outcome.text();
  EXPECT_EQ(outcome.branches().size(), 64U);
}

TEST_F(EngineTest, two_processes_share_a_node_directory) {
  auto one = open();
  auto two = open();
  const auto a1 = one.resource<Scripted>("a");
  const auto b1 = one.resource<Scripted>("b");
  const auto a2 = two.resource<Scripted>("a");
  const auto b2 = two.resource<Scripted>("b");
  const Outcome first = one.run([&](Transaction& transaction) { touch(transaction, a1, b1); });
  const Outcome second = two.run([&](Transaction& transaction) { touch(transaction, a2, b2); });
  EXPECT_TRUE(first.committed());
  EXPECT_TRUE(second.committed());
  EXPECT_NE(first.id().log, second.id().log);
}

TEST_F(EngineTest, outcome_of_what_recovery_committed_is_known_to_the_next_process) {
  TransactionId id;
  {
    auto manager = open();
    const auto a = manager.resource<Scripted>("a");
    const auto b = manager.resource<Scripted>("b");
    a_->answer(Verb::commit, Reply::unknown(Code::resource_failed, "lost"));
    for (int i = 0; i < 3; ++i) a_->answer(Verb::finish_commit, Reply::not_done(Code::resource_failed, "down"));
    const Outcome outcome = manager.run([&](Transaction& transaction) { touch(transaction, a, b); });
    id = outcome.id();
  }
  auto manager = open();
  for (int i = 0; i < 5 && !a_->prepared().empty(); ++i) static_cast<void>(manager.recover_now());
  ASSERT_TRUE(a_->prepared().empty());
  EXPECT_EQ(manager.outcome(id).kind(), OutcomeKind::committed);
  EXPECT_TRUE(manager.outcome(id).pending().empty());
}

TEST_F(EngineTest, outcome_of_what_ended_before_a_decision_is_rolled_back_and_made_definite) {
  TransactionId id;
  {
    auto manager = open();
    Transaction transaction = manager.begin();
    id = transaction.id();
    transaction.on(manager.resource<Scripted>("a"), [](Branch&) {});
    // As if the process had died here: nothing is said to the log.
    a_->answer(Verb::rollback, Reply::unknown(Code::resource_failed, "lost"));
    a_->set_carrier(Xid::of(id, "a"), true);
  }
  auto manager = open();
  EXPECT_EQ(manager.outcome(id).kind(), OutcomeKind::rolled_back);
  EXPECT_EQ(a_->count(Verb::settle), 1U);
}

TEST_F(EngineTest, outcome_of_another_process_of_the_node_is_read_from_its_log) {
  auto one = open();
  auto two = open();
  Transaction running = one.begin();
  running.on(one.resource<Scripted>("a"), [](Branch&) {});
  const Outcome seen = two.outcome(running.id());
  EXPECT_EQ(seen.kind(), OutcomeKind::in_doubt);
  EXPECT_EQ(a_->count(Verb::settle), 0U) << "a running transaction must not be settled from outside";
  EXPECT_TRUE(running.commit().committed());
}

TEST_F(EngineTest, outcome_of_a_transaction_of_another_node_is_refused) {
  auto manager = open();
  EXPECT_THROW(static_cast<void>(manager.outcome({DeciderKind::log, LogId{1}, Incarnation{2}, 3})), Error);
}

}  // namespace
}  // namespace assent
