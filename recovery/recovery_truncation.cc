// What one pass tells the engine and the log, after the databases answered: safety rule 5.
#include <algorithm>
#include <set>

#include "assent/recovery/recovery_pass.h"
#include "assent/xa/error.h"
#include "assent/xa/planted_defect.h"

namespace assent {

void RecoveryPass::tell_engines() {
  for (const auto& [xid, branch] : branches_) {
    const BranchReport& report = branch.report;
    if (branch.log == nullptr || !branch.site) continue;
    const TransactionId id = *report.transaction;
    const bool live = report.evidence.incarnation == IncarnationIs::live && branch.log->hand->live != nullptr;
    const bool settled = report.done && !branch.settled_before && report.evidence.log != LogSays::finished &&
                         report.evidence.engine != EngineSays::over;
    if (report.done && report.evidence.log == LogSays::decided) recoverer_.settled_[id].insert(xid.bqual);
    if (live && settled) branch.log->hand->live->resolved(id, xid.bqual, Reply::ok());
    if (live && report.resolution.verdict == Verdict::heuristic && recoverer_.told_.insert(xid).second) {
      const Code code = report.evidence.log == LogSays::decided ? Code::heuristic_rollback : Code::heuristic_commit;
      branch.log->hand->live->resolved(id, xid.bqual, Reply::not_done(code, std::string(report.resolution.text)));
    }
  }
}

void RecoveryPass::finish_decisions() {
  for (const Log& log : logs_) {
    std::map<Site*, std::vector<Xid>> witnesses;
    std::vector<TransactionId> over;
    for (const auto& [id, decision] : log.unfinished) {
      const auto xid_of = [&id = id](const DecidedBranch& each) { return Xid::of(id, each.resource); };
      const bool all = std::ranges::all_of(
          decision.branches, [&](const DecidedBranch& each) { return branches_.at(xid_of(each)).report.done; });
      if (!all) {
        if (planted(Defect::row_forgotten_early) && id.kind == DeciderKind::resource) {
          static_cast<void>(find_site(id.decider)->manager().forget({Xid::of(id, id.decider)}));
        }
        continue;
      }
      over.push_back(id);
      for (const DecidedBranch& each : decision.branches) {
        witnesses[branches_.at(xid_of(each)).site].push_back(xid_of(each));
      }
      if (id.kind == DeciderKind::resource) witnesses[find_site(id.decider)].push_back(Xid::of(id, id.decider));
    }
    if (over.empty()) continue;
    for (const TransactionId& id : over) {
      if (id.kind == DeciderKind::resource && log.hand->live_incarnation != id.incarnation) {
        log.hand->log->finish_recovered(id);
      } else {
        log.hand->log->finish(id);
      }
    }
    const bool durable = log.hand->log->flush();
    for (const TransactionId& id : over) {
      const bool live = log.hand->live_incarnation == id.incarnation;
      // Never: no engine; without one to ask, what is live counts as active, and is not done.
      if (live && log.hand->live != nullptr) log.hand->live->finished(id);
      recoverer_.settled_.erase(id);
      finished_.push_back(id);
    }
    // The witness outlives the decision: were it forgotten first, a crash here would leave a decision in the log that
    // nothing could settle any more. Left behind, it costs a row.
    // Of a copied log the original may hold the same decisions, and still need the witnesses.
    if (!durable || log.hand->log->moved()) continue;
    for (auto& [site, xids] : witnesses) {
      // Never: null; only a site gives the evidence that a branch is done.
      if (site != nullptr && !site->failure) static_cast<void>(site->manager().forget(xids));
    }
  }
}

void RecoveryPass::raise_marks() {
  for (const Log& log : logs_) {
    if (log.hand->log->poisoned()) continue;
    bool raised = false;
    // Asked anew: this pass may have finished something.
    for (const IncarnationRecord& record : log.hand->log->incarnations()) {
      const Incarnation incarnation = record.incarnation;
      if (log.hand->live_incarnation == incarnation || !record.presumable) continue;
      if (record.over_to <= record.mark) continue;
      const std::uint64_t mark = proven_over(log, record, record.over_to - 1);
      if (mark <= record.mark) continue;
      log.hand->log->raise_mark(incarnation, mark);
      raised = true;
    }
    // A mark that is lost is raised again.
    if (raised) static_cast<void>(log.hand->log->flush());
  }
}

// The mark says that what is below it is over, so that a branch which reappears there is taken for a restored database
// and not for a presumed abort. What was not decided is over when no session can prepare it any more, in any resource
// that the log knows, and after that none lists it.
std::uint64_t RecoveryPass::proven_over(const Log& log, const IncarnationRecord& record, std::uint64_t highest) {
  const LogId id = log.id;
  std::set<Site*> sites;
  bool all_usable = true;
  for (const auto& [name, identity] : log.recorded) {
    Site* site = find_site(name);
    const bool usable =
        site != nullptr && !site->failure && site->kept && identity_of(log, name, site) == IdentityIs::same;
    all_usable = all_usable && usable;
    if (usable) sites.insert(site);
  }

  std::uint64_t mark = record.mark;
  std::size_t proofs = 0;
  for (; mark <= highest; ++mark) {
    const TransactionId each{DeciderKind::log, id, record.incarnation, mark};
    if (log.hand->log->is_over(each)) continue;
    // A last resource committed it after its rows were read: the next pass reads the row.
    if (const auto said = last_resource_says_.find(each); said != last_resource_says_.end()) {
      if (said->second != LogSays::barred) break;
    }
    if (log.unfinished.contains(each) || !all_usable || ++proofs > recoverer_.options_.mark_proofs) break;
    const bool gone = std::ranges::all_of(log.recorded, [&](const auto& recorded) {
      Site& site = *find_site(recorded.first);
      if (planted(Defect::late_prepare_forgotten)) return true;
      const Xid xid = Xid::of(each, recorded.first);
      const Result<bool> proof = site.manager().carrier_gone(xid, {.carrier_is_dead = true});
      if (!proof || !*proof) return false;
      // No session carries it, and the list below does not show it: MariaDB may hide it until its next restart, and
      // then only the witness's lock tells.
      const Result<Fate> fate = site.manager().fate(xid, {});
      return fate && *fate != Fate::in_progress;
    });
    if (!gone) break;
  }
  if (proofs == 0 || mark == record.mark) return mark;
  for (Site* site : sites) {
    const Result<std::vector<PreparedBranch>> listed = site->manager().recover();
    if (!listed) return record.mark;
    for (const PreparedBranch& prepared : *listed) {
      const auto found = prepared.xid.transaction();
      if (found && found->log == id && found->incarnation == record.incarnation) mark = std::min(mark, found->sequence);
    }
  }
  return std::max(mark, record.mark);
}

void RecoveryPass::note_resources() {
  for (Log& log : logs_) {
    if (!log.hand->live_incarnation || log.hand->log->poisoned()) continue;
    for (const Site& site : sites_) {
      if (!site.report.usable() || site.failure || log.recorded.contains(site.report.name)) continue;
      // A branch of this log under a name that it never recorded: recording it now would turn the question into its
      // own answer.
      const bool asked = std::ranges::any_of(site.branches, [&](const Branch* branch) {
        return branch->log == &log && branch->report.evidence.identity == IdentityIs::not_recorded;
      });
      if (asked) continue;
      try {
        log.hand->log->note_resource({site.report.name, *site.report.identity});
      } catch (const Error& error) {
        log_failures_.emplace(log.id, error.what());
        break;
      }
    }
  }
}

void RecoveryPass::remember_failures() {
  for (Site& site : sites_) {
    if (!site.asked) continue;
    if (!site.failure) {
      recoverer_.backoff_.erase(site.report.name);
      continue;
    }
    Recoverer::Backoff& backoff = recoverer_.backoff_[site.report.name];
    auto delay = recoverer_.options_.first_retry;
    for (int i = 0; i < backoff.failures && delay < recoverer_.options_.longest_retry; ++i) delay *= 2;
    delay = std::min(delay, recoverer_.options_.longest_retry);
    ++backoff.failures;
    backoff.next_try = how_.now + delay;
    backoff.why = site.failure->text;
    site.report.next_try = backoff.next_try;
    if (site.report.problem != ResourceReport::Problem::none) continue;
    site.report.problem = ResourceReport::Problem::unreachable;
    site.report.text = describe(*site.failure);
  }
}

}  // namespace assent
