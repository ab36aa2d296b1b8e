#include "assent/bench/recovery_bench.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <exception>
#include <filesystem>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "assent/adapters/mysql/mysql.h"
#include "assent/adapters/postgres/postgres.h"
#include "assent/bench/counting.h"
#include "assent/recovery/file_system.h"
#include "assent/recovery/node_directory.h"
#include "assent/tm/transaction_manager.h"

namespace assent::bench {
namespace {

constexpr const char* node = "bench";
constexpr int preparers = 8;
constexpr int committers = 256;
constexpr int most_passes = 100;
constexpr std::size_t one_large_segment = std::size_t{512} << 20;

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

/// `work(i)` for every i below `count`, by several threads; the first exception goes on to the caller.
void spread(int threads, int count, const std::function<void(int)>& work) {
  std::atomic<int> next{0};
  std::mutex mutex;
  std::exception_ptr failure;
  {
    std::vector<std::jthread> all;
    all.reserve(static_cast<std::size_t>(threads));
    for (int thread = 0; thread < threads; ++thread) {
      all.emplace_back([&] {
        try {
          for (int i = next++; i < count; i = next++) work(i);
        } catch (...) {
          const std::lock_guard lock(mutex);
          failure = std::current_exception();
          next = count;
        }
      });
    }
  }
  if (failure) std::rethrow_exception(failure);
}

Registry adapters() {
  Registry registry;
  Postgres::register_with(registry);
  MySql::register_with(registry);
  return registry;
}

ResourceSpec pooled(const Database& database) {
  ResourceSpec spec = database.spec();
  spec.pool_size = preparers;
  return spec;
}

void demand(const Reply& reply, const Database& database) {
  if (!reply.is_ok()) throw std::runtime_error(database.name() + ": " + describe(reply));
}

/// A prepared branch, left to the database.
DecidedBranch prepare(ResourceManager& manager, const TransactionId& id, Database& database, int account, int cents) {
  auto branch = manager.start(Xid::of(id, manager.name()), {});
  if (!branch) demand(branch.failure(), database);
  database.add_in(*branch.value(), account, cents);
  demand(branch.value()->end(), database);
  demand(branch.value()->prepare(), database);
  return {manager.name(), branch.value()->evidence()};
}

void leave_in_doubt(Database& first, Database& second, int transactions, const std::string& log_directory,
                    const std::function<void()>& prepared) {
  const auto directory = NodeDirectory::open(FileSystem::real(), log_directory, node);
  const auto slot = directory->claim();
  DecisionLog& log = slot->log();
  const Registry registry = adapters();
  const std::array databases{&first, &second};
  std::vector<std::shared_ptr<ResourceManager>> managers;
  for (Database* database : databases) {
    managers.push_back(registry.open(pooled(*database)));
    const auto probe = managers.back()->probe();
    if (!probe) demand(probe.failure(), *database);
    log.note_resource({database->name(), probe.value().identity});
  }
  const Incarnation incarnation = log.begin_incarnation();
  spread(preparers, transactions, [&](int i) {
    Decision decision;
    decision.id = {DeciderKind::log, log.id(), incarnation, static_cast<std::uint64_t>(i) + 1};
    decision.branches.push_back(prepare(*managers[0], decision.id, first, i, -1));
    decision.branches.push_back(prepare(*managers[1], decision.id, second, i, 1));
    if (i % 2 == 0 && log.force(decision) != Forced::durable) throw std::runtime_error("the log cannot be written");
    prepared();
  });
}

}  // namespace

Recovered time_recovery(Database& first, Database& second, int transactions, const std::string& log_directory,
                        const std::function<void()>& prepared) {
  if (transactions > accounts) throw std::logic_error("there are fewer accounts than transactions");
  first.demand_room_for_prepared(transactions);
  second.demand_room_for_prepared(transactions);
  Recovered out;
  out.databases = {first.product(), second.product()};
  out.transactions = transactions;
  out.decided = (transactions + 1) / 2;
  first.open_accounts();
  second.open_accounts();
  leave_in_doubt(first, second, transactions, log_directory, prepared);

  Config config;
  config.node = node;
  config.log_directory = log_directory;
  config.resources = {first.spec(), second.spec()};
  const Registry registry = adapters();
  const std::array before{first.counts(), second.counts()};
  std::map<std::uint16_t, std::uint64_t> messages;
  {
    const auto begin = Clock::now();
    auto manager = TransactionManager::open(config, registry);
    for (bool clean = false; !clean; ++out.passes) {
      if (out.passes == most_passes) throw std::runtime_error("recovery leaves branches in doubt");
      const RecoveryReport report = manager.recover_now();
      clean = std::ranges::all_of(report.branches, [](const auto& each) { return each.done || !each.transaction; }) &&
              std::ranges::all_of(report.logs, [](const auto& each) { return each.unfinished == 0; }) &&
              std::ranges::all_of(report.resources, [](const auto& each) { return each.usable(); });
    }
    out.seconds = seconds_since(begin);
    messages = messages_sent();
  }
  const std::array after{first.counts(), second.counts()};
  const std::array databases{&first, &second};
  for (std::size_t i = 0; i < databases.size(); ++i) {
    auto& cost = out.costs.emplace_back();
    if (after[i].syncs && before[i].syncs) cost.syncs = *after[i].syncs - *before[i].syncs;
    if (after[i].statements && before[i].statements) cost.statements = *after[i].statements - *before[i].statements;
    const auto sent = messages.find(port_of(*databases[i]));
    if (sent != messages.end()) cost.messages = sent->second;
  }
  for (const auto& [database, cents] : {std::pair{&first, -1}, std::pair{&second, 1}}) {
    const std::int64_t expected = accounts * opening_balance + std::int64_t{cents} * out.decided;
    if (const std::int64_t found = database->sum(); found != expected) {
      throw std::logic_error("MONEY WAS LOST OR MADE: " + database->name() + " holds " + std::to_string(found) +
                             " after recovery, not " + std::to_string(expected));
    }
  }
  first.remove();
  second.remove();
  std::filesystem::remove_all(log_directory);
  return out;
}

Opened time_opening(int decisions, const std::string& log_directory, const std::function<void()>& made) {
  constexpr int step = 10'000;
  FileSystem& files = FileSystem::real();
  std::filesystem::create_directories(log_directory);
  Opened out;
  out.decisions = static_cast<std::uint64_t>(decisions);
  {
    const auto log =
        DecisionLog::open(files, log_directory, {.segment_bytes = one_large_segment, .random = {}, .now_ms = {}});
    const Incarnation incarnation = log->begin_incarnation();
    spread(committers, decisions, [&](int i) {
      Decision decision;
      decision.id = {DeciderKind::log, log->id(), incarnation, static_cast<std::uint64_t>(i) + 1};
      decision.branches = {{"ledger", "7340012345678901234/16384/123456"}, {"shop", ""}};
      if (log->force(decision) != Forced::durable) throw std::runtime_error("the log cannot be written");
      log->finish(decision.id);
      if ((i + 1) % step == 0) made();
    });
    log->flush();
    out.bytes = log->counters().bytes;
    if (files.list(log_directory).value.size() != 1) throw std::logic_error("one segment does not hold all of them");
  }
  const auto begin = Clock::now();
  const auto log = DecisionLog::open(files, log_directory, {});
  out.seconds = seconds_since(begin);
  if (!log->unfinished().empty()) throw std::logic_error("the log has decisions that were finished");
  std::filesystem::remove_all(log_directory);
  return out;
}

}  // namespace assent::bench
