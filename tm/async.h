#pragma once

// The asynchronous interface: Transaction's async_… members, for any completion token of Boost.Asio.
//
//     asio::awaitable<Outcome> pay(TransactionManager& tm, Resource<Postgres> ledger, Resource<MySql> shop) {
//       Transaction tx = tm.begin({.deadline = 2s});
//       co_await tx.async_on(ledger, [](Postgres::Session& sql) { … }, asio::use_awaitable);
//       co_await tx.async_on(shop, [](sql::Connection& sql) { … }, asio::use_awaitable);
//       co_return co_await tx.async_commit(asio::use_awaitable);
//     }
//
// What holds no thread: waiting for a session of a pool, for the log, for the other branches, and for a phase to end,
// however many transactions are in flight. What does: the drivers' own calls, which block. They run in the manager's
// threads, `Config::threads` for each of: the application's work, prepare, phase two; a further one writes the log. A
// work that waits for a lock keeps its thread, so that as many threads as the pools have sessions together are never
// too few; with fewer, works may wait for one that has no thread yet, until a deadline ends one of them. Give them one:
// what a work waits for may stand in doubt until the log is opened again, and the manager's end waits for the work.
// On a resource that answers at once (Capabilities::answers_at_once, as no database does) a work needs no thread of the
// manager's and runs in the initiating call.
//
// Handlers are called as by post() on their associated executor, never in the initiating call; work is kept outstanding
// there, and its context has to outlive the operation. Without an associated executor that is Asio's system executor.
// An Error, or what the work throws, arrives as the std::exception_ptr, in a coroutine as an exception. Cancellation of
// an operation is not offered: a deadline ends what waits.
//
// The Transaction may be moved or destroyed while an operation is under way. Destroyed undecided it rolls back, after
// the works under way, and once it has had an async_on() nobody waits for that. The manager's end waits for all of it.
// commit() and rollback() in all forms are refused (Error{misuse}) while an async_on() is under way. As ever one
// resource is used by one at a time, and a connection that was adopted is lent until the end, here to other threads.
// Adapters whose sessions keep to one thread are refused.

#include <boost/asio/associated_allocator.hpp>
#include <boost/asio/associated_executor.hpp>
#include <boost/asio/async_result.hpp>
#include <boost/asio/execution/allocator.hpp>
#include <boost/asio/execution/blocking.hpp>
#include <boost/asio/execution/outstanding_work.hpp>
#include <boost/asio/execution/relationship.hpp>
#include <boost/asio/prefer.hpp>
#include <boost/asio/require.hpp>
#include <concepts>
#include <exception>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <variant>

#include "assent/tm/async_call.h"
#include "assent/tm/outcome.h"
#include "assent/tm/transaction.h"
#include "assent/xa/error.h"

namespace assent {

namespace detail {

/// A handler's executor, as outstanding work of it.
template <class Handler>
auto working_executor(const Handler& handler) {
  namespace asio = boost::asio;
  return asio::prefer(asio::get_associated_executor(handler), asio::execution::outstanding_work.tracked);
}

/// A completion handler until it is called, outstanding work of its executor, and what else is the application's.
template <class Handler, class Rest>
struct Kept {
  Handler handler;
  decltype(working_executor(std::declval<const Handler&>())) executor;
  Rest rest;
};

/// Names what it keeps, as its copies do, until one of them answers with it, which one must: it goes to the handler's
/// executor whole, and nothing of the application's is destroyed in a thread of the engine's, which would then perhaps
/// have to end the engine. No more than a pointer, so that a std::function of one needs no memory.
template <class Handler, class Rest>
class Keeper {
 public:
  Keeper(Handler handler, Rest rest) {
    auto executor = working_executor(handler);
    kept_ = new Kept<Handler, Rest>{std::move(handler), std::move(executor), std::move(rest)};
  }

  Rest& rest() const { return kept_->rest; }

  /// Instead of an answer, where the initiating call throws: then it has handed over nothing.
  void drop() const { delete kept_; }

  template <class... Values>
  void answer(Values... values) const {
    std::unique_ptr<Kept<Handler, Rest>> kept(kept_);
    // Work to the end of this call: else the context might end after the handler, before post() has let go of it. And
    // nothing but this keeps the executor, which must not be used after its context.
    const auto executor = std::move(kept->executor);
    const auto allocator = boost::asio::get_associated_allocator(kept->handler);
    namespace execution = boost::asio::execution;
    // As asio::post() does, which would go through the executor twice.
    boost::asio::prefer(boost::asio::require(executor, execution::blocking.never), execution::relationship.fork,
                        execution::allocator(allocator))
        .execute([kept = std::move(kept), ... values = std::move(values)]() mutable {
          auto handler = std::move(kept->handler);
          kept.reset();
          std::move(handler)(std::move(values)...);
        });
  }

 private:
  Kept<Handler, Rest>* kept_ = nullptr;
};

struct InitiateCompletion {
  template <class Handler>
  void operator()(Handler&& handler, const AsyncCall& call, bool commit) const {
    const Keeper<std::decay_t<Handler>, std::monostate> keeper(std::forward<Handler>(handler), {});
    std::exception_ptr refused;
    try {
      call.complete(commit, [keeper](Outcome outcome) { keeper.answer(std::exception_ptr(), std::move(outcome)); });
    } catch (const Error&) {
      refused = std::current_exception();
    } catch (...) {
      keeper.drop();
      throw;
    }
    if (refused) keeper.answer(std::move(refused), Outcome());
  }
};

/// A work, and its value once there is one.
template <class Work, class Value>
struct WorkAndValue {
  static_assert(std::default_initializable<Value>, "also a work that threw has a value: it must have a default");
  using Signature = void(std::exception_ptr, Value);

  template <class Run>
  void run(Run&& on_session) {
    value.emplace(on_session(work));
  }
  template <class Keeper>
  static void answer(const Keeper& keeper, std::exception_ptr failure) {
    auto& value = keeper.rest().value;
    keeper.answer(std::move(failure), value ? std::move(*value) : Value());
  }

  Work work;
  std::optional<Value> value = {};
};

template <class Work>
struct WorkAndValue<Work, void> {
  using Signature = void(std::exception_ptr);

  template <class Run>
  void run(Run&& on_session) {
    on_session(work);
  }
  template <class Keeper>
  static void answer(const Keeper& keeper, std::exception_ptr failure) {
    keeper.answer(std::move(failure));
  }

  Work work;
};

template <class Adapter, class Work>
using WorkOn =
    WorkAndValue<Work, std::decay_t<std::invoke_result_t<Work&, decltype(Adapter::session(std::declval<Branch&>()))>>>;

template <class Adapter>
struct InitiateWork {
  template <class Handler, class Work>
  void operator()(Handler&& handler, const AsyncCall& call, const Resource<Adapter>& resource,
                  const BranchOptions& options, Work&& work) const {
    using Rest = WorkOn<Adapter, std::decay_t<Work>>;
    const Keeper<std::decay_t<Handler>, Rest> keeper(std::forward<Handler>(handler), Rest{std::forward<Work>(work)});
    std::exception_ptr refused;
    try {
      call.work(
          AsyncCall::manager_of(resource), options,
          [keeper](Transaction& transaction, Branch& branch) {
            keeper.rest().run([&](auto& on_session) -> decltype(auto) {
              return AsyncCall::run<Adapter>(transaction, branch, on_session);
            });
          },
          [keeper](std::exception_ptr failure) { Rest::answer(keeper, std::move(failure)); });
    } catch (const Error&) {
      refused = std::current_exception();
    } catch (...) {
      keeper.drop();
      throw;
    }
    if (refused) Rest::answer(keeper, std::move(refused));
  }
};

}  // namespace detail

/// commit(). Signature void(std::exception_ptr, Outcome).
template <class Token>
auto Transaction::async_commit(Token&& token) {
  return boost::asio::async_initiate<Token, void(std::exception_ptr, Outcome)>(detail::InitiateCompletion(), token,
                                                                               async_call(), true);
}

/// rollback(). Signature void(std::exception_ptr, Outcome).
template <class Token>
auto Transaction::async_rollback(Token&& token) {
  return boost::asio::async_initiate<Token, void(std::exception_ptr, Outcome)>(detail::InitiateCompletion(), token,
                                                                               async_call(), false);
}

/// on(): waits for a session without a thread, then runs `work` in one of the manager's threads, where it may block (in
/// this call, on a resource that answers at once).
/// Signature void(std::exception_ptr, T) of what it returns, or void(std::exception_ptr).
template <class Adapter, class Work, class Token>
auto Transaction::async_on(const Resource<Adapter>& resource, Work&& work, Token&& token) {
  return async_on(resource, BranchOptions{}, std::forward<Work>(work), std::forward<Token>(token));
}

template <class Adapter, class Work, class Token>
auto Transaction::async_on(const Resource<Adapter>& resource, const BranchOptions& options, Work&& work,
                           Token&& token) {
  using Signature = typename detail::WorkOn<Adapter, std::decay_t<Work>>::Signature;
  return boost::asio::async_initiate<Token, Signature>(detail::InitiateWork<Adapter>(), token, async_call(), resource,
                                                       options, std::forward<Work>(work));
}

}  // namespace assent
