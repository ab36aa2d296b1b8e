// The asynchronous interface: however many transactions wait, for the log, for a session or for each other, no thread
// waits with them. Threads are counted, and what would need one that is held goes on; nothing is timed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <filesystem>
#include <future>
#include <iterator>
#include <set>
#include <thread>

#include "assent/recovery/log_view.h"
#include "assent/tests/unit/tm/async_failure.h"
#include "assent/tests/unit/tm/engine_fixture.h"
#include "assent/tm/async.h"
#include "assent/xa/error.h"

namespace assent {
namespace {

namespace asio = boost::asio;
using asio::use_awaitable;
using asio::use_future;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

/// A thread that has been joined may still be among them for a moment.
std::ptrdiff_t threads_of_this_process() {
  const std::filesystem::directory_iterator tasks("/proc/self/task");
  return std::distance(begin(tasks), end(tasks));
}

/// Holds the thread that writes the log, right after its first decision.
class HeldLog : public RecordingObserver {
 public:
  void decided(const TransactionId& id) override {
    RecordingObserver::decided(id);
    if (!std::exchange(held_, true)) gate.pass();
  }
  Gate gate;

 private:
  bool held_ = false;
};

class Patience : public EngineFixture {
 protected:
  Patience() {
    c_ = std::make_shared<ScriptedResource>("c", Identity{"scripted:c", ""});
    scripted_["c"] = c_;
  }
  TransactionManager open_with_one_thread(const std::shared_ptr<Observer>& observer) {
    Config config = this->config();
    config.threads = 1;
    return TransactionManager::open(config, registry(), observer);
  }
  /// One that passes through every pool of threads: work, prepare, and one phase.
  static void expect_another_goes_on(TransactionManager& manager) {
    const auto c = manager.resource<Scripted>("c");
    Transaction transaction = manager.begin();
    transaction
        .async_on(
            c, [](Branch&) {}, use_future)
        .get();
    EXPECT_TRUE(transaction.async_commit(use_future).get().committed());
    Transaction undone = manager.begin();
    undone
        .async_on(
            c, [](Branch&) {}, use_future)
        .get();
    EXPECT_EQ(undone.async_rollback(use_future).get().kind(), OutcomeKind::rolled_back);
  }
  std::set<TransactionId> decisions_on_disk() const {
    std::set<TransactionId> out;
    for (const SlotState& slot : NodeDirectory::open(FileSystem::real(), config().log_directory, "test")->slots()) {
      for (const auto& [id, decision] : LogView::read(FileSystem::real(), slot.directory)->unfinished()) out.insert(id);
    }
    return out;
  }
  std::shared_ptr<ScriptedResource> c_;
};

TEST_F(Patience, hundreds_wait_for_the_log_without_a_thread_and_what_is_acknowledged_is_in_it) {
  constexpr std::size_t many = 300;
  const auto held = std::make_shared<HeldLog>();
  std::set<TransactionId> acknowledged;
  {
    auto manager = open_with_one_thread(held);
    const auto a = manager.resource<Scripted>("a");
    const auto b = manager.resource<Scripted>("b");
    asio::io_context context;
    const auto transfer = [&]() -> asio::awaitable<void> {
      Transaction transaction = manager.begin();
      co_await transaction.async_on(
          a, [](Branch&) {}, use_awaitable);
      co_await transaction.async_on(
          b, [](Branch&) {}, use_awaitable);
      const Outcome outcome = co_await transaction.async_commit(use_awaitable);
      EXPECT_TRUE(outcome.committed()) << outcome.text();
      acknowledged.insert(outcome.id());
    };
    asio::co_spawn(context, transfer(), asio::detached);
    std::thread io([&] { context.run(); });
    held->gate.wait_for_call();
    expect_another_goes_on(manager);
    const std::ptrdiff_t threads = threads_of_this_process();

    for (std::size_t i = 0; i < many; ++i) asio::co_spawn(context, transfer(), asio::detached);
    while (a_->prepared().size() + b_->prepared().size() < 2 * (many + 1)) std::this_thread::yield();
    expect_another_goes_on(manager);
    EXPECT_LE(threads_of_this_process(), threads);
    EXPECT_THAT(acknowledged, IsEmpty());
    EXPECT_THAT(decisions_on_disk(), SizeIs(1));

    // No decision is finished, so that they are still in the log when it is read.
    a_->set_down(true);
    held->gate.open();
    io.join();
    EXPECT_THAT(acknowledged, SizeIs(many + 1));
    EXPECT_EQ(decisions_on_disk(), acknowledged);
    const DecisionLog::Counters counters = manager.log_counters();
    EXPECT_EQ(counters.decisions, many + 1);
    EXPECT_LT(counters.syncs, many / 2) << "group commit";
  }
}

TEST_F(Patience, many_wait_for_the_only_session_without_a_thread_and_have_it_in_their_order) {
  constexpr int many = 200;
  a_->set_sessions(1);
  auto manager = open_with_one_thread(observer_);
  const auto a = manager.resource<Scripted>("a");
  Transaction first = manager.begin({.deadline = std::chrono::hours(1)});
  first
      .async_on(
          a, [](Branch&) {}, use_future)
      .get();
  expect_another_goes_on(manager);

  asio::io_context context;
  std::vector<int> order;
  int waiting = 0;
  const auto next = [&](int number) -> asio::awaitable<void> {
    Transaction transaction = manager.begin({.deadline = std::chrono::hours(1)});
    ++waiting;
    co_await transaction.async_on(
        a, [](Branch&) {}, use_awaitable);
    order.push_back(number);
    EXPECT_TRUE((co_await transaction.async_commit(use_awaitable)).committed());
  };
  asio::co_spawn(context, next(0), asio::detached);
  context.poll();
  const std::ptrdiff_t threads = threads_of_this_process();  // the alarm's among them
  for (int i = 1; i < many; ++i) asio::co_spawn(context, next(i), asio::detached);
  context.poll();
  EXPECT_EQ(waiting, many);
  EXPECT_EQ(a_->count(Verb::start), 1U);
  EXPECT_LE(threads_of_this_process(), threads);
  expect_another_goes_on(manager);

  EXPECT_TRUE(first.async_commit(use_future).get().committed());
  context.run();
  ASSERT_THAT(order, SizeIs(many));
  EXPECT_TRUE(std::ranges::is_sorted(order));
  EXPECT_EQ(a_->count(Verb::commit_one_phase), static_cast<std::size_t>(many) + 1);
}

TEST_F(Patience, threads_and_coroutines_wait_for_the_same_sessions) {
  a_->set_sessions(2);
  auto manager = open_with_one_thread(observer_);
  const auto a = manager.resource<Scripted>("a");
  asio::io_context context;
  for (int i = 0; i < 100; ++i) {
    asio::co_spawn(
        context,
        [&]() -> asio::awaitable<void> {
          Transaction transaction = manager.begin({.deadline = std::chrono::hours(1)});
          co_await transaction.async_on(
              a, [](Branch&) {}, use_awaitable);
          EXPECT_TRUE((co_await transaction.async_commit(use_awaitable)).committed());
        },
        asio::detached);
  }
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 50; ++i) {
        const Outcome outcome = manager.run({.deadline = std::chrono::hours(1)},
                                            [&](Transaction& transaction) { transaction.on(a, [](Branch&) {}); });
        EXPECT_TRUE(outcome.committed());
      }
    });
  }
  context.run();
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(a_->count(Verb::commit_one_phase), 250U);
}

TEST_F(Patience, a_deadline_that_passes_while_it_waits_for_a_session_is_answered_as_on_answers) {
  a_->set_sessions(1);
  auto manager = open_with_one_thread(observer_);
  const auto a = manager.resource<Scripted>("a");
  Transaction holder = manager.begin();
  holder.on(a, [](Branch&) {});
  // Not before it waits has its deadline passed: it would be another answer.
  const TransactionOptions soon{.deadline = std::chrono::milliseconds(500)};
  const auto all_of = [](Transaction& transaction, const std::string& failure) {
    const Outcome outcome = transaction.rollback();
    return failure + outcome.reason() + outcome.cause().text;
  };
  Transaction blocking = manager.begin(soon);
  const std::string expected = all_of(blocking, failure_of([&](const Failure& told) {
                                        try {
                                          blocking.on(a, [](Branch&) {});
                                        } catch (const Error&) {
                                          told(std::current_exception());
                                        }
                                      }));
  EXPECT_THAT(expected, HasSubstr("no session became free in time"));
  Transaction async = manager.begin(soon);
  EXPECT_EQ(all_of(async, failure_of([&](const Failure& told) {
                     async.async_on(
                         a, [](Branch&) { ADD_FAILURE(); }, told);
                   })),
            expected);
  EXPECT_TRUE(holder.commit().committed());
  EXPECT_TRUE(manager.run([&](Transaction& transaction) { transaction.on(a, [](Branch&) {}); }).committed());
}

TEST_F(Patience, who_is_destroyed_while_it_waits_for_a_session_gives_it_on) {
  a_->set_sessions(1);
  auto manager = open_with_one_thread(observer_);
  const auto a = manager.resource<Scripted>("a");
  Transaction holder = manager.begin();
  holder.on(a, [](Branch&) {});
  const Failure forsaken;
  {
    Transaction transaction = manager.begin({.deadline = std::chrono::hours(1)});
    transaction.async_on(
        a, [](Branch&) { ADD_FAILURE(); }, forsaken);
  }
  Transaction next = manager.begin({.deadline = std::chrono::hours(1)});
  auto waiting = next.async_on(
      a, [](Branch&) {}, use_future);
  EXPECT_TRUE(holder.commit().committed());
  EXPECT_TRUE(forsaken.wait());
  waiting.get();
  EXPECT_TRUE(next.commit().committed());
}

/// Also where the other one still has to begin a branch on a last resource that it did not use.
class PatienceOfWorks : public Patience, public testing::WithParamInterface<const char*> {};

INSTANTIATE_TEST_SUITE_P(Decided, PatienceOfWorks, testing::Values("", "c"),
                         [](const auto& param) { return *param.param == 0 ? "by_the_log" : "by_a_last_resource"; });

TEST_P(PatienceOfWorks, a_work_that_waits_for_another_transactions_commit_does_not_keep_it_from_committing) {
  auto manager = open_with_one_thread(observer_);
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  Transaction owner = manager.begin({.last_resource = GetParam()});
  owner.on(a, [](Branch&) {});
  owner.on(b, [](Branch&) {});
  std::promise<void> began;
  std::promise<void> freed;
  std::promise<void> prepared;
  Transaction waiter = manager.begin();
  auto work = waiter.async_on(
      a,
      [&](Branch&) {
        began.set_value();
        freed.get_future().wait();
      },
      use_future);
  began.get_future().wait();
  b_->before(Verb::commit, [&](const Xid&) { freed.set_value(); });
  EXPECT_TRUE(owner.async_commit(use_future).get().committed());
  work.get();
}

TEST_F(Patience, a_database_whose_commits_hang_keeps_no_decision_of_others_from_the_log) {
  auto manager = open_with_one_thread(observer_);
  const auto hanging = b_->block(Verb::commit);
  const auto both = [&](const char* second) {
    Transaction transaction = manager.begin({.ack_at = AckAt::decided});
    transaction.on(manager.resource<Scripted>("a"), [](Branch&) {});
    transaction.on(manager.resource<Scripted>(second), [](Branch&) {});
    return transaction.async_commit(use_future).get();
  };
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(both("b").committed());
  hanging->wait_for_call();
  EXPECT_TRUE(both("c").committed());
  hanging->open();
}

}  // namespace
}  // namespace assent
