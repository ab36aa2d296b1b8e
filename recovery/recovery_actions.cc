// What one pass asks of and does to the databases. Sites, and the branches of a site, are worked on in parallel.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <set>

#include "assent/recovery/recovery_pass.h"

#include "assent/xa/planted_defect.h"

namespace assent {
namespace {

DatabaseSays says(Fate fate) {
  switch (fate) {
    case Fate::committed:
      return DatabaseSays::committed;
    case Fate::rolled_back:
      return DatabaseSays::rolled_back;
    case Fate::in_progress:
      return DatabaseSays::in_progress;
    case Fate::unknown:
      return DatabaseSays::no_evidence;
  }
  return DatabaseSays::no_evidence;
}

bool left_to_recovery(const Evidence& evidence) {
  return evidence.incarnation != IncarnationIs::live ||
         (evidence.engine != EngineSays::active && evidence.engine != EngineSays::in_doubt);
}

bool rollback_unconfirmed(const Evidence& evidence) {
  return evidence.incarnation == IncarnationIs::live && evidence.engine == EngineSays::rollback_unconfirmed &&
         // Never: decided, for the engine decides nothing that it rolls back.
         evidence.log == LogSays::nothing;
}

}  // namespace

void RecoveryPass::work_on_sites() {
  std::vector<std::function<void()>> tasks;
  for (Site& site : sites_) {
    if (!site.branches.empty()) tasks.emplace_back([this, &site] { work(site); });
  }
  run_all(std::move(tasks));
  for (auto& [xid, branch] : branches_) {
    branch.report.resolution = branch.report.done ? branch.report.resolution : resolve(branch.report.evidence);
  }
}

void RecoveryPass::work(Site& site) {
  for_branches(site, [&](Branch& branch) {
    BranchReport& report = branch.report;
    if (report.evidence.database != DatabaseSays::listed && !branch.settled_before) ask_witness(site, branch);
    report.resolution = resolve(report.evidence);
  });
  bool again = false;
  for (const Branch* branch : site.branches) {
    const BranchReport& report = branch->report;
    again = again || report.resolution.verdict == Verdict::roll_back ||
            report.resolution.verdict == Verdict::resurrected || report.evidence.carrier_gone;
  }
  // Rule 6: after the last proof that a carrier is gone, and before the first rollback; once for all branches.
  if (again) list_again(site);
  for_branches(site, [&](Branch& branch) { act(site, branch); });
}

// Each branch is a transaction of its own, and the database syncs for many sessions at once.
void RecoveryPass::for_branches(const Site& site, const std::function<void(Branch&)>& work) const {
  in_parallel(site.branches.size(), [&](std::size_t i) { work(*site.branches[i]); });
}

void RecoveryPass::in_parallel(std::size_t count, const std::function<void(std::size_t)>& work) const {
  std::atomic<std::size_t> next{0};
  const auto take_turns = [&] {
    for (std::size_t i = next++; i < count; i = next++) work(i);
  };
  run_all(std::vector<std::function<void()>>(std::min(recoverer_.options_.sessions, count), take_turns));
}

void RecoveryPass::ask_witness(Site& site, Branch& branch) {
  BranchReport& report = branch.report;
  Evidence& evidence = report.evidence;
  const bool unconfirmed = rollback_unconfirmed(evidence);
  if (evidence.identity != IdentityIs::same || !left_to_recovery(evidence)) return;
  // Never: neither; what no database lists is here because it was decided, or because the engine wants it confirmed.
  if (evidence.log != LogSays::decided && !unconfirmed) return;
  if (unconfirmed && !failure_of(site)) {
    // Rule 6. The proof comes first and the listing after it: a prepare that landed between an older listing and the
    // end of its session would be seen by neither.
    Result<bool> gone = site.manager().carrier_gone(report.xid, finish_options(evidence));
    if (!gone) note_failure(site, gone.failure());
    evidence.carrier_gone = (gone && *gone) || planted(Defect::late_prepare_forgotten);
    report.lines.push_back(site.report.name + (evidence.carrier_gone ? ": no session can prepare it any more"
                                                                     : ": a session may still prepare it"));
  }
  if (const auto failure = failure_of(site)) {
    evidence.database = DatabaseSays::unreachable;
    report.lines.push_back(site.report.name + " cannot be asked: " + describe(*failure));
    return;
  }
  Result<Fate> fate = site.manager().fate(report.xid, branch.witness);
  if (!fate) {
    note_failure(site, fate.failure());
    evidence.database = DatabaseSays::unreachable;
    report.lines.push_back(site.report.name + " does not say what became of it: " + describe(fate.failure()));
    return;
  }
  evidence.database = says(*fate);
  report.lines.push_back(site.report.name + " does not list it; witness: " + std::string(to_string(*fate)));
}

void RecoveryPass::list_again(Site& site) {
  Result<std::vector<PreparedBranch>> listed =
      site.failure ? Result<std::vector<PreparedBranch>>(*site.failure) : site.manager().recover();
  if (!listed) note_failure(site, listed.failure());
  std::set<Xid> still;
  if (listed) {
    for (const PreparedBranch& each : *listed) still.insert(each.xid);
  }
  for (Branch* branch : site.branches) {
    Evidence& evidence = branch->report.evidence;
    const Verdict verdict = branch->report.resolution.verdict;
    const bool counts = verdict == Verdict::roll_back || verdict == Verdict::resurrected || evidence.carrier_gone;
    if (!counts) continue;
    if (!listed) {
      evidence.database = DatabaseSays::unreachable;
    } else if (still.contains(branch->report.xid)) {
      evidence.database = DatabaseSays::listed;
    } else if (evidence.database == DatabaseSays::listed) {
      evidence.database = DatabaseSays::no_evidence;
      branch->report.lines.push_back(site.report.name + " lists it no more");
    }
    branch->report.resolution = resolve(evidence);
  }
}

bool RecoveryPass::may_act(const Branch& branch) const {
  return !how_.dry_run && (!how_.only || how_.only == branch.report.transaction);
}

void RecoveryPass::act(Site& site, Branch& branch) {
  BranchReport& report = branch.report;
  report.done = report.resolution.verdict == Verdict::finished;
  if (report.resolution.action == Action::none || !may_act(branch)) return;
  if (failure_of(site)) {
    report.evidence.database = DatabaseSays::unreachable;
    return;
  }
  if (report.resolution.action == Action::commit) {
    commit(site, branch);
  } else {
    roll_back(site, branch);
  }
}

void RecoveryPass::commit(Site& site, Branch& branch) {
  BranchReport& report = branch.report;
  Evidence& evidence = report.evidence;
  const Reply reply = site.manager().commit(report.xid, finish_options(evidence));
  report.answer = reply;
  report.lines.push_back(site.report.name + " answered the commit: " + describe(reply));
  if (reply.is_ok() || reply.code == Code::heuristic_commit) {
    report.done = true;
    return;
  }
  if (reply.code == Code::resource_failed) {
    note_failure(site, reply);
    evidence.database = DatabaseSays::unreachable;
    return;
  }
  if (reply.code == Code::heuristic_rollback || reply.code == Code::heuristic_mixed) {
    evidence.database = DatabaseSays::rolled_back;
    return;
  }
  if (planted(Defect::not_found_truncates) && reply.code == Code::not_found) {
    report.done = true;
    return;
  }
  // `not_found` says neither committed nor rolled back, and a rollback of something decided is believed only when the
  // witness does not say otherwise (rule 7).
  if (reply.code != Code::not_found && reply.code != Code::heuristic_hazard && !is_rollback(reply.code)) return;
  ask_witness(site, branch);
  if (is_rollback(reply.code) && evidence.database == DatabaseSays::no_evidence) {
    evidence.database = DatabaseSays::rolled_back;
  }
  report.resolution = resolve(evidence);
  report.done = report.resolution.verdict == Verdict::finished;
}

void RecoveryPass::roll_back(Site& site, Branch& branch) {
  BranchReport& report = branch.report;
  Evidence& evidence = report.evidence;
  const Reply reply = site.manager().rollback(report.xid, finish_options(evidence));
  report.answer = reply;
  report.lines.push_back(site.report.name + " answered the rollback: " + describe(reply));
  if (reply.is_ok() || is_rollback(reply.code) || reply.code == Code::heuristic_rollback) {
    report.done = true;
  } else if (reply.code == Code::resource_failed) {
    note_failure(site, reply);
    evidence.database = DatabaseSays::unreachable;
  } else if (reply.code == Code::heuristic_commit || reply.code == Code::heuristic_mixed) {
    evidence.database = DatabaseSays::committed;
  } else if (reply.code == Code::not_found) {
    evidence.database = DatabaseSays::in_progress;
  }
}

void RecoveryPass::note_failure(Site& site, const Reply& reply) {
  const std::lock_guard lock(failures_);
  site.failure = reply;
}

std::optional<Reply> RecoveryPass::failure_of(const Site& site) const {
  const std::lock_guard lock(failures_);
  return site.failure;
}

}  // namespace assent
