#include "assent/tests/simulation/world.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "assent/xa/planted_defect.h"

assent::Defect assent::planted_defect = assent::Defect::none;

namespace assent::simulation {
namespace {

constexpr Time active_for = 4s;
constexpr Time time_to_settle = 120s;
/// Two segments a slot and a spare, for the slots that a node can come to have.
constexpr std::uint64_t log_bound = std::uint64_t{1} << 20;

}  // namespace

World* World::running = nullptr;

World::World(std::uint64_t seed, bool trace) : seed_(seed), dice_(seed), scheduler_(dice_), trace_(trace) {
  running = this;
  scheduler_.on_terminate = [this](const Process& process) {
    for (const auto& app : apps_) {
      if (app->alive && &app->process == &process) kill_app(*app, "std::terminate");
    }
    client_done_ = true;
  };
  ledger_.is_on_disk = [this](const TransactionId& id, int node) {
    return nodes_[static_cast<std::size_t>(node)]->disk->holds_decision(id);
  };
}

World::~World() {
  for (const auto& app : apps_) {
    if (app->alive) scheduler_.kill(app->process);
  }
  running = nullptr;
}

FileSystem& World::files_of(const Process& process) {
  for (const auto& app : apps_) {
    if (&app->process == &process) return nodes_[static_cast<std::size_t>(app->node)]->disk->files();
  }
  std::abort();
}

void World::crash(std::string_view who, const std::string& what) {
  ++crashes_;
  say(who, "CRASH " + what);
}

void World::fault(std::string_view who, const std::string& what) {
  ++faults_;
  say(who, "FAULT " + what);
}

void World::build() {
  static const std::vector<std::string> names = {"ledger", "shop", "stock", "audit"};
  const std::uint64_t databases = 2 + dice_.below(3);
  for (std::uint64_t i = 0; i < databases; ++i) {
    auto database =
        std::make_unique<Database>(scheduler_, ledger_, trace_, static_cast<Kind>(dice_.below(4)), names[i]);
    // A world in which everything goes wrong at once never comes far: each has its own few troubles.
    Manners& manners = database->manners;
    const auto sometimes = [&](std::uint64_t most) { return dice_.happens(500) ? dice_.below(most) : 0; };
    manners.loses_request = sometimes(60);
    manners.loses_reply = sometimes(80);
    manners.is_slow = sometimes(60);
    manners.refuses_prepare = sometimes(100);
    manners.denies_branch = sometimes(200);
    manners.hides_branch = sometimes(300);
    manners.ends_slowly = sometimes(500);
    if (database->kind() == Kind::mysql) manners.loses_prepared = dice_.happens(200) ? dice_.below(500) : 0;
    database->add_bystander(Xid{1, "another manager's", "branch"});
    database->add_bystander(Xid::of({DeciderKind::log, LogId{dice_.next()}, Incarnation{dice_.next()}, 7}, names[i]));
    say(database->name(), std::string(to_string(database->kind())));
    databases_.push_back(std::move(database));
  }
  const std::uint64_t nodes = dice_.happens(300) ? 2 : 1;
  for (std::uint64_t i = 0; i < nodes; ++i) {
    auto node = std::make_unique<Node>();
    node->number = static_cast<int>(i);
    node->disk = std::make_unique<Disk>(scheduler_, dice_.next());
    for (const auto& database : databases_) node->databases.emplace(database->name(), database.get());
    nodes_.push_back(std::move(node));
  }
}

void World::plan_faults() {
  const std::uint64_t count = 7 + dice_.below(6);
  for (std::uint64_t i = 0; i < count; ++i) {
    scheduler_.after(dice_.between(5ms, active_for), [this] {
      if (!healed_) one_fault();
    });
  }
}

World::App* World::some_app() {
  std::vector<App*> alive;
  for (const auto& app : apps_) {
    if (app->alive) alive.push_back(app.get());
  }
  return alive.empty() ? nullptr : dice_.one_of(alive);
}

void World::one_fault() {
  Node& node = *dice_.one_of(nodes_);
  Database& database = *dice_.one_of(databases_);
  App* const app = some_app();
  const std::uint64_t what = dice_.below(100);
  if (what < 18) {
    if (app != nullptr) kill_app(*app, "kill -9");
  } else if (what < 24) {
    database.lie_in_wait([this](std::int64_t pid) {
      for (const auto& each : apps_) {
        if (each->alive && each->process.pid() == pid) return kill_app(*each, "kill -9, while its decision travels");
      }
    });
  } else if (what < 34) {
    lose_power(node, "power fails");
  } else if (what < 54) {
    if (!database.is_up()) return;
    ++crashes_;
    database.crash();
    scheduler_.after(dice_.between(5ms, 1500ms), [&database] { database.start(); });
  } else if (what < 62) {
    if (app == nullptr) return;
    fault(app->name, "is stopped for a while");
    app->process.pause(scheduler_.now() + dice_.between(100ms, 3s));
  } else if (what < 72) {
    fault("disk", "of node " + std::to_string(node.number) + " fails a call soon");
    node.disk->fail_soon(40);
  } else if (what < 77) {
    fault("disk", "of node " + std::to_string(node.number) + " is full");
    node.disk->fill();
    scheduler_.after(dice_.between(50ms, 800ms), [&node] { node.disk->empty(); });
  } else if (what < 82) {
    fault("disk", "of node " + std::to_string(node.number) + " is slow");
    node.disk->slow_down(dice_.between(1ms, 60ms));
    scheduler_.after(dice_.between(50ms, 800ms), [&node] { node.disk->slow_down(0ns); });
  } else if (what < 89) {
    if (app == nullptr) return;
    fault(database.name(), "loses its connections to " + app->name);
    database.cut(app->process);
  } else if (what < 91) {
    database.remember();
    scheduler_.after(dice_.between(300ms, 2s), [this, &database] {
      if (!healed_) database.restore();
    });
  } else if (what < 94) {
    lose_power(node, "power fails, and the disk is replaced by a copy");
    node.disk->move();
    ledger_.log_was_moved(node.number);
    ++faults_;
  } else if (what < 97) {
    node.old = node.disk->copy();
    scheduler_.after(dice_.between(200ms, 2s), [this, &node] {
      if (healed_) return;
      lose_power(node, "power fails, and an older copy of the disk is brought back");
      node.disk->restore(node.old);
      ledger_.log_was_moved(node.number);
      ++faults_;
    });
  } else {
    lose_power(node, "is started again with " + database.name() + " leading to a copy of it");
    auto clone = std::make_unique<Database>(scheduler_, ledger_, trace_, database.kind(),
                                            database.name() + "-copy-" + std::to_string(clones_.size() + 1));
    clone->clone_from(database);
    node.databases[database.name()] = clone.get();
    clones_.push_back(std::move(clone));
    ++faults_;
    scheduler_.after(dice_.between(200ms, 2s), [this, &node, &database] {
      lose_power(node, "is started again with " + database.name() + " leading to the original");
      node.databases[database.name()] = &database;
    });
  }
}

void World::lose_power(Node& node, const std::string& why) {
  crash("node " + std::to_string(node.number), why);
  for (const auto& app : apps_) {
    if (app->alive && app->node == node.number) end_app(*app);
  }
  node.disk->lose_power();
  keep_running(node);
}

void World::kill_app(App& app, const std::string& why) {
  crash(app.name, why);
  Node& node = *nodes_[static_cast<std::size_t>(app.node)];
  end_app(app);
  keep_running(node);
}

void World::end_app(App& app) {
  app.alive = false;
  for (const auto& database : databases_) database->client_died(app.process);
  for (const auto& clone : clones_) clone->client_died(app.process);
  nodes_[static_cast<std::size_t>(app.node)]->disk->forget(app.process);
  scheduler_.kill(app.process);
}

void World::keep_running(Node& node) {
  scheduler_.after(dice_.between(1ms, 400ms), [this, &node] {
    const auto here =
        std::ranges::count_if(apps_, [&](const auto& app) { return app->alive && app->node == node.number; });
    if (here < 2) start_app(node, healed_ ? 0 : static_cast<int>(1 + dice_.below(3)));
  });
}

void World::start_app(Node& node, int clients) {
  apps_.push_back(std::make_unique<App>(node.number, next_pid_++));
  App& app = *apps_.back();
  app.name = "app " + std::to_string(app.process.pid());
  say(app.name, "starts on node " + std::to_string(node.number));
  scheduler_.spawn(app.process, [this, &app, clients] { app_main(app, clients); });
}

void World::heal() {
  healed_ = true;
  say("world", "nothing goes wrong any more");
  for (const auto& database : databases_) {
    const bool hides = database->manners.hides_branch != 0;
    database->manners = {};
    // What MariaDB hides it lists again after a restart.
    if (hides && database->is_up()) database->crash();
    database->start();
  }
  for (const auto& node : nodes_) {
    node->disk->empty();
    node->disk->slow_down(0ns);
    node->disk->stop_failing();
    bool runs = false;
    for (const auto& app : apps_) {
      if (!app->alive || app->node != node->number) continue;
      app->process.pause(0ns);
      runs = true;
    }
    if (!runs) keep_running(*node);
  }
}

/// What a lost branch, a lost log, or a last resource that is not reached any more leaves in doubt.
bool World::is_for_a_person(const TransactionId& id, const Ledger::Transaction& transaction) const {
  if (!transaction.excuse.empty() || transaction.stuck) return true;
  const auto decider = transaction.branches.find(id.decider);
  return decider != transaction.branches.end() &&
         nodes_[static_cast<std::size_t>(transaction.node)]->databases.at(id.decider)->identity() !=
             decider->second.database;
}

bool World::settled() const {
  for (const auto& database : databases_) {
    for (const Database::Left& left : database->left()) {
      const auto id = left.xid.transaction();
      const Ledger::Transaction* const known = id ? ledger_.find(*id) : nullptr;
      if (known == nullptr || !is_for_a_person(*id, *known)) return false;
    }
  }
  return true;
}

void World::last_checks() {
  for (const auto& database : databases_) {
    if (!database->bystanders_untouched()) ledger_.violated(database->name() + " lost a bystander's branch");
    for (const Database::Left& left : database->left()) {
      const auto id = left.xid.transaction();
      const Ledger::Transaction* const known = id ? ledger_.find(*id) : nullptr;
      if (known != nullptr && is_for_a_person(*id, *known)) continue;
      ledger_.violated(left.xid.text() + " is left " + (left.prepared ? "prepared" : "open") + " in " +
                       database->name() + " although nothing went wrong for two minutes");
    }
  }
  for (const auto& node : nodes_) {
    if (node->disk->used() <= log_bound) continue;
    ledger_.violated("the logs of node " + std::to_string(node->number) + " take " +
                     std::to_string(node->disk->used()) + " bytes");
  }
}

Report World::run() {
  build();
  for (const auto& node : nodes_) {
    const std::uint64_t apps = 1 + dice_.below(2);
    for (std::uint64_t i = 0; i < apps; ++i) start_app(*node, static_cast<int>(1 + dice_.below(3)));
  }
  plan_faults();
  const auto violated = [this] { return !ledger_.violation().empty(); };
  if (!scheduler_.run(active_for, violated)) {
    heal();
    while (!violated() && scheduler_.now() < active_for + time_to_settle) {
      if (scheduler_.run(scheduler_.now() + 250ms, violated)) break;
      if (scheduler_.now() > active_for + 1s && settled()) break;
    }
    if (!violated()) last_checks();
  }
  if (violated()) say("world", "VIOLATION " + ledger_.violation());
  for (const auto& database : databases_) faults_ += database->faults();
  trace_.mix(scheduler_.steps());
  std::uint64_t rows = 0;
  for (const auto& database : databases_) rows += database->rows();
  return {seed_, ledger_.violation(), trace_.fingerprint(), scheduler_.steps(), begun_.size(), crashes_, faults_,
          rows,  trace_.lines()};
}

SmallReport World::run(const SmallPlan& plan) {
  static const std::vector<std::string> names = {"a", "b", "c"};
  plan_ = &plan;
  healed_ = true;  // processes that are started again only recover
  Node& node = *nodes_.emplace_back(std::make_unique<Node>());
  node.disk = std::make_unique<Disk>(scheduler_, dice_.next());
  for (std::size_t i = 0; i < plan.sites.size(); ++i) {
    const SmallPlan::Site& site = plan.sites[i];
    auto database = std::make_unique<Database>(scheduler_, ledger_, trace_, site.kind, names[i]);
    database->refuses = site.vote == SmallPlan::Vote::refuse;
    database->pace = site.pace;
    database->mishap = site.mishap;
    node.databases.emplace(names[i], database.get());
    databases_.push_back(std::move(database));
  }
  if (plan.fault == SmallPlan::Fault::fail_disk_call) node.disk->fail_call(plan.at);
  start_app(node, 1);
  if (plan.fault == SmallPlan::Fault::fail_allocation) apps_.front()->process.heap()->fail_allocation(plan.at);
  const bool by_count =
      plan.fault == SmallPlan::Fault::fail_disk_call || plan.fault == SmallPlan::Fault::fail_allocation;
  bool due = plan.fault != SmallPlan::Fault::none && !by_count;
  const auto violated = [this] { return !ledger_.violation().empty(); };
  const auto stop = [&] { return violated() || client_done_ || (due && scheduler_.steps() >= plan.at); };
  std::uint64_t steps = 0;
  std::uint64_t allocations = 0;
  while (!violated() && scheduler_.now() < time_to_settle) {
    const bool stopped = scheduler_.run(scheduler_.now() + 100ms, stop);
    if (client_done_ && steps == 0) {
      steps = scheduler_.steps();
      if (apps_.front()->alive) allocations = apps_.front()->process.heap()->allocations();
    }
    if (due && scheduler_.steps() >= plan.at) {
      due = false;
      App& app = *apps_.front();
      Database& database = *databases_[std::min(plan.where, databases_.size() - 1)];
      switch (plan.fault) {
        case SmallPlan::Fault::kill_process:
          if (app.alive) kill_app(app, "kill -9");
          client_done_ = true;
          break;
        case SmallPlan::Fault::lose_power:
          lose_power(node, "power fails");
          client_done_ = true;
          break;
        case SmallPlan::Fault::stop_process:
          app.process.pause(scheduler_.now() + 2s);
          break;
        case SmallPlan::Fault::crash_database:
          database.crash();
          scheduler_.after(20ms, [&database] { database.start(); });
          break;
        case SmallPlan::Fault::cut_connections:
          database.cut(app.process);
          break;
        case SmallPlan::Fault::none:
        case SmallPlan::Fault::fail_disk_call:
        case SmallPlan::Fault::fail_allocation:
          break;
      }
    }
    if (!client_done_) continue;
    if (!stopped || steps != 0) static_cast<void>(scheduler_.run(scheduler_.now() + 100ms, violated));
    if (!due && settled()) break;
    // What MariaDB hides it lists again after a restart.
    if (scheduler_.now() > 10s && scheduler_.now() < 11s) {
      for (const auto& database : databases_) {
        if (database->kind() == Kind::mariadb) database->crash();
        database->start();
      }
      static_cast<void>(scheduler_.run(11s, violated));
    }
  }
  if (!violated()) last_checks();
  std::optional<OutcomeKind> told;
  if (!begun_.empty()) told = ledger_.find(begun_.front())->told;
  std::vector<std::uint64_t> messages;
  for (const auto& database : databases_) messages.push_back(database->messages());
  return {ledger_.violation(), steps == 0 ? scheduler_.steps() : steps,
          node.disk->calls(),  allocations,
          std::move(messages), told,
          trace_.lines()};
}

SmallReport simulate(const SmallPlan& plan, bool trace) {
  World world(1, trace);
  return world.run(plan);
}

Report simulate(std::uint64_t seed, bool trace) {
  World world(seed, trace);
  return world.run();
}

}  // namespace assent::simulation

// What recovery and the engine take for the system's files.
assent::FileSystem& assent::FileSystem::real() {
  return simulation::World::running->files_of(simulation::Scheduler::running->process());
}
