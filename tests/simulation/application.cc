// What runs in a simulated process: the public door of the production library, used as an application uses it.

#include <iterator>
#include <stdexcept>
#include <utility>

#include "assent/tests/simulation/resource.h"
#include "assent/tests/simulation/world.h"
#include "assent/tm/async_call.h"
#include "assent/tm/transaction_manager.h"
#include "assent/xa/error.h"

namespace assent::simulation {
namespace {

using Handles = std::vector<Resource<Simulated>>;

struct WorkFailed : std::runtime_error {
  WorkFailed() : std::runtime_error("the application gave up") {}
};

/// What is told by another thread: tm/async.h without Asio, whose threads are not the world's.
template <class T>
class Told {
 public:
  void tell(T what) {
    const std::lock_guard lock(mutex_);
    what_.emplace(std::move(what));
    told_.notify_all();
  }
  T wait() {
    std::unique_lock lock(mutex_);
    told_.wait(lock, [this] { return what_.has_value(); });
    return *std::move(what_);
  }

 private:
  Mutex mutex_;
  Condition told_;
  std::optional<T> what_;
};

Outcome commit_by_events(const Transaction& transaction) {
  const auto told = std::make_shared<Told<Outcome>>();
  transaction.async_call().complete(true, [told](Outcome outcome) { told->tell(std::move(outcome)); });
  return told->wait();
}

void work_by_events(const Transaction& transaction, const Resource<Simulated>& resource, const BranchOptions& options) {
  const auto told = std::make_shared<Told<std::exception_ptr>>();
  transaction.async_call().work(
      detail::AsyncCall::manager_of(resource), options, [](Transaction&, Branch&) {},
      [told](std::exception_ptr failure) { told->tell(std::move(failure)); });
  if (const auto failure = told->wait()) std::rethrow_exception(failure);
}

}  // namespace

class World::Watch final : public Observer {
 public:
  Watch(World& world, App& app) : world_(world), app_(app) {}
  void step(const Step& step) override {
    world_.trace_.mix(step.id.sequence * 2 + (step.executed ? 1 : 0));
    if (!world_.trace_.keeps() || step.executed) return;
    const InTheWorld outside;
    world_.tell(app_.name, std::string(step.verb) + " " + step.id.text() + "/" + std::string(step.resource));
  }
  void heuristic(const Outcome& outcome) override {
    const InTheWorld outside;
    world_.ledger_.told(outcome.id(), OutcomeKind::heuristic);
  }
  void resolved(const TransactionId& id, const std::string& resource, const Reply& reply) override {
    if (!world_.trace_.keeps()) return;
    const InTheWorld outside;
    world_.tell(app_.name, "recovery settles " + id.text() + "/" + resource + ": " + describe(reply));
  }
  void needs_person(const TransactionId& id, const std::string& resource, const std::string& why) override {
    if (!world_.trace_.keeps()) return;
    const InTheWorld outside;
    world_.tell(app_.name, "needs a person: " + id.text() + "/" + resource + ": " + why);
  }
  void log_stalled(const std::string& why) override {
    app_.must_reopen = true;
    const InTheWorld outside;
    world_.say(app_.name, "the log stalls: " + why);
  }

 private:
  World& world_;
  App& app_;
};

void World::app_main(App& app, int clients) {
  Node& node = *nodes_[static_cast<std::size_t>(app.node)];
  try {
    Config config;
    config.node = "node-" + std::to_string(app.node);
    config.log_directory = "log";
    config.recovery_interval = std::chrono::milliseconds(plan_ != nullptr ? 200 : 300 + dice_.below(1500));
    config.threads = 2 + dice_.below(3);
    if (plan_ == nullptr && dice_.happens(500)) {
      config.ack_at = AckAt::decided;
      config.behind = dice_.below(4);
    }
    if (plan_ == nullptr && dice_.happens(100)) config.last_resource = any_database(node);
    config.log_segment_bytes = std::size_t{32} << 10;
    for (const auto& [name, database] : node.databases) {
      ResourceSpec spec;
      spec.name = name;
      spec.url.scheme = "simulated";
      config.resources.push_back(spec);
    }
    Registry registry;
    registry.add("simulated", [&node](const ResourceSpec& spec) {
      return std::make_shared<SimulatedResource>(spec.name, *node.databases.at(spec.name), node.number);
    });
    auto tm = std::make_unique<TransactionManager>(
        TransactionManager::open(config, registry, std::make_shared<Watch>(*this, app)));
    Handles handles;
    for (const auto& [name, database] : node.databases) handles.push_back(tm->resource<Simulated>(name));
    {
      std::vector<Thread> threads;
      if (plan_ != nullptr && clients > 0) threads.emplace_back([&] { small_client(app, *tm, handles); });
      // While recovery is at them.
      if (plan_ == nullptr && dice_.happens(300)) threads.emplace_back([&] { ask_for_old_ones(app, *tm); });
      for (int i = 0; i < clients && plan_ == nullptr; ++i) threads.emplace_back([&] { client(app, *tm, handles); });
    }
    client_done_ = true;
    const bool stays = plan_ != nullptr || dice_.happens(700);
    while (!app.must_reopen && !healed_ && stays) scheduler_.sleep(50ms);
    if (healed_ && plan_ == nullptr) ask_for_old_ones(app, *tm);
    while (!app.must_reopen && healed_) scheduler_.sleep(50ms);
    {
      const InTheWorld outside;
      say(app.name, "closes");
    }
    handles.clear();
    tm.reset();
  } catch (const Error& error) {
    const InTheWorld outside;
    say(app.name, std::string("ends: ") + error.what());
    // No disk of this world flips a bit.
    if (error.code() == ErrorCode::log_damaged)
      ledger_.violated(std::string("a sound log is refused: ") + error.what());
  }
  const InTheWorld outside;
  scheduler_.after(0ns, [this, &app, &node] {
    if (!app.alive) return;
    say(app.name, "has ended");
    end_app(app);
    keep_running(node);
  });
}

/// What became of them, whoever ran them.
template <class Manager>
void World::ask_for_old_ones(App& app, Manager& tm) {
  for (int i = 0; i < 5 && !begun_.empty(); ++i) {
    const TransactionId id = begun_[dice_.below(begun_.size())];
    if (ledger_.find(id)->node != app.node) continue;
    try {
      const Outcome outcome = tm.outcome(id);
      const InTheWorld outside;
      ledger_.told(id, outcome.kind());
      say(app.name, "is told " + std::string(to_string(outcome.kind())) + " " + id.text());
    } catch (const Error&) {
      continue;  // its log is not of this node any more
    }
  }
}

std::string World::any_database(const Node& node) {
  auto chosen = node.databases.begin();
  std::advance(chosen, dice_.below(node.databases.size()));
  return chosen->first;
}

template <class Manager, class Handles>
void World::small_client(App& app, Manager& tm, Handles& handles) {
  const auto done = [&](const TransactionId& id, OutcomeKind kind) {
    const InTheWorld outside;
    ledger_.told(id, kind);
    say(app.name, "is told " + std::string(to_string(kind)) + " " + id.text());
    client_done_ = true;
  };
  std::optional<TransactionId> id;
  try {
    TransactionOptions options;
    if (plan_->last_resource) options.last_resource = databases_[*plan_->last_resource]->name();
    Transaction tx = tm.begin(options);
    id = tx.id();
    {
      const InTheWorld outside;
      ledger_.began(*id, app.node);
      begun_.push_back(*id);
    }
    for (std::size_t i = 0; i < handles.size(); ++i) {
      if (plan_->sites[i].vote == SmallPlan::Vote::idle) continue;
      const bool reads = plan_->sites[i].vote == SmallPlan::Vote::read_only;
      tx.on(handles[i], {.isolation = Isolation::database_default, .read_only = reads}, [](Branch&) {});
    }
    const Outcome outcome = tx.commit();
    done(*id, outcome.kind());
  } catch (const Error&) {
    if (id) done(*id, OutcomeKind::rolled_back);
  }
}

template <class Manager, class Handles>
void World::client(App& app, Manager& tm, Handles& handles) {
  const std::uint64_t count = 1 + dice_.below(4);
  for (std::uint64_t i = 0; i < count && !app.must_reopen && !healed_; ++i) {
    scheduler_.sleep(dice_.between(0ns, 250ms));
    const std::size_t most = std::min<std::size_t>(handles.size(), 3);
    const std::size_t branches = dice_.happens(150) ? 1 : 2 + dice_.below(most - 1);
    const std::size_t first = dice_.below(handles.size());
    // Also one that takes no other part.
    std::optional<std::string> last_resource;
    if (dice_.happens(300)) last_resource = any_database(*nodes_[static_cast<std::size_t>(app.node)]);
    const bool gives_up = dice_.happens(60);
    const bool in_steps = dice_.happens(400);
    const bool by_events = in_steps && dice_.happens(400);
    std::optional<std::chrono::milliseconds> deadline;
    if (dice_.happens(250)) deadline = std::chrono::milliseconds(2 + dice_.below(1500));
    std::vector<TransactionId> ids;
    const auto tell = [&](const TransactionId& id, OutcomeKind kind) {
      const InTheWorld outside;
      ledger_.told(id, kind);
      say(app.name, "is told " + std::string(to_string(kind)) + " " + id.text());
    };
    const auto work = [&](Transaction& tx) {
      ids.push_back(tx.id());
      {
        const InTheWorld outside;
        ledger_.began(tx.id(), app.node);
        begun_.push_back(tx.id());
        say(app.name, "begins " + tx.id().text());
      }
      for (std::size_t k = 0; k < branches; ++k) {
        const BranchOptions options{.isolation = Isolation::database_default, .read_only = dice_.happens(120)};
        const auto& handle = handles[(first + k) % handles.size()];
        if (by_events) {
          work_by_events(tx, handle, options);
        } else {
          tx.on(handle, options, [](Branch&) {});
        }
        if (dice_.happens(100)) scheduler_.sleep(dice_.between(1ms, 100ms));
      }
      if (gives_up) throw WorkFailed();
    };
    try {
      if (in_steps) {
        Transaction tx = tm.begin({.deadline = deadline, .label = "in steps", .last_resource = last_resource});
        work(tx);
        const Outcome outcome = by_events ? commit_by_events(tx) : tx.commit();
        tell(outcome.id(), outcome.kind());
      } else {
        const Outcome outcome = tm.run({.deadline = deadline, .label = "run", .last_resource = last_resource}, work);
        for (const TransactionId& id : ids) tell(id, id == outcome.id() ? outcome.kind() : OutcomeKind::rolled_back);
      }
    } catch (const WorkFailed&) {
      for (const TransactionId& id : ids) tell(id, OutcomeKind::rolled_back);
    } catch (const Error& error) {
      for (const TransactionId& id : ids) tell(id, OutcomeKind::rolled_back);
      if (error.code() == ErrorCode::log_failed) return;
    }
    if (!begun_.empty() && dice_.happens(300)) {
      TransactionId id = begun_[dice_.below(begun_.size())];
      // Whoever asks may know its name only, not who decides it.
      if (dice_.happens(100)) id = {DeciderKind::log, id.log, id.incarnation, id.sequence};
      if (ledger_.find(id)->node != app.node) continue;
      try {
        const bool own = !ids.empty() && dice_.happens(500);
        const Outcome outcome = own ? tm.wait(ids.back(), 300ms) : tm.outcome(id);
        tell(outcome.id(), outcome.kind());
      } catch (const Error&) {
        continue;  // its log is not of this node any more
      }
    }
  }
}

}  // namespace assent::simulation
