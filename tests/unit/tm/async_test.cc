// The asynchronous interface: what completion tokens are told, where, and what becomes of the transaction meanwhile.
// What holds no thread is in patience_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/asio/awaitable.hpp>
#include <boost/asio/bind_executor.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/strand.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/use_future.hpp>
#include <future>
#include <thread>

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
using testing::StartsWith;

const std::string misuse = std::to_string(static_cast<int>(ErrorCode::misuse)) + ": ";

class Async : public EngineFixture {
 protected:
  TransactionManager open_with(std::size_t threads, AckAt ack_at = AckAt::finished) {
    Config config = this->config();
    config.threads = threads;
    config.ack_at = ack_at;
    config.log_segment_bytes = 64 << 10;
    return TransactionManager::open(config, registry(), observer_);
  }
  /// With an empty branch in each of a and b.
  static Transaction begin_both(TransactionManager& manager, const TransactionOptions& options = {}) {
    Transaction transaction = manager.begin(options);
    transaction.on(manager.resource<Scripted>("a"), [](Branch&) {});
    transaction.on(manager.resource<Scripted>("b"), [](Branch&) {});
    return transaction;
  }
  /// Runs the coroutine in this thread, to its end.
  template <class T>
  static T run(asio::awaitable<T> coroutine) {
    asio::io_context here;
    auto end = asio::co_spawn(here, std::move(coroutine), use_future);
    here.run();
    return end.get();
  }
  static ErrorCode code_of(std::exception_ptr failure) {
    try {
      std::rethrow_exception(std::move(failure));
    } catch (const Error& error) {
      return error.code();
    }
  }
};

TEST_F(Async, a_coroutine_works_in_two_databases_and_commits) {
  auto manager = open_with(1);
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  const Outcome outcome = run([&]() -> asio::awaitable<Outcome> {
    Transaction transaction = manager.begin();
    const Xid there = co_await transaction.async_on(
        a, [](Branch& branch) { return branch.xid(); }, use_awaitable);
    EXPECT_EQ(there.transaction(), transaction.id());
    co_await transaction.async_on(
        b, [](Branch&) {}, use_awaitable);
    co_await transaction.async_on(
        a, {.read_only = true}, [](Branch&) {}, use_awaitable);
    co_return co_await transaction.async_commit(use_awaitable);
  }());
  EXPECT_TRUE(outcome.committed()) << outcome.text();
  EXPECT_THAT(outcome.pending(), IsEmpty());
  EXPECT_EQ(manager.log_counters().decisions, 1U);
  EXPECT_EQ(a_->count(Verb::start), 1U);
  EXPECT_EQ(a_->count(Verb::commit) + b_->count(Verb::commit), 2U);
}

TEST_F(Async, a_coroutine_rolls_back) {
  auto manager = open_with(1);
  const Outcome outcome = run([&]() -> asio::awaitable<Outcome> {
    Transaction transaction = begin_both(manager);
    co_return co_await transaction.async_rollback(use_awaitable);
  }());
  EXPECT_EQ(outcome.kind(), OutcomeKind::rolled_back);
  EXPECT_EQ(outcome.reason(), "the application rolled back");
  EXPECT_EQ(a_->count(Verb::rollback) + b_->count(Verb::rollback), 2U);
}

TEST_F(Async, one_resource_commits_in_one_phase_and_none_commits_at_once) {
  auto manager = open_with(1);
  Transaction one = manager.begin();
  one.async_on(
         manager.resource<Scripted>("a"), [](Branch&) {}, use_future)
      .get();
  EXPECT_TRUE(one.async_commit(use_future).get().committed());
  EXPECT_EQ(a_->count(Verb::commit_one_phase), 1U);
  EXPECT_TRUE(manager.begin().async_commit(use_future).get().committed());
  EXPECT_EQ(manager.log_counters().decisions, 0U);
}

TEST_F(Async, a_lost_one_phase_commit_is_settled) {
  auto manager = open_with(1);
  Transaction one = manager.begin();
  one.on(manager.resource<Scripted>("a"), [](Branch&) {});
  a_->answer(Verb::commit_one_phase, Reply::unknown(Code::resource_failed, "lost"), ScriptedResource::Effect::happens);
  EXPECT_TRUE(one.async_commit(use_future).get().committed());
  EXPECT_EQ(a_->count(Verb::settle), 1U);
}

TEST_F(Async, futures_take_values_that_can_only_be_moved) {
  auto manager = open_with(2);
  Transaction transaction = manager.begin();
  std::future<std::unique_ptr<int>> value = transaction.async_on(
      manager.resource<Scripted>("a"), [gift = std::make_unique<int>(7)](Branch&) mutable { return std::move(gift); },
      use_future);
  EXPECT_EQ(*value.get(), 7);
  std::future<Outcome> outcome = transaction.async_commit(use_future);
  EXPECT_TRUE(outcome.get().committed());
}

TEST_F(Async, handlers_run_on_their_executor_and_works_do_not) {
  auto manager = open_with(2);
  asio::io_context context;
  auto strand = asio::make_strand(context);
  Transaction transaction = manager.begin();
  std::optional<Outcome> end;
  std::thread::id worker;
  transaction.async_on(
      manager.resource<Scripted>("a"),
      [&](Branch&) {
        worker = std::this_thread::get_id();
        return 3;
      },
      asio::bind_executor(strand, [&, once = std::make_unique<int>(1)](std::exception_ptr failure, int value) {
        EXPECT_FALSE(failure);
        EXPECT_EQ(value, 3);
        EXPECT_TRUE(strand.running_in_this_thread());
        transaction.async_commit(asio::bind_executor(strand, [&](std::exception_ptr failed, Outcome outcome) {
          EXPECT_FALSE(failed);
          EXPECT_TRUE(strand.running_in_this_thread());
          end = std::move(outcome);
        }));
        EXPECT_FALSE(end) << "never in the initiating call";
      }));
  // run() returns when there is no work left: what is under way elsewhere counts as work.
  context.run();
  ASSERT_TRUE(end);
  EXPECT_TRUE(end->committed());
  EXPECT_NE(worker, std::this_thread::get_id());
}

TEST_F(Async, works_on_what_answers_at_once_need_no_thread_and_their_handlers_come_later_all_the_same) {
  b_->set_capabilities({.two_phase = true, .any_session_finishes_prepared = true, .answers_at_once = true});
  auto manager = open_with(1);
  const auto b = manager.resource<Scripted>("b");
  ASSERT_TRUE(manager.run([&](Transaction& first) { first.on(b, [](Branch&) {}); }).committed());
  asio::io_context context;
  Transaction transaction = manager.begin();
  std::thread::id worker;
  bool told = false;
  transaction.async_on(
      b, [&](Branch&) { worker = std::this_thread::get_id(); },
      asio::bind_executor(context, [&](const std::exception_ptr& failure) {
        EXPECT_FALSE(failure);
        told = true;
      }));
  EXPECT_EQ(worker, std::this_thread::get_id());
  EXPECT_FALSE(told) << "never in the initiating call";
  context.run();
  EXPECT_TRUE(told);
  EXPECT_THAT(failure_of([&](const Failure& thrown) {
                transaction.async_on(
                    b, [](Branch&) { throw std::runtime_error("no such account"); }, thrown);
              }),
              HasSubstr("no such account"));
  EXPECT_EQ(transaction.commit().kind(), OutcomeKind::rolled_back);
}

TEST_F(Async, a_handler_without_an_executor_runs_in_none_of_the_managers_threads) {
  auto manager = open_with(1);
  Transaction transaction = begin_both(manager);
  std::promise<std::thread::id> handler;
  std::thread::id committer;
  b_->before(Verb::commit, [&](const Xid&) { committer = std::this_thread::get_id(); });
  transaction.async_commit([&](std::exception_ptr, const Outcome&) { handler.set_value(std::this_thread::get_id()); });
  const std::thread::id there = handler.get_future().get();
  EXPECT_NE(there, committer);
  EXPECT_NE(there, std::this_thread::get_id());
}

TEST_F(Async, misuse_comes_through_the_token) {
  auto manager = open_with(1);
  const auto a = manager.resource<Scripted>("a");
  Transaction transaction = begin_both(manager);
  EXPECT_TRUE(transaction.async_commit(use_future).get().committed());
  EXPECT_THAT(failure_of([&](const Failure& told) { transaction.async_commit(told); }), StartsWith(misuse));
  EXPECT_THAT(failure_of([&](const Failure& told) { transaction.async_rollback(told); }), StartsWith(misuse));
  EXPECT_THAT(failure_of([&](const Failure& told) {
                transaction.async_on(
                    a, [](Branch&) {}, told);
              }),
              StartsWith(misuse));
  EXPECT_THROW(static_cast<void>(transaction.commit()), Error);
  const bool thrown = run([&]() -> asio::awaitable<bool> {
    try {
      static_cast<void>(co_await transaction.async_commit(use_awaitable));
    } catch (const Error& error) {
      co_return error.code() == ErrorCode::misuse;
    }
    co_return false;
  }());
  EXPECT_TRUE(thrown);
  asio::io_context context;
  bool told = false;
  transaction.async_commit(asio::bind_executor(context, [&](std::exception_ptr failure, const Outcome& outcome) {
    told = true;
    EXPECT_EQ(code_of(failure), ErrorCode::misuse);
    EXPECT_EQ(outcome.kind(), OutcomeKind::in_doubt);
  }));
  EXPECT_FALSE(told) << "never in the initiating call";
  context.run();
  EXPECT_TRUE(told);
}

TEST_F(Async, a_resource_of_another_manager_is_misuse) {
  auto manager = open_with(1);
  a_ = std::make_shared<ScriptedResource>("a", Identity{"scripted:elsewhere", ""});
  scripted_["a"] = a_;
  Config config = this->config();
  config.log_directory += "-other";
  auto other = TransactionManager::open(config, registry(), observer_);
  Transaction transaction = manager.begin();
  EXPECT_THAT(failure_of([&](const Failure& told) {
                transaction.async_on(
                    other.resource<Scripted>("a"), [](Branch&) {}, told);
              }),
              StartsWith(misuse));
}

TEST_F(Async, what_the_work_throws_comes_through_the_token_and_only_rollback_is_left) {
  auto manager = open_with(1);
  Transaction transaction = manager.begin();
  EXPECT_EQ(failure_of([&](const Failure& told) {
              transaction.async_on(
                  manager.resource<Scripted>("a"), [](Branch&) -> int { throw std::runtime_error("no such row"); },
                  told);
            }),
            "no such row");
  const Outcome outcome = transaction.async_commit(use_future).get();
  EXPECT_EQ(outcome.kind(), OutcomeKind::rolled_back);
  EXPECT_THAT(outcome.reason(), HasSubstr("no such row"));
}

TEST_F(Async, a_branch_that_cannot_be_opened_is_the_error_of_on) {
  auto manager = open_with(1);
  const auto a = manager.resource<Scripted>("a");
  manager.begin().on(a, [](Branch&) {});
  a_->answer(Verb::start, Reply::not_done(Code::resource_failed, "no more sessions"));
  a_->answer(Verb::start, Reply::not_done(Code::resource_failed, "no more sessions"));
  Transaction one = manager.begin();
  const std::string blocking = failure_of([&](const Failure& told) {
    try {
      one.on(a, [](Branch&) {});
    } catch (const Error&) {
      told(std::current_exception());
    }
  });
  Transaction two = manager.begin();
  const std::string async = failure_of([&](const Failure& told) {
    two.async_on(
        a, [](Branch&) {}, told);
  });
  EXPECT_EQ(blocking, async);
  EXPECT_THAT(async, HasSubstr("no more sessions"));
  EXPECT_EQ(two.async_commit(use_future).get().cause().text, "no more sessions");
}

TEST_F(Async, a_deadline_that_has_passed_refuses_works_and_the_decision) {
  auto manager = open_with(1);
  Transaction late = manager.begin({.deadline = std::chrono::milliseconds(0)});
  EXPECT_THAT(failure_of([&](const Failure& told) {
                late.async_on(
                    manager.resource<Scripted>("a"), [](Branch&) {}, told);
              }),
              HasSubstr("the deadline of transaction"));
  EXPECT_EQ(late.async_commit(use_future).get().kind(), OutcomeKind::rolled_back);
  EXPECT_EQ(a_->count(Verb::start), 0U);
}

TEST_F(Async, a_deadline_that_passes_during_prepare_rolls_back) {
  auto manager = open_with(1);
  Transaction transaction = begin_both(manager, {.deadline = std::chrono::seconds(1)});
  const auto passed = steady_now() + std::chrono::seconds(1);
  b_->before(Verb::prepare, [&](const Xid&) {
    while (steady_now() <= passed) std::this_thread::yield();
  });
  const Outcome outcome = transaction.async_commit(use_future).get();
  EXPECT_EQ(outcome.kind(), OutcomeKind::rolled_back);
  EXPECT_THAT(outcome.reason(), HasSubstr("deadline"));
  EXPECT_EQ(manager.log_counters().decisions, 0U);
}

TEST_F(Async, a_vote_of_no_rolls_back_everywhere) {
  auto manager = open_with(1);
  Transaction transaction = begin_both(manager);
  b_->answer(Verb::prepare, Reply::not_done(Code::rb_integrity, "constraint"));
  const Outcome outcome = transaction.async_commit(use_future).get();
  EXPECT_EQ(outcome.kind(), OutcomeKind::rolled_back);
  EXPECT_EQ(outcome.cause().text, "constraint");
  EXPECT_THAT(a_->prepared(), IsEmpty());
  EXPECT_EQ(a_->open_branches() + b_->open_branches(), 0U);
}

TEST_F(Async, what_is_sent_ahead_is_taken_by_the_same_thread) {
  for (const auto& each : {a_, b_}) {
    each->set_capabilities({.two_phase = true,
                            .prepared_survives_disconnect = true,
                            .any_session_finishes_prepared = true,
                            .settles_one_phase = true,
                            .sends_ahead = true});
  }
  auto manager = open_with(4);
  Transaction transaction = begin_both(manager);
  std::mutex mutex;
  std::map<Verb, std::set<std::thread::id>> threads;
  for (const auto& each : {a_, b_}) {
    for (const Verb verb : {Verb::prepare, Verb::commit}) {
      each->before(verb, [&, verb](const Xid&) {
        const std::lock_guard lock(mutex);
        threads[verb].insert(std::this_thread::get_id());
      });
    }
  }
  EXPECT_TRUE(transaction.async_commit(use_future).get().committed());
  EXPECT_EQ(a_->count(Verb::send_ahead) + b_->count(Verb::send_ahead), 4U);
  EXPECT_EQ(threads[Verb::prepare].size(), 1U);
  EXPECT_EQ(threads[Verb::commit].size(), 1U);
}

TEST_F(Async, branches_prepare_at_the_same_time) {
  auto manager = open_with(2);
  Transaction transaction = begin_both(manager);
  const auto first = a_->block(Verb::prepare);
  const auto second = b_->block(Verb::prepare);
  auto end = transaction.async_commit(use_future);
  first->wait_for_call();
  second->wait_for_call();
  first->open();
  second->open();
  EXPECT_TRUE(end.get().committed());
}

TEST_F(Async, ack_at_decided_tells_at_the_decision_and_phase_two_goes_on_behind) {
  auto manager = open_with(1, AckAt::decided);
  const auto gate = b_->block(Verb::commit);
  const Outcome outcome = begin_both(manager).async_commit(use_future).get();
  EXPECT_TRUE(outcome.committed());
  EXPECT_EQ(outcome.pending().size(), 2U);
  EXPECT_TRUE(manager.outcome(outcome.id()).committed());
  gate->open();
  EXPECT_THAT(manager.wait(outcome.id()).pending(), IsEmpty());
}

TEST_F(Async, places_behind_are_given_back) {
  Config config = this->config();
  config.ack_at = AckAt::decided;
  config.behind = 1;
  auto manager = TransactionManager::open(config, registry(), observer_);
  for (int i = 0; i < 3; ++i) {
    a_->answer(Verb::prepare, Reply::not_done(Code::rb_integrity, "constraint"));
    EXPECT_EQ(begin_both(manager).async_commit(use_future).get().kind(), OutcomeKind::rolled_back);
    const Outcome outcome = begin_both(manager).async_commit(use_future).get();
    EXPECT_EQ(outcome.pending().size(), 2U);
    EXPECT_THAT(manager.wait(outcome.id()).pending(), IsEmpty());
  }
}

TEST_F(Async, what_the_log_refuses_is_rolled_back_and_told) {
  auto manager = open_with(1);
  std::filesystem::remove_all(directory_ + "/log");
  // The open segment can still be written; the next one cannot be made.
  Outcome last = begin_both(manager).async_commit(use_future).get();
  for (int i = 0; last.committed() && i < 200'000; ++i) last = begin_both(manager).async_commit(use_future).get();
  EXPECT_EQ(last.kind(), OutcomeKind::rolled_back) << last.text();
  EXPECT_THAT(a_->prepared(), IsEmpty());
  EXPECT_THAT(observer_->lines(), testing::Contains("log stalled"));
}

TEST_F(Async, commit_while_a_work_is_under_way_is_misuse) {
  auto manager = open_with(1);
  Transaction transaction = manager.begin();
  std::promise<void> began;
  std::promise<void> may_end;
  auto work = transaction.async_on(
      manager.resource<Scripted>("a"),
      [&](Branch&) {
        began.set_value();
        may_end.get_future().wait();
      },
      use_future);
  began.get_future().wait();
  EXPECT_THROW(static_cast<void>(transaction.commit()), Error);
  EXPECT_THAT(failure_of([&](const Failure& told) { transaction.async_commit(told); }), StartsWith(misuse));
  may_end.set_value();
  work.get();
  EXPECT_TRUE(transaction.async_commit(use_future).get().committed());
}

TEST_F(Async, a_transaction_destroyed_while_its_work_is_under_way_is_rolled_back_after_it) {
  auto manager = open_with(1);
  std::promise<void> began;
  std::promise<void> may_end;
  std::optional<Transaction> transaction = manager.begin();
  const TransactionId id = transaction->id();
  auto work = transaction->async_on(
      manager.resource<Scripted>("a"),
      [&](Branch&) {
        began.set_value();
        may_end.get_future().wait();
      },
      use_future);
  began.get_future().wait();
  transaction.reset();
  EXPECT_EQ(a_->count(Verb::rollback), 0U);
  may_end.set_value();
  work.get();
  EXPECT_EQ(manager.wait(id).kind(), OutcomeKind::rolled_back);
  EXPECT_EQ(a_->count(Verb::rollback), 1U);
  EXPECT_EQ(a_->open_branches(), 0U);
}

TEST_F(Async, nobody_waits_for_the_rollback_of_a_transaction_that_is_destroyed_after_async_works) {
  auto manager = open_with(1);
  const auto gate = a_->block(Verb::rollback);
  TransactionId id;
  {
    Transaction transaction = manager.begin();
    id = transaction.id();
    transaction
        .async_on(
            manager.resource<Scripted>("a"), [](Branch&) {}, use_future)
        .get();
  }
  gate->wait_for_call();
  gate->open();
  EXPECT_EQ(manager.wait(id).kind(), OutcomeKind::rolled_back);
}

TEST_F(Async, closing_the_manager_finishes_what_is_under_way) {
  std::vector<std::future<Outcome>> ends;
  std::thread opener;
  {
    auto manager = open_with(1);
    const auto gate = b_->block(Verb::prepare);
    for (int i = 0; i < 20; ++i) ends.push_back(begin_both(manager).async_commit(use_future));
    gate->wait_for_call();
    opener = std::thread([gate] { gate->open(); });
  }
  for (auto& end : ends) EXPECT_TRUE(end.get().committed());
  opener.join();
  EXPECT_EQ(a_->count(Verb::commit), 20U);
  EXPECT_EQ(b_->count(Verb::commit), 20U);
  EXPECT_TRUE(open().recover_now().branches.empty()) << "nothing is left for anybody";
}

TEST_F(Async, a_work_or_a_handler_may_be_the_last_that_keeps_the_transaction_and_the_manager) {
  for (const bool throws : {false, true}) {
    std::promise<void> may_begin;
    std::promise<void> gone;
    struct AtEnd {
      std::promise<void>& promise;
      ~AtEnd() { promise.set_value(); }
    };
    {
      const auto manager = std::make_shared<TransactionManager>(open_with(1));
      const auto transaction = std::make_shared<Transaction>(manager->begin());
      const auto end = std::make_shared<AtEnd>(gone);
      transaction->async_on(
          manager->resource<Scripted>("a"),
          [&, transaction, manager, end](Branch&) {
            may_begin.get_future().wait();
            if (throws) throw std::runtime_error("no");
          },
          [transaction](std::exception_ptr) {});
    }
    may_begin.set_value();
    gone.get_future().wait();
    // Its manager ends behind the handler; the directory must not go before.
    while (observer_.use_count() > 1) std::this_thread::yield();
  }
}

TEST_F(Async, a_coroutine_that_is_never_resumed_takes_its_transaction_along) {
  auto manager = open_with(1);
  const auto a = manager.resource<Scripted>("a");
  TransactionId id;
  {
    asio::io_context context;
    asio::co_spawn(
        context,
        [&]() -> asio::awaitable<void> {
          Transaction transaction = manager.begin();
          id = transaction.id();
          co_await transaction.async_on(
              a, [](Branch&) {}, use_awaitable);
          ADD_FAILURE() << "its context does not run any more";
        },
        asio::detached);
    context.run_one();
    // The only worker has this one after the other.
    Transaction next = manager.begin();
    next.async_on(
            a, [](Branch&) {}, use_future)
        .get();
  }
  EXPECT_EQ(manager.wait(id).kind(), OutcomeKind::rolled_back);
  EXPECT_EQ(a_->count(Verb::rollback), 2U);
}

TEST_F(Async, sessions_that_keep_to_their_thread_are_refused) {
  b_->set_capabilities({.two_phase = true,
                        .prepared_survives_disconnect = true,
                        .any_session_finishes_prepared = true,
                        .session_bound_to_thread = true});
  auto manager = open_with(1);
  const auto b = manager.resource<Scripted>("b");
  Transaction unknown_yet = manager.begin();
  EXPECT_THAT(failure_of([&](const Failure& told) {
                unknown_yet.async_on(
                    b, [](Branch&) {}, told);
              }),
              HasSubstr("keep to their threads"));
  EXPECT_EQ(b_->count(Verb::start), 0U);
  Transaction transaction = manager.begin();
  EXPECT_THAT(failure_of([&](const Failure& told) {
                transaction.async_on(
                    b, [](Branch&) {}, told);
              }),
              StartsWith(misuse));
  transaction.on(b, [](Branch&) {});
  EXPECT_THAT(failure_of([&](const Failure& told) { transaction.async_commit(told); }), StartsWith(misuse));
  EXPECT_TRUE(transaction.commit().committed());
}

}  // namespace
}  // namespace assent
