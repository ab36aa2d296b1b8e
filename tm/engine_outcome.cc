// Engine::outcome(): what became of a transaction, asked of whoever knows.
#include <algorithm>
#include <utility>

#include "assent/recovery/log_view.h"
#include "assent/tm/engine.h"
#include "assent/xa/error.h"
#include "assent/xa/planted_defect.h"

namespace assent::detail {
namespace {

Outcome over_long_ago(const TransactionId& id) {
  return {OutcomeKind::in_doubt, id, "it is over, too long ago to remember how", {}, {}};
}

/// What the log remembers of a decided transaction that is over.
std::optional<Outcome> remembered_end(const TransactionId& id, const DecisionLog& log) {
  if (log.recovered(id)) return Outcome(OutcomeKind::committed, id, "", {}, {});
  if (!log.forgotten(id)) return std::nullopt;
  return Outcome(OutcomeKind::heuristic, id,
                 "it was decided to commit, and a person gave it up (`assent forget`) though not every branch was "
                 "proven committed; `assent explain " +
                     id.text() + "` shows the note",
                 {}, {});
}

}  // namespace

Outcome Engine::outcome(const TransactionId& id) {
  refuse_in_child();
  if (live_->is_active(id)) {
    // Its caller may have gone on at the decision.
    if (const auto known = live_->known(id)) return *known;
    return {OutcomeKind::in_doubt, id, "it is still running in this process", {}, {}};
  }
  settle_in_doubt();
  if (const auto known = live_->known(id)) return *known;
  if (id.log == log().id()) return judge(id, log(), id.incarnation == incarnation_);
  for (const SlotState& slot : directory_->slots()) {
    if (slot.log != id.log) continue;
    // Opening makes durable what a process that is gone left in the page cache (rule 3): an answer must not stand on
    // what a power loss could still take away.
    if (const auto adopted = slot.holder_pid ? nullptr : directory_->adopt(slot.number)) {
      return judge(id, adopted->log(), false);
    }
    return judge_unproven(id, *LogView::read(FileSystem::real(), slot.directory));
  }
  throw Error(ErrorCode::misuse, "no log of this node decides transaction " + id.text(),
              "ask on the node whose log it names");
}

Outcome Engine::wait(const TransactionId& id, std::optional<std::chrono::milliseconds> patience) {
  refuse_in_child();
  live_->wait_until_ended(id, patience);
  return outcome(id);
}

/// `log` is held by this process: what it says is durable.
Outcome Engine::judge(const TransactionId& id, const DecisionLog& log, bool process_lives) {
  if (const auto decision = log.find(id)) {
    std::vector<BranchOutcome> branches;
    for (const DecidedBranch& branch : decision->branches) branches.push_back({branch.resource, "pending", {}});
    return {OutcomeKind::committed, id, "", {}, std::move(branches)};
  }
  if (auto end = remembered_end(id, log)) return *std::move(end);
  if (log.is_over(id)) return over_long_ago(id);
  if (process_lives) {
    return {OutcomeKind::in_doubt, id, "the process that runs it is alive and has not decided", {}, {}};
  }
  for (const IncarnationRecord& each : log.incarnations()) {
    if (each.incarnation != id.incarnation || !each.presumable) continue;
    Outcome answer = ask_witnesses(id, log);
    // Recovery may have finished it meanwhile, and a last resource's row is gone then; the log was told first.
    if (planted(Defect::log_read_once)) return answer;
    if (answer.kind() == OutcomeKind::rolled_back && !remembered_end(id, log) && log.is_over(id))
      return over_long_ago(id);
    return remembered_end(id, log).value_or(std::move(answer));
  }
  return {OutcomeKind::in_doubt, id, "its log is a copy, or has forgotten when it ran, and presumes nothing", {}, {}};
}

/// `log` is read while another process writes it: a decision that was read may not be on disk yet, and then a power
/// loss would undo it. A branch that is committed proves that it was.
Outcome Engine::judge_unproven(const TransactionId& id, const DecisionLog& log) {
  if (auto end = remembered_end(id, log)) return *std::move(end);
  const auto decision = log.find(id);
  if (!decision && id.kind == DeciderKind::resource && !log.is_over(id)) {
    // Its row, once it can be read, was committed.
    ResourceEntry* entry = logged_as(id.decider);
    const auto fate =
        entry == nullptr ? Result<Fate>(Fate::unknown) : entry->manager->fate(Xid::of(id, id.decider), {});
    if (fate && *fate == Fate::committed) {
      return {OutcomeKind::committed, id, "", {}, {{id.decider, "committed", {}}}};
    }
  }
  if (!decision) {
    return {
        OutcomeKind::in_doubt, id, "the process that holds its log is alive, and no decision is left there", {}, {}};
  }
  std::vector<BranchOutcome> branches;
  bool proven = false;
  for (const DecidedBranch& branch : decision->branches) {
    bool committed = false;
    if (ResourceEntry* entry = logged_as(branch.resource)) {
      const Result<Fate> fate = entry->manager->fate(Xid::of(id, branch.resource), branch.evidence);
      committed = fate && *fate == Fate::committed;
    }
    proven = proven || committed;
    branches.push_back({branch.resource, committed ? "committed" : "pending", {}});
  }
  if (proven) return {OutcomeKind::committed, id, "", {}, std::move(branches)};
  return {OutcomeKind::in_doubt,
          id,
          "its decision was read while another process may still be writing it",
          {},
          std::move(branches)};
}

Outcome Engine::ask_witnesses(const TransactionId& id, const DecisionLog& log) {
  const auto unknown = [&](const std::string& name, const std::string& why, const Reply& reply) {
    return Outcome(OutcomeKind::in_doubt, id, "resource '" + name + "' " + why, reply, {});
  };
  // Undecided by a process that is gone: rolled back, unless it was a one-phase commit, which only its database knows,
  // and that can be any database the log ever knew. A last resource has the first word: if it committed, that decided.
  std::vector<LoggedResource> known = log.resources();
  std::ranges::stable_partition(known, [&](const LoggedResource& each) { return each.name == id.decider; });
  for (const LoggedResource& logged : known) {
    ResourceEntry* entry = logged_as(logged.name);
    if (entry == nullptr) return unknown(logged.name, "may have committed it, and is not configured here", {});
    const Result<Probe> probe = entry->manager->probe();
    if (!probe) return unknown(logged.name, "cannot say now whether it committed", probe.failure());
    if (probe->identity != logged.identity) return unknown(logged.name, "is another database than it was", {});
    const Result<Fate> fate = entry->manager->settle(Xid::of(id, logged.name));
    if (fate && *fate == Fate::committed) {
      return {OutcomeKind::committed, id, "", {}, {{logged.name, "committed", {}}}};
    }
    if (fate && *fate == Fate::rolled_back) continue;
    return unknown(logged.name, "cannot say now whether it committed", fate ? Reply::ok() : fate.failure());
  }
  return {OutcomeKind::rolled_back, id, "its process ended before a decision", {}, {}};
}

}  // namespace assent::detail
