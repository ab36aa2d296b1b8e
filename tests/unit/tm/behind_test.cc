// AckAt::decided: commit() answers at the durable decision, and phase two goes on behind its caller.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <thread>

#include "assent/tests/unit/tm/engine_fixture.h"
#include "assent/xa/error.h"

namespace assent {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::UnorderedElementsAre;

/// A scripted resource that the application may bring a connection of its own for.
struct Lent : Scripted {
  static Result<std::unique_ptr<Branch>> adopt(ResourceManager& manager, int&, const Xid& xid,
                                               const StartOptions& options) {
    return manager.start(xid, options);
  }
};

class Behind : public EngineFixture {
 protected:
  TransactionManager open_behind(std::size_t behind = 1000, std::size_t threads = 4) {
    Config config = this->config();
    config.ack_at = AckAt::decided;
    config.behind = behind;
    config.threads = threads;
    config.log_segment_bytes = 64 << 10;
    return TransactionManager::open(config, registry(), observer_);
  }
  Outcome commit_both(TransactionManager& manager, const RunOptions& options = {}) {
    return manager.run(options, [&](Transaction& transaction) {
      transaction.on(manager.resource<Scripted>("a"), [](Branch&) {});
      transaction.on(manager.resource<Scripted>("b"), [](Branch&) {});
    });
  }
};

TEST_F(Behind, the_caller_goes_on_at_the_decision_and_everybody_is_told_the_same) {
  auto manager = open_behind();
  const auto gate = b_->block(Verb::commit);
  const Outcome outcome = commit_both(manager);
  EXPECT_TRUE(outcome.committed()) << outcome.text();
  EXPECT_THAT(outcome.pending(), UnorderedElementsAre("a", "b"));
  EXPECT_EQ(outcome.reason(), "");
  EXPECT_THAT(observer_->lines(), Contains("decided " + std::to_string(outcome.id().sequence)));
  gate->wait_for_call();
  const Outcome asked = manager.outcome(outcome.id());
  EXPECT_TRUE(asked.committed()) << asked.text();
  EXPECT_EQ(manager.wait(outcome.id(), std::chrono::milliseconds(0)).pending().size(), 2U) << "patience has an end";
  gate->open();
  const Outcome finished = manager.wait(outcome.id());
  EXPECT_TRUE(finished.committed());
  EXPECT_THAT(finished.pending(), IsEmpty());
  EXPECT_EQ(a_->count(Verb::commit) + b_->count(Verb::commit), 2U);
}

TEST_F(Behind, what_was_acknowledged_is_told_however_many_end_meanwhile) {
  auto manager = open_behind();
  const auto gate = b_->block(Verb::commit);
  const Outcome outcome = commit_both(manager);
  gate->wait_for_call();
  const auto a = manager.resource<Scripted>("a");
  for (int i = 0; i < 10'001; ++i) {
    ASSERT_TRUE(manager.run([&](Transaction& transaction) { transaction.on(a, [](Branch&) {}); }).committed());
  }
  EXPECT_TRUE(manager.outcome(outcome.id()).committed());
  gate->open();
  EXPECT_TRUE(manager.wait(outcome.id()).committed());
}

TEST_F(Behind, recovery_leaves_alone_what_is_finished_behind) {
  auto manager = open_behind();
  const auto gate = b_->block(Verb::commit);
  const Outcome outcome = commit_both(manager);
  gate->wait_for_call();
  static_cast<void>(manager.recover_now());
  EXPECT_EQ(b_->count(Verb::finish_commit), 0U);
  EXPECT_EQ(b_->count(Verb::finish_rollback), 0U);
  EXPECT_EQ(a_->count(Verb::finish_commit), 0U);
  gate->open();
  EXPECT_THAT(manager.wait(outcome.id()).pending(), IsEmpty());
}

TEST_F(Behind, more_than_the_bound_finishes_before_its_caller_goes_on) {
  std::mutex mutex;
  std::multiset<std::thread::id> committers;
  const auto commits = [&] {
    const std::lock_guard lock(mutex);
    return committers.size();
  };
  const auto committed_by = [&](std::thread::id thread) {
    const std::lock_guard lock(mutex);
    return committers.contains(thread);
  };
  auto manager = open_behind(1);  // last: what is behind ends with it
  a_->before(Verb::commit, [&](const Xid&) {
    const std::lock_guard lock(mutex);
    committers.insert(std::this_thread::get_id());
  });
  const auto gate = b_->block(Verb::commit);
  const Outcome first = commit_both(manager);
  EXPECT_EQ(first.pending().size(), 2U);
  gate->wait_for_call();
  EXPECT_FALSE(committed_by(std::this_thread::get_id()));
  std::optional<Outcome> second;
  std::thread caller([&] { second = commit_both(manager); });
  // It has come as far as its own phase two: of a nobody else would be the committer.
  while (commits() < 2) std::this_thread::yield();
  EXPECT_TRUE(committed_by(caller.get_id()));
  gate->open();
  caller.join();
  EXPECT_THAT(second->pending(), IsEmpty());
  EXPECT_THAT(manager.wait(first.id()).pending(), IsEmpty());
  // And the place is free again.
  EXPECT_EQ(commit_both(manager).pending().size(), 2U);
}

TEST_F(Behind, a_place_is_given_back_by_what_never_came_to_a_decision) {
  auto manager = open_behind(1);
  for (int i = 0; i < 3; ++i) {
    a_->answer(Verb::prepare, Reply::not_done(Code::rb_integrity, "constraint"));
    EXPECT_EQ(commit_both(manager).kind(), OutcomeKind::rolled_back);
    EXPECT_THROW(static_cast<void>(manager.run([](Transaction&) { throw std::runtime_error("no"); })),
                 std::runtime_error);
  }
  EXPECT_EQ(commit_both(manager).pending().size(), 2U);
}

TEST_F(Behind, one_thread_is_enough_however_many_are_behind) {
  // Were anything waited for on the finisher's only thread, what it waits for could never run.
  auto manager = open_behind(1000, 1);
  std::vector<TransactionId> ids;
  for (int i = 0; i < 50; ++i) ids.push_back(commit_both(manager).id());
  for (const TransactionId& id : ids) EXPECT_THAT(manager.wait(id).pending(), IsEmpty());
  EXPECT_EQ(a_->count(Verb::commit) + b_->count(Verb::commit), 100U);
}

TEST_F(Behind, closing_finishes_what_is_behind) {
  std::thread opener;
  {
    auto manager = open_behind();
    const auto gate = b_->block(Verb::commit);
    for (int i = 0; i < 10; ++i) EXPECT_TRUE(commit_both(manager).committed());
    gate->wait_for_call();
    opener = std::thread([gate] { gate->open(); });
  }
  opener.join();
  EXPECT_EQ(a_->count(Verb::commit), 10U);
  EXPECT_EQ(b_->count(Verb::commit), 10U);
  auto again = open();
  EXPECT_TRUE(again.recover_now().branches.empty()) << "nothing is left for anybody";
}

TEST_F(Behind, a_heuristic_end_comes_to_the_observer) {
  auto manager = open_behind();
  b_->answer(Verb::commit, {Code::heuristic_rollback, Certainty::done, "by hand"});
  const Outcome outcome = commit_both(manager);
  EXPECT_TRUE(outcome.committed());
  EXPECT_EQ(manager.wait(outcome.id()).kind(), OutcomeKind::heuristic);
  const std::string line = "heuristic " + std::to_string(outcome.id().sequence);
  while (std::ranges::count(observer_->lines(), line) == 0) std::this_thread::yield();
}

TEST_F(Behind, what_phase_two_left_pending_is_finished_by_recovery) {
  auto manager = open_behind();
  b_->answer(Verb::commit, Reply::unknown(Code::resource_failed, "the session is gone"));
  const auto held = b_->block(Verb::finish_commit);
  const Outcome outcome = commit_both(manager);
  EXPECT_THAT(manager.wait(outcome.id()).pending(), ElementsAre("b"));
  held->open();
  static_cast<void>(manager.recover_now());
  const Outcome finished = manager.outcome(outcome.id());
  EXPECT_TRUE(finished.committed());
  EXPECT_THAT(finished.pending(), IsEmpty());
  EXPECT_EQ(b_->count(Verb::finish_commit), 1U);
}

TEST_F(Behind, only_a_decision_is_answered_early) {
  auto manager = open_behind();
  // One phase: the database's own answer.
  const Outcome one =
      manager.run([&](Transaction& transaction) { transaction.on(manager.resource<Scripted>("a"), [](Branch&) {}); });
  EXPECT_THAT(one.pending(), IsEmpty());
  EXPECT_EQ(a_->count(Verb::commit_one_phase), 1U);
  // A connection of the application's own, which it wants back when commit() returns.
  int connection = 0;
  Transaction borrowed = manager.begin();
  borrowed.adopt(manager.resource<Lent>("a"), connection);
  borrowed.on(manager.resource<Scripted>("b"), [](Branch&) {});
  EXPECT_THAT(borrowed.commit().pending(), IsEmpty());
  // One that says otherwise itself.
  EXPECT_THAT(commit_both(manager, {.ack_at = AckAt::finished}).pending(), IsEmpty());
  EXPECT_EQ(commit_both(manager).pending().size(), 2U);
}

TEST_F(Behind, one_transaction_may_ask_for_it) {
  auto manager = open();
  const auto gate = b_->block(Verb::commit);
  const Outcome outcome = commit_both(manager, {.ack_at = AckAt::decided});
  EXPECT_EQ(outcome.pending().size(), 2U);
  gate->open();
  EXPECT_THAT(manager.wait(outcome.id()).pending(), IsEmpty());
  EXPECT_THAT(commit_both(manager).pending(), IsEmpty());
}

TEST_F(Behind, a_transaction_object_may_go_before_its_phase_two) {
  auto manager = open_behind();
  const auto gate = b_->block(Verb::commit);
  TransactionId id;
  {
    Transaction transaction = manager.begin();
    id = transaction.id();
    transaction.on(manager.resource<Scripted>("a"), [](Branch&) {});
    transaction.on(manager.resource<Scripted>("b"), [](Branch&) {});
    EXPECT_TRUE(transaction.commit().committed());
    EXPECT_THROW(static_cast<void>(transaction.commit()), Error);
    EXPECT_THROW(transaction.on(manager.resource<Scripted>("a"), [](Branch&) {}), Error);
  }
  gate->open();
  EXPECT_THAT(manager.wait(id).pending(), IsEmpty());
  EXPECT_EQ(a_->open_branches() + b_->open_branches(), 0U);
}

TEST_F(Behind, what_is_refused_by_the_log_is_never_acknowledged) {
  auto manager = open_behind();
  std::filesystem::remove_all(directory_ + "/log");
  // The open segment can still be written; the next one cannot be made.
  Outcome last = commit_both(manager);
  for (int i = 0; last.committed() && i < 200'000; ++i) last = commit_both(manager);
  EXPECT_EQ(last.kind(), OutcomeKind::rolled_back) << last.text();
  EXPECT_THAT(last.pending(), IsEmpty());
}

}  // namespace
}  // namespace assent
