// DecisionLog::force_then: the same promises as force(), without a thread that waits.
#include <gmock/gmock.h>

#include <atomic>
#include <deque>
#include <functional>
#include <latch>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "assent/recovery/log_format.h"
#include "assent/tests/unit/recovery/log_fixture.h"

namespace assent::test {
namespace {

using testing::Each;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class PatientLog : public LogFixture {
 protected:
  PatientLog() : log(open()), incarnation(log->begin_incarnation()) {}

  Decision next() { return decision_of(*log, incarnation, ++sequence_); }
  void force_then(const Decision& decision) {
    log->force_then(
        decision, [this](Forced forced) { told.push_back(forced); }, post);
  }
  /// The writer that was called comes, and who is called by it.
  void write() {
    while (!called.empty()) {
      const auto writer = std::move(called.front());
      called.pop_front();
      writer();
    }
  }

  std::unique_ptr<DecisionLog> log;
  const Incarnation incarnation;
  std::vector<Forced> told;
  std::deque<std::function<void()>> called;
  const DecisionLog::Post post = [this](std::function<void()> writer) { called.push_back(std::move(writer)); };

 private:
  std::uint64_t sequence_ = 0;
};

TEST_F(PatientLog, decisions_that_no_thread_waits_for_are_one_batch_by_one_writer) {
  const std::uint64_t syncs = disk.syncs();
  for (int i = 0; i < 100; ++i) force_then(next());
  EXPECT_THAT(told, IsEmpty());
  EXPECT_THAT(called, SizeIs(1));
  EXPECT_THAT(log->unfinished(), IsEmpty());
  write();
  EXPECT_THAT(told, SizeIs(100));
  EXPECT_THAT(told, Each(Forced::durable));
  EXPECT_LE(disk.syncs() - syncs, 2U);
  EXPECT_EQ(log->counters().decisions, 100U);
  power_cut(log);
  EXPECT_THAT(open()->unfinished(), SizeIs(100));
}

TEST_F(PatientLog, rule_4_a_failed_sync_is_uncertain_for_all_of_its_batch_and_refuses_what_comes_later) {
  const Decision one = next();
  const Decision two = next();
  force_then(one);
  force_then(two);
  disk.fail_call(2);
  write();
  EXPECT_THAT(told, ElementsAre(Forced::uncertain, Forced::uncertain));
  ASSERT_TRUE(log->poisoned().has_value());
  EXPECT_EQ(log->find(one.id), one) << "an uncertain decision must be seen, so that nobody rolls it back";
  EXPECT_EQ(log->find(two.id), two);
  const std::uint64_t calls = disk.calls();
  force_then(next());
  EXPECT_EQ(told.back(), Forced::refused);
  EXPECT_THAT(called, IsEmpty());
  EXPECT_EQ(disk.calls(), calls) << "nothing is retried over a failed sync";
}

TEST_F(PatientLog, rule_4_what_waits_behind_a_batch_that_failed_is_refused) {
  force_then(next());
  disk.fail_call(2);
  bool once = false;
  disk.on_sync([&](const std::string&) {
    if (!std::exchange(once, true)) force_then(next());
  });
  write();
  EXPECT_THAT(told, ElementsAre(Forced::uncertain, Forced::refused));
  EXPECT_THAT(called, IsEmpty());
  EXPECT_THAT(log->unfinished(), SizeIs(1));
}

TEST_F(PatientLog, a_full_disk_refuses_and_the_log_works_again) {
  disk.refuse_next_write(std::errc::no_space_on_device);
  force_then(next());
  write();
  force_then(next());
  write();
  EXPECT_THAT(told, ElementsAre(Forced::refused, Forced::durable));
  EXPECT_FALSE(log->poisoned().has_value());
  EXPECT_THAT(log->unfinished(), SizeIs(1));
}

TEST_F(PatientLog, who_is_answered_does_not_wait_for_the_next_segment_to_be_made) {
  std::size_t forced = 0;
  std::optional<std::size_t> told_before;
  disk.on_sync([&](const std::string& path) {
    if (!told_before && path.ends_with(log::spare_name)) told_before = told.size();
  });
  while (!told_before && forced < 100'000) {
    ++forced;
    force_then(next());
    write();
  }
  ASSERT_TRUE(told_before) << "no next segment was made";
  EXPECT_EQ(*told_before, forced);
}

TEST_F(PatientLog, who_is_told_may_use_the_log) {
  log->force_then(
      next(),
      [this](Forced forced) {
        told.push_back(forced);
        EXPECT_THAT(log->unfinished(), SizeIs(1));
        force_then(next());
      },
      post);
  write();
  EXPECT_THAT(told, ElementsAre(Forced::durable, Forced::durable));
}

TEST_F(PatientLog, a_thread_that_writes_carries_what_came_meanwhile_or_calls_a_writer_for_it) {
  // Both come while the thread syncs: one leads next, and takes the other along.
  bool once = false;
  disk.on_sync([&](const std::string&) {
    if (std::exchange(once, true)) return;
    force_then(next());
    force_then(next());
    EXPECT_THAT(called, IsEmpty()) << "a thread leads";
  });
  EXPECT_EQ(log->force(next()), Forced::durable);
  EXPECT_THAT(told, IsEmpty());
  EXPECT_THAT(called, SizeIs(1));
  write();
  EXPECT_THAT(told, ElementsAre(Forced::durable, Forced::durable));
}

TEST_F(PatientLog, a_thread_that_comes_behind_is_carried_by_the_writer) {
  force_then(next());
  const Decision decision = next();
  std::thread thread([&] { EXPECT_EQ(log->force(decision), Forced::durable); });
  std::thread writer([&] { write(); });
  thread.join();
  writer.join();
  EXPECT_THAT(told, ElementsAre(Forced::durable));
}

TEST_F(PatientLog, a_decision_of_another_log_throws_and_is_never_told) {
  Decision foreign = next();
  foreign.id.log = LogId{4711};
  EXPECT_THROW(force_then(foreign), Error);
  EXPECT_THAT(called, IsEmpty());
  EXPECT_THAT(told, IsEmpty());
}

TEST_F(PatientLog, threads_and_patience_mixed_each_is_told_once_and_over_many_segments) {
  constexpr int each = 400;
  std::atomic<int> durable{0};
  std::mutex mutex;
  std::map<std::uint64_t, int> times;
  std::latch all(2 * each);
  std::vector<std::thread> writers;
  const DecisionLog::Post spawn = [&](std::function<void()> writer) {
    const std::lock_guard lock(mutex);
    writers.emplace_back(std::move(writer));
  };
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < each; ++i) {
        const int number = 1 + t * each + i;
        const auto sequence = static_cast<std::uint64_t>(number);
        const Decision decision = decision_of(*log, incarnation, sequence, std::string(200, 'x'));
        if (t % 2 == 0) {
          EXPECT_EQ(log->force(decision), Forced::durable);
          log->finish(decision.id);
          continue;
        }
        log->force_then(
            decision,
            [&, id = decision.id](Forced forced) {
              if (forced == Forced::durable) ++durable;
              log->finish(id);
              {
                const std::lock_guard lock(mutex);
                ++times[id.sequence];
              }
              all.count_down();
            },
            spawn);
      }
    });
  }
  for (auto& thread : threads) thread.join();
  all.wait();
  for (std::size_t i = 0;; ++i) {
    std::thread writer;
    {
      const std::lock_guard lock(mutex);
      if (i == writers.size()) break;
      writer = std::move(writers[i]);
    }
    writer.join();
  }
  EXPECT_EQ(durable, 2 * each);
  EXPECT_THAT(times, SizeIs(2 * each));
  for (const auto& [sequence, count] : times) EXPECT_EQ(count, 1) << sequence;
  EXPECT_GT(newest(), 2U);
  EXPECT_THAT(log->unfinished(), IsEmpty());
}

}  // namespace
}  // namespace assent::test
