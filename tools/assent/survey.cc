#include "assent/tools/assent/survey.h"

#include <algorithm>
#include <chrono>

#include "assent/recovery/log_reader.h"
#include "assent/tools/assent/text.h"

namespace assent::tool {
namespace {

/// A live process finishes a branch within moments; older than this, something keeps it from doing so.
constexpr std::chrono::seconds late_after{60};
/// A process that comes or goes while we look makes us look again, so often.
constexpr int attempts = 3;

std::vector<SlotSurvey> look_at(const std::vector<SlotState>& states) {
  std::vector<SlotSurvey> out;
  for (const SlotState& state : states) {
    SlotSurvey slot{state, nullptr, std::nullopt};
    const auto segments = log::list_segments(FileSystem::real(), state.directory);
    if (!segments || !segments.value.empty()) {
      try {
        slot.log = LogView::read(FileSystem::real(), state.directory);
      } catch (const Error& error) {
        slot.fault = error;
      }
    }
    out.push_back(std::move(slot));
  }
  return out;
}

bool same_holders(const std::vector<SlotState>& a, const std::vector<SlotState>& b) {
  return std::ranges::equal(a, b, [](const SlotState& x, const SlotState& y) {
    return x.number == y.number && x.holder_pid == y.holder_pid && x.log == y.log;
  });
}

bool was_listed(const RecoveryReport& report, const Xid& xid) {
  return std::ranges::any_of(report.branches, [&](const BranchReport& branch) { return branch.xid == xid; });
}

/// What the log of a live process says of its branches. It may be behind: what that process has not synced yet, such as
/// the end of a transaction, is not there, so only decisions of some age are believed to be unfinished.
void add_live(Survey& survey, const SlotSurvey& slot) {
  for (BranchReport& branch : survey.report.branches) {
    if (branch.evidence.owner != Owner::held_elsewhere || branch.transaction->log != slot.log->id()) continue;
    const auto decision = slot.log->find(*branch.transaction);
    if (!decision) continue;
    branch.label = decision->label;
    branch.decided_at_ms = decision->decided_at_ms;
    branch.lines.emplace_back("log: decided to commit, not finished");
  }
  for (const auto& [id, decision] : slot.log->unfinished()) {
    if (since(decision.decided_at_ms) < late_after) continue;
    for (const DecidedBranch& decided : decision.branches) {
      const Xid xid = Xid::of(id, decided.resource);
      if (was_listed(survey.report, xid)) continue;
      const ResourceReport* resource = survey.report.resource(decided.resource);
      if (resource != nullptr && resource->usable()) continue;
      BranchReport branch;
      branch.xid = xid;
      branch.transaction = id;
      branch.label = decision.label;
      branch.resource = decided.resource;
      branch.holder_pid = slot.state.holder_pid;
      branch.decided_at_ms = decision.decided_at_ms;
      branch.evidence.owner = Owner::held_elsewhere;
      branch.lines = {"decider: the log of slot " + std::to_string(slot.state.number) + ", held by process " +
                          std::to_string(*slot.state.holder_pid),
                      "log: decided to commit, not finished"};
      branch.resolution = resolve(branch.evidence);
      survey.report.branches.push_back(std::move(branch));
    }
  }
}

Survey gather(const Setup& setup, const std::vector<SlotState>& states) {
  Survey survey;
  survey.slots = look_at(states);
  std::vector<LogInHand> logs;
  for (const SlotSurvey& slot : survey.slots) {
    if (slot.log != nullptr && !slot.state.holder_pid) logs.push_back({slot.log.get(), std::nullopt, nullptr});
  }
  Recoverer recoverer(setup.resources);
  survey.report = recoverer.gather(logs, states, std::chrono::steady_clock::now());
  for (const SlotSurvey& slot : survey.slots) {
    if (slot.log != nullptr && slot.state.holder_pid) add_live(survey, slot);
  }
  return survey;
}

}  // namespace

std::string_view to_string(Standing standing) {
  switch (standing) {
    case Standing::over:
      return "over";
    case Standing::in_doubt:
      return "in doubt";
    case Standing::needs_person:
      return "needs person";
    case Standing::live:
      return "live";
    case Standing::live_and_late:
      return "live and late";
    case Standing::another_node:
      return "another node";
    case Standing::foreign:
      return "foreign";
  }
  return "?";
}

Standing standing_of(const BranchReport& branch) {
  switch (branch.evidence.owner) {
    case Owner::foreign:
      return Standing::foreign;
    case Owner::unknown_log:
      return Standing::another_node;
    case Owner::held_elsewhere: {
      const bool late = (branch.age && *branch.age >= late_after) ||
                        (branch.decided_at_ms && since(*branch.decided_at_ms) >= late_after);
      return late ? Standing::live_and_late : Standing::live;
    }
    case Owner::unheld_slot:
    case Owner::in_hand:
      break;
  }
  if (branch.done) return Standing::over;
  return branch.needs_person() ? Standing::needs_person : Standing::in_doubt;
}

const SlotSurvey* Survey::slot_of(LogId log) const {
  const auto found = std::ranges::find_if(slots, [&](const SlotSurvey& slot) { return slot.state.log == log; });
  return found == slots.end() ? nullptr : &*found;
}

std::set<TransactionId> Survey::transactions() const {
  std::set<TransactionId> out;
  for (const BranchReport& branch : report.branches) {
    if (branch.transaction) out.insert(*branch.transaction);
  }
  return out;
}

std::vector<const BranchReport*> Survey::branches_of(const TransactionId& id) const {
  std::vector<const BranchReport*> out;
  for (const BranchReport& branch : report.branches) {
    if (branch.transaction == id) out.push_back(&branch);
  }
  return out;
}

std::optional<Decision> Survey::decision(const TransactionId& id) const {
  const SlotSurvey* slot = slot_of(id.log);
  return slot == nullptr || slot->log == nullptr ? std::nullopt : slot->log->find(id);
}

Exit exit_of(const RecoveryReport& report) {
  Exit exit = Exit::done;
  for (const ResourceReport& resource : report.resources) {
    if (resource.usable()) continue;
    const bool unreachable = resource.problem == ResourceReport::Problem::unreachable;
    exit = graver(exit, unreachable ? Exit::unreachable : Exit::usage);
  }
  for (const LogReport& log : report.logs) {
    if (log.poisoned) exit = graver(exit, Exit::log_damaged);
  }
  for (const BranchReport& branch : report.branches) {
    const Standing standing = standing_of(branch);
    if (standing == Standing::needs_person) exit = graver(exit, Exit::needs_person);
    if (standing == Standing::in_doubt || standing == Standing::live_and_late) exit = graver(exit, Exit::in_doubt);
  }
  return exit;
}

Exit Survey::exit() const {
  Exit exit = exit_of(report);
  for (const SlotSurvey& slot : slots) {
    if (slot.fault) exit = graver(exit, exit_for(slot.fault->code()));
  }
  return exit;
}

Survey take_survey(const Setup& setup) {
  const std::unique_ptr<NodeDirectory> directory = setup.node_directory();
  if (directory == nullptr) return gather(setup, {});
  std::vector<SlotState> states = directory->slots();
  for (int attempt = 1;; ++attempt) {
    Survey survey = gather(setup, states);
    // Had a process opened a log meanwhile, what was read of that log would be older than what the databases said.
    std::vector<SlotState> now = directory->slots();
    if (attempt == attempts || same_holders(states, now)) return survey;
    states = std::move(now);
  }
}

}  // namespace assent::tool
