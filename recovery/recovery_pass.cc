#include "assent/recovery/recovery_pass.h"

#include "assent/xa/planted_defect.h"

#include <algorithm>

namespace assent {

RecoveryPass::RecoveryPass(Recoverer& recoverer, const std::vector<LogInHand>& logs,
                           const std::vector<SlotState>& slots, const Recoverer::Pass& how)
    : recoverer_(recoverer), slots_(slots), how_(how), sites_(recoverer.resources_.size()) {
  for (const LogInHand& hand : logs) {
    Log& log = logs_.emplace_back();
    log.hand = &hand;
    log.id = hand.log->id();
  }
  for (std::size_t i = 0; i < sites_.size(); ++i) {
    sites_[i].configured = &recoverer.resources_[i];
    sites_[i].report.name = sites_[i].manager().name();
    sites_[i].report.address = sites_[i].manager().address();
    site_by_name_.emplace(sites_[i].report.name, i);
  }
  // A present name wins over a former one, so these come after all of those.
  for (std::size_t i = 0; i < sites_.size(); ++i) {
    for (const std::string& name : sites_[i].configured->formerly) site_by_name_.emplace(name, i);
  }
}

// The order of this function is safety rule 6, and none of its steps may change places:
//
//   1. ask_sites: what is prepared, in every database.
//   2. read_engines_then_logs: of what was found, what is active; and after that, what is decided. Of what a last
//      resource decides: ask_last_resources makes it definite.
//   3. work_on_sites: before a rollback, what is prepared, once more.
//
// Were the log read before the engine was asked, a transaction could decide and end in between: undecided by the older
// reading of the log, inactive by the newer word of the engine, and so rolled back although it commits. As it is, a
// branch prepared at 1 whose transaction is not active at 2 can get no decision any more, and the log, read after that,
// has every decision there is. A branch prepared after 1 is not seen at all, and left to a later pass. And 3 is there
// because at 2 the engine may have finished, and forgotten, what 1 still saw prepared: only what is prepared after
// the engine said `over` is a branch that nobody is going to finish.
RecoveryReport RecoveryPass::run() {
  ask_sites();
  read_engines_then_logs();
  judge_identities();
  read_last_resources();
  ask_last_resources();
  add_listed();
  add_decided();
  add_unconfirmed();
  work_on_sites();
  if (!how_.dry_run) {
    tell_engines();
    finish_decisions();
    clear_last_resources();
    raise_marks();
    note_resources();
    remember_failures();
  }
  return report();
}

void RecoveryPass::ask_sites() {
  std::vector<std::function<void()>> tasks;
  for (Site& site : sites_) {
    const auto backoff = recoverer_.backoff_.find(site.report.name);
    if (!how_.ask_all_now && backoff != recoverer_.backoff_.end() && how_.now < backoff->second.next_try) {
      site.failure = Reply::not_done(Code::resource_failed, backoff->second.why);
      site.report.next_try = backoff->second.next_try;
      continue;
    }
    site.asked = true;
    tasks.emplace_back([this, &site] { ask(site); });
  }
  run_all(std::move(tasks));
}

void RecoveryPass::ask(Site& site) {
  Result<Probe> probe = site.manager().probe();
  if (!probe) {
    note_failure(site, probe.failure());
    return;
  }
  site.report.identity = probe->identity;
  site.report.capabilities = probe->capabilities;
  site.report.product = probe->product;
  Result<std::vector<PreparedBranch>> listed = site.manager().recover();
  if (!listed) {
    note_failure(site, listed.failure());
    return;
  }
  site.listed = std::move(listed).value();
  site.report.prepared = site.listed.size();
  if (!probe->capabilities.decides) {
    site.kept.emplace();
  } else if (auto kept = site.manager().decisions()) {
    site.kept = std::move(kept).value();
  }
}

void RecoveryPass::ask_engine(const TransactionId& id) {
  const Log* log = find_log(id.log);
  if (log == nullptr || log->hand->live_incarnation != id.incarnation || live_.contains(id)) return;
  live_.emplace(
      id, log->hand->live == nullptr ? LiveState{.says = EngineSays::active, .done = {}} : log->hand->live->state(id));
}

void RecoveryPass::read_engines_then_logs() {
  for (const Site& site : sites_) {
    for (const PreparedBranch& listed : site.listed) {
      if (const auto id = listed.xid.transaction()) ask_engine(*id);
    }
  }
  for (const Log& log : logs_) {
    if (log.hand->live == nullptr) continue;
    for (UnconfirmedRollback& each : log.hand->live->rollback_unconfirmed()) {
      ask_engine(each.transaction);
      unconfirmed_.emplace(std::pair{each.transaction, each.resource}, std::move(each.evidence));
    }
  }

  for (Log& log : logs_) {
    for (const IncarnationRecord& each : log.hand->log->incarnations())
      log.incarnations.emplace(each.incarnation, each);
    for (LoggedResource& each : log.hand->log->resources()) log.recorded.insert_or_assign(each.name, each.identity);
    log.unfinished = log.hand->log->unfinished();
  }

  // Decisions of which nothing was listed; for these the engine is asked after the log, which is safe, since nothing
  // decided is ever rolled back. What the engine has finished meanwhile is no longer of interest.
  for (Log& log : logs_) {
    for (auto each = log.unfinished.begin(); each != log.unfinished.end();) {
      const bool late = !live_.contains(each->first);
      ask_engine(each->first);
      const auto state = live_.find(each->first);
      const bool over = late && state != live_.end() && state->second.says == EngineSays::over;
      // Never: still there; the engine calls over what has left its log. Were it there, it would be settled as any.
      each = over && !log.hand->log->find(each->first) ? log.unfinished.erase(each) : std::next(each);
    }
  }
}

void RecoveryPass::judge_identities() {
  for (Site& site : sites_) {
    if (site.failure) {
      site.report.problem = ResourceReport::Problem::unreachable;
      site.report.text = describe(*site.failure);
      site.report.hint = "recovery asks again by itself; `assent doctor` says what is wrong with the connection";
    }
    if (!site.report.identity) continue;
    for (const Site& other : sites_) {
      if (&other == &site || other.report.identity != site.report.identity) continue;
      site.report.problem = ResourceReport::Problem::identity_shared;
      site.report.text =
          site.report.name + " and " + other.report.name + " are one database, " + site.report.identity->text();
      site.report.hint = "configure one of the two; if it was renamed, give the one the other's name as `formerly`";
    }
    for (const Log& log : logs_) judge_identity(site, log);
  }
}

void RecoveryPass::judge_identity(Site& site, const Log& log) {
  if (site.report.problem == ResourceReport::Problem::identity_shared) return;
  const std::string& name = site.report.name;
  if (log.recorded.contains(name) ||
      std::ranges::any_of(site.configured->formerly, [&](const auto& old) { return log.recorded.contains(old); })) {
    if (identity_of(log, name, &site) != IdentityIs::changed) return;
    const auto recorded = std::ranges::find_if(log.recorded, [&](const auto& each) {
      return each.first == name || std::ranges::count(site.configured->formerly, each.first) != 0;
    });
    site.report.problem = ResourceReport::Problem::identity_changed;
    site.report.text = name + " was " + recorded->second.text() + " and is now " + site.report.identity->text();
    site.report.hint =
        "point it back to the database it was; if the database was replaced for good, settle what the old one left "
        "first";
    return;
  }
  const auto known =
      std::ranges::find_if(log.recorded, [&](const auto& each) { return each.second == *site.report.identity; });
  if (known == log.recorded.end()) return;
  const auto& [recorded, identity] = *known;
  const bool both = find_site(recorded) != nullptr;  // another: this one goes by none of the recorded names
  site.report.problem = both ? ResourceReport::Problem::identity_shared : ResourceReport::Problem::renamed;
  site.report.text = both ? name + " and " + recorded + " are one database, " + identity.text()
                          : name + " is the database that the log knows as " + recorded + ", " + identity.text();
  site.report.hint = both ? "configure one of the two"
                          : "if " + recorded + " was renamed, say formerly = [\"" + recorded + "\"] for " + name;
}

IdentityIs RecoveryPass::identity_of(const Log& log, const std::string& name, const Site* site) const {
  if (site == nullptr) return IdentityIs::not_configured;
  if (site->report.problem == ResourceReport::Problem::identity_shared) return IdentityIs::shared;
  auto recorded = log.recorded.find(name);
  if (recorded == log.recorded.end()) recorded = log.recorded.find(site->report.name);
  for (const std::string& old : site->configured->formerly) {
    if (recorded == log.recorded.end()) recorded = log.recorded.find(old);
  }
  if (recorded == log.recorded.end()) return IdentityIs::not_recorded;
  // Not reached now: nothing is done to it in this pass, so nothing needs to be known of it.
  if (!site->report.identity) return IdentityIs::same;
  if (planted(Defect::identity_unchecked)) return IdentityIs::same;
  return recorded->second == *site->report.identity ? IdentityIs::same : IdentityIs::changed;
}

RecoveryPass::Branch& RecoveryPass::branch(const Xid& xid) {
  const auto [found, is_new] = branches_.try_emplace(xid);
  Branch& branch = found->second;
  if (is_new) {
    branch.report.xid = xid;
    branch.report.transaction = xid.transaction();
    branch.site = find_site(xid.bqual);
    branch.report.resource = branch.site == nullptr ? xid.bqual : branch.site->report.name;
    fill_owner(branch);
    if (branch.log != nullptr) fill_log(branch);
    if (branch.site != nullptr && branch.log != nullptr) branch.site->branches.push_back(&branch);
    branch.report.evidence.database =
        branch.site == nullptr || branch.site->failure ? DatabaseSays::unreachable : DatabaseSays::no_evidence;
  }
  return branch;
}

void RecoveryPass::add_listed() {
  for (const Site& site : sites_) {
    for (const PreparedBranch& listed : site.listed) {
      const bool ours = listed.xid.transaction().has_value();
      Branch& each = ours ? branch(listed.xid) : foreign_branch(site, listed);
      // A server lists the branches of all its databases: what the branch's own resource says counts.
      const bool own = each.site == &site || each.site == nullptr;
      if (own) {
        each.report.evidence.database = DatabaseSays::listed;
        each.report.evidence.ours_to_finish = listed.ours_to_finish;
      }
      if (own || each.report.raw.empty()) {
        each.report.raw = listed.raw;
        each.report.age = listed.age;
      }
      std::string line = site.report.name + " lists it as prepared";
      if (!listed.owner.empty()) line += ", owner " + listed.owner;
      if (!listed.database.empty()) line += ", database " + listed.database;
      if (!listed.note.empty()) line += " (" + listed.note + ')';
      each.report.lines.push_back(std::move(line));
    }
  }
}

RecoveryPass::Branch& RecoveryPass::foreign_branch(const Site& site, const PreparedBranch& listed) {
  const auto [found, is_new] =
      foreign_.try_emplace({site.report.identity->system, listed.raw.empty() ? listed.xid.text() : listed.raw});
  Branch& branch = found->second;
  if (is_new) {
    branch.report.xid = listed.xid;
    branch.report.resource = site.report.name;
    branch.report.evidence.owner = Owner::foreign;
    branch.report.lines.emplace_back("foreign: its name is not one of Assent's");
  }
  return branch;
}

void RecoveryPass::add_decided() {
  for (const Log& log : logs_) {
    for (const auto& [id, decision] : log.unfinished) {
      const auto settled = recoverer_.settled_.find(id);
      const auto live = live_.find(id);
      for (const DecidedBranch& decided : decision.branches) {
        Branch& each = branch(Xid::of(id, decided.resource));
        each.witness = decided.evidence;
        const bool known = (settled != recoverer_.settled_.end() && settled->second.contains(decided.resource)) ||
                           (live != live_.end() && std::ranges::count(live->second.done, decided.resource) != 0);
        // What is listed now is prepared now, whatever was said before.
        if (!known || each.report.evidence.database == DatabaseSays::listed) continue;
        each.settled_before = true;
        each.report.evidence.database = DatabaseSays::committed;
        each.report.lines.push_back(each.report.resource + " gave positive evidence of the commit before");
      }
    }
  }
}

void RecoveryPass::add_unconfirmed() {
  for (const auto& [key, evidence] : unconfirmed_) branch(Xid::of(key.first, key.second)).witness = evidence;
}

void RecoveryPass::fill_owner(Branch& branch) {
  const TransactionId id = *branch.report.transaction;
  BranchReport& report = branch.report;
  branch.log = find_log(id.log);
  if (planted(Defect::wrong_decider) && branch.log == nullptr) branch.log = &logs_.front();
  if (branch.log != nullptr) {
    report.evidence.owner = Owner::in_hand;
    return;
  }
  const auto slot = std::ranges::find_if(slots_, [&](const SlotState& each) { return each.log == id.log; });
  if (slot == slots_.end()) {
    report.evidence.owner = Owner::unknown_log;
    report.lines.emplace_back("decider: a log that is not on this node");
  } else if (slot->holder_pid) {
    report.evidence.owner = Owner::held_elsewhere;
    report.holder_pid = slot->holder_pid;
    report.lines.push_back("decider: the log of slot " + std::to_string(slot->number) + ", held by process " +
                           std::to_string(*slot->holder_pid));
  } else {
    report.evidence.owner = Owner::unheld_slot;
    report.lines.push_back("decider: the log of slot " + std::to_string(slot->number) + ", which nobody holds");
  }
}

void RecoveryPass::fill_log(Branch& branch) {
  const TransactionId id = *branch.report.transaction;
  const Log& log = *branch.log;
  BranchReport& report = branch.report;
  Evidence& evidence = report.evidence;

  const auto incarnation = log.incarnations.find(id.incarnation);
  if (log.hand->live_incarnation == id.incarnation) {
    evidence.incarnation = IncarnationIs::live;
    const auto state = live_.find(id);
    // Never: missing; the engine was asked for every live transaction that is listed or decided.
    evidence.engine = state == live_.end() ? EngineSays::active : state->second.says;
    if (planted(Defect::live_rolled_back)) evidence.incarnation = IncarnationIs::gone;
  } else if (incarnation == log.incarnations.end()) {
    evidence.incarnation = IncarnationIs::unknown;
    if (planted(Defect::incarnation_unchecked) || planted(Defect::wrong_decider)) {
      evidence.incarnation = IncarnationIs::gone;
    }
  } else {
    const IncarnationRecord& known = incarnation->second;
    evidence.incarnation = !known.presumable ? IncarnationIs::gone_log_moved
                           : known.adopted   ? IncarnationIs::gone_adopted
                                             : IncarnationIs::gone;
  }
  std::string line = "incarnation: ";
  line += to_string(evidence.incarnation);
  if (evidence.incarnation == IncarnationIs::live) {
    line += "; the engine says: ";
    line += to_string(evidence.engine);
  } else if (incarnation != log.incarnations.end()) {
    line += ", of process " + std::to_string(incarnation->second.pid);
  }
  report.lines.push_back(std::move(line));

  evidence.log = decider_says(log, id, evidence);
  const std::string decider = id.kind == DeciderKind::log ? "log" : "last resource " + id.decider;
  if (const auto decision = log.unfinished.find(id); decision != log.unfinished.end()) {
    report.label = decision->second.label;
    report.decided_at_ms = decision->second.decided_at_ms;
  }
  switch (evidence.log) {
    case LogSays::decided:
      report.lines.push_back(decider + ": decided to commit, not finished");
      break;
    case LogSays::finished:
      report.lines.emplace_back(log.hand->log->forgotten(id)
                                    ? "log: decided to commit, and given up by a person (`assent forget`)"
                                    : "log: finished; every branch gave positive evidence");
      break;
    case LogSays::nothing:
      report.lines.push_back(decider + (id.kind == DeciderKind::log ? ": no decision"
                                                                    : ": no decision; before anything is rolled back "
                                                                      "it is kept from committing"));
      break;
    case LogSays::barred:
      report.lines.push_back(decider + ": did not commit, and never can");
      break;
    case LogSays::silent:
      report.lines.push_back(decider + ": cannot be asked now");
      break;
    case LogSays::missing:
      report.lines.push_back(decider + ": not configured here, or another database than it was");
      break;
  }

  evidence.identity = identity_of(log, report.xid.bqual, branch.site);
  if (evidence.identity != IdentityIs::same) {
    report.lines.push_back("resource " + report.xid.bqual + ": " + std::string(to_string(evidence.identity)));
  }
}

const RecoveryPass::Log* RecoveryPass::find_log(LogId id) const {
  const auto found = std::ranges::find(logs_, id, &Log::id);
  return found == logs_.end() ? nullptr : &*found;
}

RecoveryPass::Site* RecoveryPass::find_site(const std::string& name) {
  const auto found = site_by_name_.find(name);
  return found == site_by_name_.end() ? nullptr : &sites_[found->second];
}

RecoveryReport RecoveryPass::report() {
  RecoveryReport result;
  for (auto& [xid, branch] : branches_) result.branches.push_back(std::move(branch.report));
  for (auto& [key, branch] : foreign_) {
    branch.report.resolution = resolve(branch.report.evidence);
    result.branches.push_back(std::move(branch.report));
  }
  for (Site& site : sites_) result.resources.push_back(std::move(site.report));
  for (const Log& log : logs_) {
    const DecisionLog& each = *log.hand->log;
    const auto failure = log_failures_.find(log.id);
    result.logs.push_back({.log = log.id,
                           .moved = each.moved(),
                           .repaired = each.repaired(),
                           .poisoned = failure == log_failures_.end() ? each.poisoned() : failure->second,
                           .unfinished = each.unfinished().size()});
  }
  result.finished = std::move(finished_);
  return result;
}

}  // namespace assent
