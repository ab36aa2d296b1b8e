#include "assent/tm/engine.h"

#include <algorithm>
#include <utility>

#include "assent/tm/driver.h"
#include "assent/tm/transaction_state.h"
#include "assent/xa/error.h"
#include "assent/xa/planted_defect.h"

namespace assent::detail {
namespace {

/// A slot that nobody holds is examined again after so many passes, whether or not anything was seen of it.
constexpr std::uint64_t examine_again = 60;

constexpr std::size_t called_at_most = 10000;

OutcomeKind kind_of(two_phase::End end) {
  switch (end) {
    case two_phase::End::committed:
      return OutcomeKind::committed;
    case two_phase::End::rolled_back:
      return OutcomeKind::rolled_back;
    case two_phase::End::heuristic:
      return OutcomeKind::heuristic;
    case two_phase::End::in_doubt:
    case two_phase::End::undecided:
      break;
  }
  return OutcomeKind::in_doubt;
}

std::vector<BranchOutcome> branches_of(const TransactionState& state, const two_phase::TwoPhaseCommit& machine) {
  std::vector<BranchOutcome> out(state.branches.size());
  for (std::size_t i = 0; i < state.branches.size(); ++i) {
    const two_phase::BranchInfo& info = machine.branches()[i];
    // Only of a commit that is acknowledged at the decision.
    const bool decided = info.state == two_phase::BranchState::committing;
    out[i].resource = state.branches[i].resource->manager->name();
    out[i].state = to_string(decided ? two_phase::BranchState::pending : info.state);
    out[i].reply = info.last;
  }
  return out;
}

Outcome outcome_of(const TransactionState& state, const two_phase::TwoPhaseCommit& machine) {
  const bool doomed = state.rollback_only && machine.cause().is_ok();
  return {kind_of(machine.end()), state.id, machine.reason(), doomed ? state.rollback_cause : machine.cause(),
          branches_of(state, machine)};
}

}  // namespace

std::shared_ptr<Engine> Engine::open(const Config& config, const Registry& adapters,
                                     std::shared_ptr<Observer> observer) {
  return {new Engine(config, adapters, std::move(observer)), [](Engine* engine) {
            // In a forked child its threads did not come along (a condition variable they wait on cannot even be
            // destroyed), and log, lock and sessions are the parent's: leaked.
            if (!engine->process_.in_child()) delete engine;
          }};
}

Engine::Engine(const Config& config, const Registry& adapters, std::shared_ptr<Observer> observer)
    : is_observed_(observer != nullptr),
      observer_(observer ? std::move(observer) : std::make_shared<Observer>()),
      threads_(config.threads),
      ack_at_(config.ack_at),
      last_resource_(config.last_resource),
      behind_at_most_(config.behind),
      recovery_interval_(config.recovery_interval) {
  std::vector<RecoverableResource> recoverable;
  for (const ResourceSpec& spec : config.resources) {
    auto entry = std::make_unique<ResourceEntry>();
    entry->manager = adapters.open(spec);
    entry->formerly = spec.formerly;
    recoverable.push_back({entry->manager, spec.formerly});
    if (!resources_.emplace(spec.name, std::move(entry)).second) {
      throw Error(ErrorCode::configuration, "the resource name '" + spec.name + "' stands twice",
                  "give every resource a name of its own");
    }
  }
  directory_ = NodeDirectory::open(FileSystem::real(), config.log_directory, config.node,
                                   {.segment_bytes = config.log_segment_bytes, .random = {}, .now_ms = {}});
  slot_ = claim_slot();
  incarnation_ = slot_->log().begin_incarnation();
  live_ = std::make_unique<LiveTable>(slot_->log(), incarnation_, *observer_);
  sweeper_ = std::make_unique<WitnessSweeper>(slot_->log());
  recoverer_ = std::make_unique<Recoverer>(std::move(recoverable));
  executor_ = std::make_unique<WorkerPool>(config.threads);
  finisher_ = std::make_unique<WorkerPool>(config.threads);
  recovery_thread_ = Thread([this] { recovery_loop(); });
}

Engine::~Engine() {
  {
    // While recovery still runs: a work may wait for a branch that only recovery frees.
    std::unique_lock lock(async_mutex_);
    nothing_under_way_.wait(lock, [this] { return under_way_ == 0; });
  }
  {
    const std::lock_guard lock(recovery_mutex_);
    stopping_ = true;
  }
  recovery_wake_.notify_all();
  recovery_thread_.join();
  if (async_threads_) {
    async_threads_->workers.join();
    async_threads_->writer.join();
  }
  finisher_->join();
  executor_->join();
  sweeper_->sweep(true);
  slot_->log().flush();
}

void Engine::refuse_in_child() const {
  if (!process_.in_child()) return;
  throw Error(ErrorCode::misuse, "this process was forked after Assent was opened, and cannot use its parent's",
              "open a transaction manager of its own in the child: a node directory has room for several processes");
}

std::shared_ptr<TransactionState> Engine::begin(const TransactionOptions& options) {
  refuse_in_child();
  if (options.label.size() > Decision::max_label) {
    throw Error(ErrorCode::misuse,
                "a label has at most 256 bytes, this one has " + std::to_string(options.label.size()), "shorten it");
  }
  if (const auto why = slot_->log().poisoned()) {
    throw Error(ErrorCode::log_failed, "the log takes no more decisions: " + *why,
                "mend the disk, then open the transaction manager again; what is in doubt is settled then");
  }
  auto state = std::make_shared<TransactionState>();
  if (options.deadline) state->deadline = steady_now() + *options.deadline;
  state->label = options.label;
  state->ack_at = options.ack_at.value_or(ack_at_);
  const std::string& last = options.last_resource.value_or(last_resource_);
  if (!last.empty() && last.size() > TransactionId::max_decider) {
    throw Error(ErrorCode::misuse, "the name of the last resource '" + last + "' has more than 39 bytes",
                "it is part of every branch's name: give the resource a shorter name, and the old one as `formerly`");
  }
  if (!last.empty()) state->last_resource = &named(last);
  state->id = live_->begin(last);
  return state;
}

// What a log may ever be asked for, this process must be able to settle: for as long as it lives, nobody else can.
std::unique_ptr<Slot> Engine::claim_slot() {
  return directory_->claim([this](const DecisionLog& log) {
    const std::vector<LoggedResource> known = log.resources();
    const bool all = std::ranges::all_of(known, [this](const auto& each) { return logged_as(each.name) != nullptr; });
    if (!all) left_to_others_.insert(left_to_others_.end(), known.begin(), known.end());
    return all;
  });
}

ResourceEntry* Engine::logged_as(std::string_view name) const {
  for (const auto& [configured, entry] : resources_) {
    if (configured == name || std::ranges::count(entry->formerly, name) != 0) return entry.get();
  }
  return nullptr;
}

ResourceEntry* Engine::entry(const ResourceManager& manager) {
  // They are few, and to compare names takes longer.
  for (const auto& [name, each] : resources_) {
    if (each->manager.get() == &manager) return each.get();
  }
  return nullptr;
}

std::shared_ptr<ResourceManager> Engine::find(std::string_view name) const {
  refuse_in_child();
  return named(name).manager;
}

ResourceEntry& Engine::named(std::string_view name) const {
  if (const auto found = resources_.find(name); found != resources_.end()) return *found->second;
  std::string known;
  for (const auto& [each, entry] : resources_) known += (known.empty() ? "" : ", ") + each;
  throw Error(ErrorCode::misuse, "no resource is named '" + std::string(name) + "'",
              known.empty() ? "the configuration names none" : "configured are: " + known);
}

void Engine::admit(ResourceEntry& entry) {
  if (entry.is_admitted) return;
  const std::lock_guard lock(entry.admission);
  if (entry.admitted) return;
  const std::string& name = entry.manager->name();
  Result<Probe> probe = entry.manager->probe();
  if (!probe) {
    const bool down = probe.failure().code == Code::resource_failed;
    throw Error(down ? ErrorCode::resource_down : ErrorCode::resource_unfit,
                "resource '" + name + "' (" + entry.manager->address() + "): " + describe(probe.failure()),
                down ? "check that the database runs and that the URL is right" : "run `assent doctor`");
  }
  // Asked and entered under one lock: of two that are first used at the same moment, the second finds the first.
  const std::lock_guard all(identities_);
  const auto same = std::ranges::find_if(resources_, [&](const auto& other) {
    return other.second.get() != &entry && other.second->identity == probe->identity;
  });
  if (same != resources_.end()) {
    throw Error(ErrorCode::resource_unfit,
                "resources '" + name + "' and '" + same->first + "' are one database (" + probe->identity.text() + ")",
                "configure each database once");
  }
  std::vector<LoggedResource> recorded = log().resources();
  recorded.insert(recorded.end(), left_to_others_.begin(), left_to_others_.end());
  for (const LoggedResource& logged : recorded) {
    const bool formerly = std::find(entry.formerly.begin(), entry.formerly.end(), logged.name) != entry.formerly.end();
    if ((logged.name == name || formerly) && logged.identity != probe->identity &&
        !planted(Defect::identity_unchecked)) {
      throw Error(ErrorCode::resource_unfit,
                  "behind resource '" + name + "' stands another database: the log knows " + logged.identity.text() +
                      ", the server says " + probe->identity.text(),
                  "point its URL to the database it was, or give the new database a resource name of its own");
    }
    if (logged.name != name && !formerly && logged.identity == probe->identity) {
      throw Error(ErrorCode::resource_unfit,
                  "the log knows the database of resource '" + name + "' as '" + logged.name + "'",
                  "add formerly = [\"" + logged.name + "\"] to resource '" + name + "'");
    }
  }
  log().note_resource({name, probe->identity});
  entry.identity = probe->identity;
  entry.admitted = probe->capabilities;
  entry.is_admitted = true;
}

void Engine::claim(TransactionState& state) {
  const std::lock_guard lock(state.mutex);
  if (state.over) {
    throw Error(ErrorCode::misuse, "transaction " + state.id.text() + " is over already", "begin another one");
  }
  if (state.works > 0) {
    throw Error(ErrorCode::misuse, "work of transaction " + state.id.text() + " is still under way",
                "wait until every async_on() has answered");
  }
  state.over = true;
}

Outcome Engine::complete(const std::shared_ptr<TransactionState>& state, bool commit) {
  claim(*state);
  if (ResourceEntry* const last = commit ? missing_last_resource(*state) : nullptr) {
    enlist_last_resource(*state, *last, nullptr);
  }
  return drive(state, commit);
}

void Engine::check_last_resource(const ResourceEntry& entry, bool read_only) const {
  if (read_only) {
    throw Error(ErrorCode::misuse, "resource '" + entry.manager->name() + "' decides this transaction, so it writes",
                "do not declare its branch read-only, or choose another last resource");
  }
  if (entry.admitted->decides) return;
  throw Error(ErrorCode::resource_unfit, "resource '" + entry.manager->name() + "' cannot be a last resource",
              "its adapter must be able to, and Assent's witness table be there: run `assent doctor`");
}

ResourceEntry* Engine::missing_last_resource(const TransactionState& state) const {
  if (state.last_resource == nullptr || state.rollback_only) return nullptr;
  const auto is_it = [&](const Enlisted& each) { return each.resource == state.last_resource; };
  if (std::ranges::any_of(state.branches, is_it)) return nullptr;
  // One writer commits by itself.
  return std::ranges::count(state.branches, false, &Enlisted::read_only) < 2 ? nullptr : state.last_resource;
}

/// A branch with nothing but the decision.
void Engine::enlist_last_resource(TransactionState& state, ResourceEntry& entry, std::shared_ptr<Place> place) {
  try {
    admit(entry);
    check_last_resource(entry, false);
  } catch (const Error& error) {
    state.rollback_only = true;
    state.rollback_reason = error.what();
    return;
  }
  StartOptions options;
  options.deadline = state.deadline;
  options.place = std::move(place);
  auto started = entry.manager->start(Xid::of(state.id, state.id.decider), options);
  if (!started) return no_last_resource(state, started.failure());
  state.branches.push_back({&entry, false, false, std::move(started).value()});
}

void Engine::no_last_resource(TransactionState& state, const Reply& why) {
  state.rollback_only = true;
  state.rollback_reason = "the last resource '" + state.id.decider + "' opened no branch";
  state.rollback_cause = why;
}

Outcome Engine::drive(const std::shared_ptr<TransactionState>& state, bool commit) noexcept {
  Driver& driver = state->driver.emplace(*this, *state);
  const bool behind = commit && may_go_behind(*state);
  const bool over = driver.run(commit, behind);
  if (behind && over) --behind_;
  if (over) return conclude(driver);
  Outcome outcome = acknowledge(driver);
  // A crash from here on leaves the decision to recovery, as any crash in phase two does.
  enter();
  driver.finish_behind();
  return outcome;
}

/// Before phase two begins: whoever asks for the outcome must not be told less than the caller is.
Outcome Engine::acknowledge(Driver& driver) {
  const TransactionState& state = driver.state();
  Outcome outcome(OutcomeKind::committed, state.id, "", {}, branches_of(state, driver.machine()));
  live_->acknowledge(outcome);
  return outcome;
}

void Engine::decided_behind(Driver& driver) noexcept {
  driver.answer(acknowledge(driver));
}

/// Takes a place among those that are behind, if the caller may go on at the decision and there is one.
bool Engine::may_go_behind(const TransactionState& state) {
  if (state.ack_at != AckAt::decided) return false;
  // The application wants its connection back when commit() returns.
  if (std::ranges::any_of(state.branches, &Enlisted::borrowed)) return false;
  std::size_t now = behind_;
  while (now < behind_at_most_) {
    if (behind_.compare_exchange_weak(now, now + 1)) return true;
  }
  return false;
}

void Engine::finished_behind(Driver& driver) noexcept {
  // First: who has waited for its end finds the place free.
  if (driver.has_place_behind()) --behind_;
  driver.answer(conclude(driver));
  leave();
}

Outcome Engine::conclude(Driver& driver) {
  TransactionState& state = driver.state();
  const two_phase::TwoPhaseCommit& machine = driver.machine();
  Outcome outcome = outcome_of(state, machine);
  bool all_committed = outcome.committed();
  bool unfinished = outcome.kind() == OutcomeKind::in_doubt;
  for (std::size_t i = 0; i < state.branches.size(); ++i) {
    const two_phase::BranchState branch = machine.branches()[i].state;
    all_committed = all_committed && branch != two_phase::BranchState::pending;
    unfinished =
        unfinished || branch == two_phase::BranchState::pending || branch == two_phase::BranchState::unconfirmed;
  }
  Ending ending{driver.decided(), machine.is_one_phase(), {}};
  if (unfinished) {
    for (const Enlisted& each : state.branches) ending.evidence.push_back(each.evidence);
  }
  // A crash before this loses nothing: recovery asks the branches again, and their witnesses answer.
  live_->complete(outcome, ending);
  bool sweep = false;
  if (all_committed) {
    for (std::size_t i = 0; i < state.branches.size(); ++i) {
      if (machine.branches()[i].state != two_phase::BranchState::committed) continue;
      const Enlisted& each = state.branches[i];
      // Without its branch it was settled.
      if (each.branch && !each.branch->has_witness()) continue;
      const auto& manager = each.resource->manager;
      sweep = sweeper_->add(manager, Xid::of(state.id, manager->name())) || sweep;
    }
  }
  // Sessions of unfinished branches are closed here, so that recovery may take the branches over.
  state.branches.clear();
  if (sweep) executor_->post([this] { sweeper_->sweep(false); });
  if (unfinished) want_pass();
  if (outcome.kind() == OutcomeKind::in_doubt) observer_->in_doubt(outcome);
  if (outcome.kind() == OutcomeKind::heuristic) observer_->heuristic(outcome);
  return outcome;
}

void Engine::want_pass() {
  {
    const std::lock_guard lock(recovery_mutex_);
    passes_wanted_ = passes_begun_ + 1;
  }
  recovery_wake_.notify_all();
}

RecoveryReport Engine::recover_now() {
  refuse_in_child();
  std::unique_lock lock(recovery_mutex_);
  const std::uint64_t mine = passes_begun_ + 1;
  passes_wanted_ = mine;
  recovery_wake_.notify_all();
  recovery_wake_.wait(lock, [&] { return stopping_ || passes_done_ >= mine; });
  return last_report_;
}

void Engine::recovery_loop() {
  std::unique_lock lock(recovery_mutex_);
  bool first = true;
  while (!stopping_) {
    if (!first) {
      recovery_wake_.wait_for(lock, recovery_interval_, [&] { return stopping_ || passes_wanted_ > passes_begun_; });
      if (stopping_) return;
    }
    first = false;
    const bool asked = passes_wanted_ > passes_begun_;
    const std::uint64_t mine = ++passes_begun_;
    lock.unlock();
    RecoveryReport report;
    try {
      report = recovery_pass(asked);
    } catch (const std::exception& failure) {
      // No descriptors or threads left, a directory that cannot be read now: the program must not end for that.
      observer_->log_stalled(std::string("recovery: ") + failure.what());
    }
    lock.lock();
    passes_done_ = mine;
    last_report_ = std::move(report);
    recovery_wake_.notify_all();
  }
}

RecoveryReport Engine::recovery_pass(bool ask_all_now) {
  adopt_orphans(last_report_);
  std::vector<LogInHand> logs{{&log(), incarnation_, live_.get()}};
  for (const auto& slot : adopted_) logs.push_back({&slot->log(), std::nullopt, nullptr});
  RecoveryReport report = recoverer_->pass(
      logs, directory_->slots(), {.now = steady_now(), .dry_run = false, .ask_all_now = ask_all_now, .only = {}});
  for (const BranchReport& branch : report.branches) {
    if (branch.transaction && branch.needs_person()) call_for_person(branch);
  }
  release_clean(report);
  settle_in_doubt();
  return report;
}

void Engine::call_for_person(const BranchReport& branch) {
  const auto [called, first] = called_for_.try_emplace(branch.xid);
  if (!first && called->second == branch.resolution.text) return;
  called->second = branch.resolution.text;
  if (first) called_order_.push_back(branch.xid);
  if (called_order_.size() > called_at_most) {
    called_for_.erase(called_order_.front());
    called_order_.pop_front();
  }
  observer_->needs_person(*branch.transaction, branch.resource, std::string(branch.resolution.text));
}

void Engine::adopt_orphans(const RecoveryReport& last) {
  if (++examined_passes_ % examine_again == 0) examined_.clear();
  std::set<LogId> wanted;
  for (const BranchReport& branch : last.branches) {
    // A branch that came to light after its slot was found clean: a late prepare, or a database that was away.
    if (branch.evidence.owner == Owner::unheld_slot && branch.transaction) wanted.insert(branch.transaction->log);
  }
  for (const SlotState& slot : directory_->slots()) {
    if (slot.holder_pid || !slot.log) {
      examined_.erase(slot.number);
      continue;
    }
    if (examined_.contains(slot.number) && !wanted.contains(*slot.log)) continue;
    try {
      if (auto adopted = directory_->adopt(slot.number)) adopted_.push_back(std::move(adopted));
    } catch (const Error& error) {
      observer_->log_stalled(slot.directory + ": " + error.what());
      examined_.insert(slot.number);
    }
  }
}

void Engine::release_clean(const RecoveryReport& report) {
  for (const ResourceReport& resource : report.resources) {
    if (!resource.usable()) return;
  }
  std::erase_if(adopted_, [&](const std::unique_ptr<Slot>& slot) {
    bool left_to_others = false;
    for (const BranchReport& branch : report.branches) {
      if (!branch.transaction || branch.transaction->log != slot->log().id() || branch.done) continue;
      // Another application of the node may have the resource that is not configured here; held by this process, the
      // slot would be out of its reach.
      const bool has_its_decider =
          branch.evidence.log != LogSays::missing || logged_as(branch.transaction->decider) != nullptr;
      if (branch.evidence.identity != IdentityIs::not_configured && has_its_decider) return false;
      left_to_others = true;
    }
    if (!left_to_others && !slot->log().unfinished().empty()) return false;
    slot->log().flush();
    examined_.insert(slot->number());
    return true;
  });
}

void Engine::settle_in_doubt() {
  for (const auto& [id, resource] : live_->to_settle()) {
    const auto& manager = resources_.find(resource)->second->manager;
    // Its session, of which nothing was heard, may still hold what the answer waits for; nothing of ours uses it.
    static_cast<void>(manager->carrier_gone(Xid::of(id, resource), {.carrier_is_dead = true}));
    const Result<Fate> fate = manager->settle(Xid::of(id, resource));
    if (!fate || (*fate != Fate::committed && *fate != Fate::rolled_back)) continue;
    if (live_->settled(id, *fate == Fate::committed ? OutcomeKind::committed : OutcomeKind::rolled_back)) want_pass();
    observer_->resolved(id, resource, Reply::ok());
  }
}

}  // namespace assent::detail
