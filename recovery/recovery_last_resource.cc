// What one pass reads from last resources: databases that decide a transaction by a row of their own (rule 1).
#include <algorithm>
#include <iterator>
#include <map>
#include <mutex>
#include <set>

#include "assent/recovery/recovery_pass.h"
#include "assent/xa/planted_defect.h"

namespace assent {

/// The incarnation is over, and this log may presume of it what is presumed.
bool RecoveryPass::gone_for_certain(const Log& log, Incarnation incarnation) const {
  const auto known = log.incarnations.find(incarnation);
  return log.hand->live_incarnation != incarnation && known != log.incarnations.end() && known->second.presumable;
}

void RecoveryPass::read_last_resources() {
  for (Site& site : sites_) {
    if (!site.kept) continue;
    for (const KeptDecision& kept : *site.kept) take_kept(site, kept);
  }
}

void RecoveryPass::take_kept(Site& site, const KeptDecision& kept) {
  const auto id = kept.branch.transaction();
  const auto log = id ? std::ranges::find(logs_, id->log, &Log::id) : logs_.end();
  if (id && log == logs_.end()) return show_to_whoever_adopts(kept);
  if (log == logs_.end() || identity_of(*log, kept.branch.bqual, &site) != IdentityIs::same) return;
  const bool gone = gone_for_certain(*log, id->incarnation);
  if (kept.fate != Fate::committed) {
    if (gone) site.bars.push_back(kept.branch);
    return;
  }
  auto decision = decision_from(kept.decision);
  if (!decision || decision->id != *id) return;
  ask_engine(*id);
  const auto live = live_.find(*id);
  // The engine is done with it, and takes the row away itself.
  if (live != live_.end() && live->second.says == EngineSays::over) return;
  if (log->hand->log->is_over(*id)) {
    // A crash came between the log's word and the row's end.
    if (gone) site.needless.push_back(kept.branch);
    return;
  }
  log->unfinished.insert_or_assign(decision->id, *std::move(decision));
}

/// A decision whose slot nobody holds: its branches in the report are what gets the slot adopted, also where none of
/// them is listed.
void RecoveryPass::show_to_whoever_adopts(const KeptDecision& kept) {
  const auto decision = decision_from(kept.decision);
  if (kept.fate != Fate::committed || !decision) return;
  const auto slot = std::ranges::find_if(slots_, [&](const SlotState& each) { return each.log == decision->id.log; });
  if (slot == slots_.end() || slot->holder_pid) return;
  for (const DecidedBranch& decided : decision->branches) branch(Xid::of(decision->id, decided.resource));
}

/// Of every branch that is prepared in the name of a last resource, and not known to be decided.
void RecoveryPass::ask_last_resources() {
  std::set<TransactionId> open;
  for (const Site& site : sites_) {
    for (const PreparedBranch& listed : site.listed) {
      const auto id = listed.xid.transaction();
      if (!id || id->kind != DeciderKind::resource) continue;
      const Log* log = find_log(id->log);
      if (log == nullptr || log->hand->live_incarnation == id->incarnation || log->unfinished.contains(*id)) continue;
      if (!log->hand->log->is_over(*id)) open.insert(*id);
    }
  }
  const std::vector<TransactionId> ids(open.begin(), open.end());
  std::vector<LogSays> answers(ids.size(), LogSays::nothing);
  in_parallel(ids.size(), [&](std::size_t i) { answers[i] = ask_last_resource(ids[i]); });
  for (std::size_t i = 0; i < ids.size(); ++i) last_resource_says_.emplace(ids[i], answers[i]);
}

LogSays RecoveryPass::ask_last_resource(const TransactionId& id) {
  // Never: null; only what is of a log in hand is asked.
  const Log& log = *find_log(id.log);
  Site* site = find_site(id.decider);
  if (site == nullptr || (!failure_of(*site) && identity_of(log, id.decider, site) != IdentityIs::same)) {
    return LogSays::missing;
  }
  if (failure_of(*site)) return LogSays::silent;
  const Xid xid = Xid::of(id, id.decider);
  const bool gone = gone_for_certain(log, id.incarnation);
  const bool may_bar = gone && !how_.dry_run && (!how_.only || *how_.only == id);
  if (!may_bar || planted(Defect::last_resource_presumed)) {
    // A look changes nothing; that it finds no row proves nothing either.
    const Result<Fate> fate = site->manager().fate(xid, {});
    if (!fate) return LogSays::silent;
    if (*fate == Fate::committed) return LogSays::decided;
    return *fate == Fate::in_progress ? LogSays::silent : LogSays::nothing;
  }
  // Its session first, if one is left: the answer waits behind what it has not committed.
  static_cast<void>(site->manager().carrier_gone(xid, {.carrier_is_dead = true}));
  const Result<Fate> fate = site->manager().settle(xid);
  if (!fate) {
    if (fate.failure().code == Code::resource_failed) note_failure(*site, fate.failure());
    return LogSays::silent;
  }
  if (*fate == Fate::committed) return LogSays::decided;
  return *fate == Fate::rolled_back ? LogSays::barred : LogSays::silent;
}

LogSays RecoveryPass::decider_says(const Log& log, const TransactionId& id, const Evidence& evidence) const {
  if (log.unfinished.contains(id)) return LogSays::decided;
  if (log.hand->log->is_over(id)) return LogSays::finished;
  if (id.kind == DeciderKind::log) return LogSays::nothing;
  if (evidence.incarnation == IncarnationIs::live) {
    // The engine saw the commit, also where the row cannot be read now.
    return evidence.engine == EngineSays::decided ? LogSays::decided : LogSays::nothing;
  }
  const auto said = last_resource_says_.find(id);
  return said == last_resource_says_.end() ? LogSays::nothing : said->second;
}

/// Rows that nobody needs any more.
void RecoveryPass::clear_last_resources() {
  // Of a row whose transaction is over by the log's word: the word may not be on disk yet, as when the disk was full.
  std::map<LogId, bool> durable;
  const auto may_go = [&](const Xid& row) {
    const auto [log, is_new] = durable.try_emplace(row.transaction()->log);
    if (is_new) log->second = find_log(log->first)->hand->log->flush();
    return log->second;
  };
  for (Site& site : sites_) {
    if (site.failure) continue;
    std::vector<Xid> forget;
    std::ranges::copy_if(site.needless, std::back_inserter(forget), may_go);
    std::size_t proofs = 0;
    for (const Xid& bar : site.bars) {
      if (++proofs > recoverer_.options_.mark_proofs) break;
      // What no session can commit any more needs no bar; whoever asks again sets another.
      const Result<bool> gone = site.manager().carrier_gone(bar, {.carrier_is_dead = true});
      if ((gone && *gone) || planted(Defect::bar_removed_early)) forget.push_back(bar);
    }
    if (!forget.empty()) static_cast<void>(site.manager().forget(forget));
  }
}

}  // namespace assent
