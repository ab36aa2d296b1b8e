#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <barrier>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "assent/tests/unit/recovery/log_fixture.h"
#include "assent/tests/unit/recovery/sleepers.h"

namespace assent::test {
namespace {

using Log = LogFixture;

TEST_F(Log, remembers_everything_when_opened_again) {
  auto log = open();
  const LogId id = log->id();
  const Incarnation first = log->begin_incarnation();
  const Decision kept = decision_of(*log, first, 1);
  const Decision over = decision_of(*log, first, 2);
  EXPECT_EQ(log->force(kept), Forced::durable);
  EXPECT_EQ(log->force(over), Forced::durable);
  log->finish(over.id);
  log->raise_mark(first, 1);
  log->note_resource({"ledger", {"postgresql:1", "bank"}});
  log->note_person(kept.id, "ledger", "committed by hand");
  log.reset();

  log = open();
  EXPECT_EQ(log->id(), id);
  EXPECT_EQ(log->repaired(), "");
  EXPECT_FALSE(log->moved());
  EXPECT_EQ(log->unfinished().size(), 1u);
  EXPECT_EQ(log->find(kept.id), kept);
  EXPECT_EQ(log->find(over.id), std::nullopt);
  ASSERT_EQ(log->incarnations().size(), 1u);
  EXPECT_EQ(log->incarnations()[0].incarnation, first);
  EXPECT_EQ(log->incarnations()[0].mark, 1u);
  EXPECT_EQ(log->incarnations()[0].pid, ::getpid());
  EXPECT_TRUE(log->incarnations()[0].presumable);
  ASSERT_EQ(log->resources().size(), 1u);
  EXPECT_EQ(log->resources()[0].identity, (Identity{"postgresql:1", "bank"}));
  EXPECT_NE(log->begin_incarnation(), first);
}

TEST_F(Log, keeps_notes_of_persons_over_many_opens) {
  auto log = open();
  const Decision decision = decision_of(*log, log->begin_incarnation(), 1);
  log->note_person(decision.id, "ledger", "rolled back by hand");
  for (int i = 0; i < 3; ++i) {
    log.reset();
    log = open();
  }
  std::vector<std::string> notes;
  log_dump(disk, "slot", [&](const DumpedRecord& record) {
    if (record.type == "person") notes.push_back(record.text);
  });
  ASSERT_EQ(notes.size(), 1u);
  EXPECT_NE(notes[0].find("rolled back by hand"), std::string::npos);
}

TEST_F(Log, batches_are_numbered_on_over_every_open) {
  const auto numbers = [&] {
    std::vector<std::uint64_t> lsns;
    log_dump(disk, "slot", [&](const DumpedRecord& record) { lsns.push_back(record.lsn); });
    return lsns;
  };
  std::uint64_t last = 0;
  for (std::uint64_t i = 1; i <= 3; ++i) {
    auto log = open();
    ASSERT_EQ(log->force(decision_of(*log, log->begin_incarnation(), i)), Forced::durable);
    log.reset();
    const auto lsns = numbers();
    ASSERT_FALSE(lsns.empty());
    EXPECT_GT(lsns.front(), last) << "the checkpoint of this open";
    EXPECT_GT(lsns.back(), lsns.front());
    EXPECT_TRUE(std::is_sorted(lsns.begin(), lsns.end()));
    last = lsns.back();
  }
}

TEST_F(Log, acknowledges_nothing_that_a_power_cut_can_take) {
  for (int round = 0; round < 20; ++round) {
    auto log = open();
    const Decision decision = decision_of(*log, log->begin_incarnation(), 1);
    ASSERT_EQ(log->force(decision), Forced::durable);
    power_cut(log);
    log = open();
    EXPECT_EQ(log->repaired(), "");
    EXPECT_EQ(log->find(decision.id), decision);
  }
}

TEST_F(Log, a_commit_of_one_thread_is_one_sync) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  const std::uint64_t calls = disk.calls();
  const std::uint64_t syncs = log->counters().syncs;
  for (std::uint64_t i = 1; i <= 10; ++i) {
    const Decision decision = decision_of(*log, incarnation, i);
    ASSERT_EQ(log->force(decision), Forced::durable);
    log->finish(decision.id);
    log->raise_mark(incarnation, i + 1);
  }
  EXPECT_EQ(log->counters().syncs - syncs, 10u);
  EXPECT_EQ(disk.calls() - calls, 20u) << "one write and one sync each, nothing else";
  EXPECT_EQ(log->counters().decisions, 10u);
}

// The threads go round by round. A sync waits until every other thread has queued up (or waits for the next round), so
// the count does not depend on the clock: the first comers are one batch, all others the second.
TEST_F(Log, sixty_four_threads_share_their_syncs_and_get_back_what_was_acknowledged) {
  constexpr std::uint64_t threads = 64;
  constexpr std::uint64_t rounds = 20;
  options.segment_bytes = 256 << 10;
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();

  std::barrier round(threads);
  std::mutex mutex;
  std::set<pid_t> workers;
  std::set<TransactionId> acknowledged;
  disk.on_sync([&](const std::string&) {
    std::set<pid_t> others;
    {
      const std::lock_guard lock(mutex);
      others = workers;
    }
    others.erase(::gettid());
    wait_until_asleep(others);
  });
  const std::uint64_t syncs = log->counters().syncs;
  std::vector<std::thread> pool;
  for (std::uint64_t t = 0; t < threads; ++t) {
    pool.emplace_back([&, t] {
      {
        const std::lock_guard lock(mutex);
        workers.insert(::gettid());
      }
      for (std::uint64_t i = 0; i < rounds; ++i) {
        round.arrive_and_wait();
        const Decision decision = decision_of(*log, incarnation, t * rounds + i);
        const Forced forced = log->force(decision);
        const std::lock_guard lock(mutex);
        if (forced == Forced::durable) acknowledged.insert(decision.id);
      }
      const std::lock_guard lock(mutex);
      workers.erase(::gettid());
    });
  }
  for (std::thread& thread : pool) thread.join();
  disk.on_sync({});
  EXPECT_EQ(acknowledged.size(), threads * rounds);
  EXPECT_LE((log->counters().syncs - syncs) * 16, threads * rounds) << "fewer than 16 decisions a sync";
  power_cut(log);
  std::set<TransactionId> found;
  for (const auto& [id, decision] : open()->unfinished()) found.insert(id);
  EXPECT_EQ(found, acknowledged);
}

TEST_F(Log, a_batch_takes_as_many_waiters_as_fit_and_the_next_one_the_rest) {
  options.segment_bytes = 4 << 20;
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  constexpr std::uint64_t threads = 40;  // of 13 KB each: twice what a batch holds
  std::mutex mutex;
  std::set<pid_t> workers;
  std::uint64_t durable = 0;
  disk.on_sync([&](const std::string&) {
    std::set<pid_t> others;
    for (std::uint64_t over = 0; others.size() + over < threads;) {
      const std::lock_guard lock(mutex);
      others = workers;
      over = durable;
    }
    others.erase(::gettid());
    wait_until_asleep(others);
  });
  const std::uint64_t syncs = log->counters().syncs;
  std::vector<std::thread> pool;
  for (std::uint64_t t = 0; t < threads; ++t) {
    pool.emplace_back([&, t] {
      Decision decision = decision_of(*log, incarnation, t, std::string(Decision::max_label, 'l'));
      decision.branches.assign(Decision::max_branches, {std::string(Xid::max_part, 'r'), std::string(128, 'e')});
      {
        const std::lock_guard lock(mutex);
        workers.insert(::gettid());
      }
      const Forced forced = log->force(decision);
      const std::lock_guard lock(mutex);
      durable += forced == Forced::durable ? 1 : 0;
      workers.erase(::gettid());
    });
  }
  for (std::thread& thread : pool) thread.join();
  disk.on_sync({});
  EXPECT_EQ(durable, threads);
  EXPECT_GE(log->counters().syncs - syncs, 3u);
  EXPECT_LE(log->counters().syncs - syncs, 5u);
  power_cut(log);
  EXPECT_EQ(open()->unfinished().size(), threads);
}

TEST_F(Log, what_is_finished_and_marked_comes_with_a_later_batch_and_in_order) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  const Decision one = decision_of(*log, incarnation, 1);
  const Decision two = decision_of(*log, incarnation, 2);
  ASSERT_EQ(log->force(one), Forced::durable);
  const std::uint64_t before = disk.calls();
  log->finish(one.id);
  log->raise_mark(incarnation, 2);
  EXPECT_EQ(disk.calls(), before) << "nothing is written for it alone";
  EXPECT_EQ(log->find(one.id), std::nullopt);
  ASSERT_EQ(log->force(two), Forced::durable);

  std::vector<std::string> types;
  log_dump(disk, "slot", [&](const DumpedRecord& record) { types.push_back(record.type); });
  EXPECT_EQ(types, (std::vector<std::string>{"incarnation", "decision", "finished", "over", "decision"}));
  kill(log);
  log = open();
  EXPECT_EQ(log->incarnations()[0].mark, 2u);
  EXPECT_EQ(log->unfinished().size(), 1u);
}

TEST_F(Log, losing_what_was_finished_only_makes_recovery_ask_again) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  const Decision one = decision_of(*log, incarnation, 1);
  ASSERT_EQ(log->force(one), Forced::durable);
  log->finish(one.id);
  log->raise_mark(incarnation, 2);
  kill(log);
  log = open();
  EXPECT_EQ(log->find(one.id), one);
  EXPECT_EQ(log->incarnations()[0].mark, 0u) << "the mark would say that the decision is over";
}

TEST_F(Log, flush_gives_up_when_there_is_no_room) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  disk.set_capacity(disk.used());
  Decision decision = decision_of(*log, incarnation, 0);
  for (bool room = true; room; ++decision.id.sequence) room = log->force(decision) == Forced::durable;
  log->finish({DeciderKind::log, log->id(), incarnation, 0});
  log->flush();
  EXPECT_FALSE(log->poisoned().has_value());
  disk.set_capacity(std::nullopt);
  log->flush();
  kill(log);
  log = open();
  EXPECT_EQ(log->find({DeciderKind::log, log->id(), incarnation, 0}), std::nullopt);
  EXPECT_FALSE(log->unfinished().empty());
}

TEST_F(Log, flush_makes_durable_what_was_finished) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  for (std::uint64_t i = 1; i <= 5000; ++i) {
    const Decision decision = decision_of(*log, incarnation, i);
    ASSERT_EQ(log->force(decision), Forced::durable);
  }
  for (std::uint64_t i = 1; i <= 5000; ++i) log->finish(decision_of(*log, incarnation, i).id);
  log->raise_mark(incarnation, 5001);
  log->flush();
  const std::uint64_t calls = disk.calls();
  log->flush();
  EXPECT_EQ(disk.calls(), calls) << "there was nothing more to write";
  power_cut(log);
  log = open();
  EXPECT_TRUE(log->unfinished().empty());
  EXPECT_EQ(log->incarnations()[0].mark, 5001u);
}

TEST_F(Log, refuses_what_is_over_its_bounds_before_anything_is_written) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  const std::uint64_t calls = disk.calls();
  Decision decision = decision_of(*log, incarnation, 1, std::string(Decision::max_label + 1, 'x'));
  EXPECT_THROW(log->force(decision), Error);
  decision = decision_of(*log, incarnation, 1);
  decision.branches[0].evidence.assign(Branch::max_evidence + 1, 'x');
  EXPECT_THROW(log->force(decision), Error);
  decision.branches.assign(Decision::max_branches + 1, {"ledger", ""});
  EXPECT_THROW(log->force(decision), Error);
  decision = decision_of(*log, incarnation, 1);
  decision.id.log = LogId{1};
  EXPECT_THROW(log->force(decision), Error);
  EXPECT_THROW(log->note_resource({"ledger", {std::string(1000, 'x'), ""}}), Error);
  EXPECT_THROW(log->note_person(decision.id, "ledger", std::string(2000, 'x')), Error);
  EXPECT_EQ(disk.calls(), calls);
}

TEST_F(Log, takes_the_largest_decision) {
  auto log = open();
  Decision decision = decision_of(*log, log->begin_incarnation(), 1, std::string(Decision::max_label, 'x'));
  decision.branches.assign(Decision::max_branches, {std::string(Xid::max_part, 'r'), std::string(128, '\xff')});
  for (std::uint64_t i = 1; i < 40; ++i) {
    decision.id.sequence = i;
    ASSERT_EQ(log->force(decision), Forced::durable);
  }
  power_cut(log);
  EXPECT_EQ(open()->find(decision.id), decision);
}

TEST_F(Log, a_resource_that_is_known_is_not_written_again) {
  auto log = open();
  log->note_resource({"ledger", {"postgresql:1", "bank"}});
  const std::uint64_t calls = disk.calls();
  log->note_resource({"ledger", {"postgresql:1", "bank"}});
  EXPECT_EQ(disk.calls(), calls);
  log->note_resource({"ledger", {"postgresql:2", "bank"}});
  EXPECT_GT(disk.calls(), calls);
}

TEST_F(Log, a_forked_child_touches_nothing) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  const Decision one = decision_of(*log, incarnation, 1);
  ASSERT_EQ(log->force(one), Forced::durable);
  log->finish(one.id);
  const pid_t child = ::fork();
  if (child == 0) {
    const std::uint64_t calls = disk.calls();
    bool good = log->force(decision_of(*log, incarnation, 2)) == Forced::refused;
    log->finish(one.id);
    log->raise_mark(incarnation, 9);
    log->flush();
    try {
      log->unfinished();
      good = false;
    } catch (const Error& error) {
      good = good && error.code() == ErrorCode::misuse;
    }
    good = good && log->poisoned().has_value();
    log.reset();
    ::_exit(good && disk.calls() == calls ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(log->force(decision_of(*log, incarnation, 2)), Forced::durable);
}

}  // namespace
}  // namespace assent::test
