#include <algorithm>

#include <nlohmann/json.hpp>

#include "assent/tools/assent/command.h"
#include "assent/tools/assent/json.h"
#include "assent/tools/assent/names.h"
#include "assent/tools/assent/survey.h"
#include "assent/tools/assent/text.h"
#include "assent/tools/assent/wording.h"

namespace assent::tool {
namespace {

constexpr std::size_t indent = 13;
constexpr std::size_t shown_waiting = 5;

void field(Terminal& terminal, std::string_view name, std::string_view text) {
  terminal.paragraph(text, indent, name);
}

std::string log_line(const Survey& survey, const TransactionId& id) {
  const SlotSurvey* slot = survey.slot_of(id.log);
  if (slot == nullptr) return "not on this node";
  std::string line = "slot " + std::to_string(slot->state.number) + ", ";
  if (!slot->state.holder_pid) {
    line += "held by nobody";
  } else {
    line += "held by process " + std::to_string(*slot->state.holder_pid);
  }
  if (slot->log == nullptr) return line;
  for (const IncarnationRecord& each : slot->log->incarnations()) {
    if (each.incarnation != id.incarnation) continue;
    line += "; the transaction is of process " + std::to_string(each.pid) + ", which opened the log at " +
            time_text(each.opened_at_ms);
  }
  return line;
}

/// What can be said of an id that is not in doubt.
std::string nothing_known(const Survey& survey, const TransactionId& id) {
  const SlotSurvey* slot = survey.slot_of(id.log);
  if (slot == nullptr) return "Its log is not on this node. Ask on the node that has it.";
  if (slot->log == nullptr) return "Its log cannot be read now.";
  for (const IncarnationRecord& each : slot->log->incarnations()) {
    if (each.incarnation != id.incarnation) continue;
    if (slot->log->forgotten(id)) {
      return "It was decided to commit, and a person made the log forget that. What its branches were then, they are.";
    }
    if (slot->state.holder_pid) return "It is not in doubt: it is over, or running in a live process.";
    return "It is over: committed everywhere or rolled back everywhere. The log keeps no more of what is over.";
  }
  return "Its log does not know the process that began it: it is older than what the log remembers, or was never "
         "there.";
}

void print_impact(const BranchReport& branch, const Setup& setup, Terminal& terminal) {
  const auto manager = setup.resource(branch.resource);
  if (manager == nullptr || branch.evidence.database != DatabaseSays::listed) return;
  const Result<Impact> impact = manager->impact(branch.xid);
  if (!impact) return field(terminal, "  Blocks", "cannot be told: " + printable(describe(impact.failure())));
  std::string text = branch.age ? "for " + duration_text(*branch.age) + " now: " : "";
  text += impact->locks ? counted(*impact->locks, "lock", "locks") : "locks";
  if (impact->waiting_sessions.empty()) {
    text += "; nobody waits for it";
  } else {
    text += "; " + counted(impact->waiting_sessions.size(), "session waits", "sessions wait") + " for it";
  }
  field(terminal, "  Blocks", text);
  for (std::size_t i = 0; i < std::min(impact->waiting_sessions.size(), shown_waiting); ++i) {
    field(terminal, "", printable(impact->waiting_sessions[i]));
  }
  if (impact->waiting_sessions.size() > shown_waiting) {
    field(terminal, "", "and " + std::to_string(impact->waiting_sessions.size() - shown_waiting) + " more");
  }
  if (!impact->note.empty()) field(terminal, "", printable(impact->note));
}

void print_branch(const BranchReport& branch, const Survey& survey, const Setup& setup, Terminal& terminal) {
  terminal.line();
  const ResourceReport* resource = survey.report.resource(branch.resource);
  std::string where = terminal.styled(Style::bold, printable(branch.resource));
  if (resource != nullptr) {
    where += "  " + printable(resource->address);
    if (!resource->product.empty()) where += "  " + terminal.styled(Style::faint, printable(resource->product));
  }
  terminal.line(where);
  int number = 1;
  for (const std::string& line : branch.lines) {
    field(terminal, number == 1 ? "  Evidence" : "", std::to_string(number) + ". " + printable(line));
    ++number;
  }
  field(terminal, "  Rule",
        std::string(branch.resolution.text) + " (safety rule " + std::to_string(branch.resolution.rule) + ")");
  field(terminal, "  So",
        branch.done ? "nothing is left to do"
                    : next_word(branch) +
                          (branch.resolution.action != Action::none && branch.resolution.verdict != Verdict::commit &&
                                   branch.resolution.verdict != Verdict::roll_back
                               ? ", while " + std::string(to_string(branch.resolution.action)) + " is tried"
                               : ""));
  print_impact(branch, setup, terminal);
  if (!branch.raw.empty()) field(terminal, "  In there", "known as " + printable(branch.raw));
}

void print_notes(const Survey& survey, const TransactionId& id, Terminal& terminal) {
  for (const SlotSurvey& slot : survey.slots) {
    if (slot.log == nullptr) continue;
    for (const log::PersonNote& note : slot.log->notes()) {
      if (note.id != id) continue;
      field(terminal, "By hand",
            time_text(note.at_ms) + (note.resource.empty() ? "" : ", " + printable(note.resource)) + ": " +
                printable(note.what));
    }
  }
}

void print_next(const std::vector<const BranchReport*>& branches, const std::string& name, const std::string& program,
                Terminal& terminal) {
  std::vector<Advice> all;
  for (const BranchReport* branch : branches) {
    if (branch->done) continue;
    Advice each = advice(*branch, name);
    if (std::ranges::count(all, each) == 0) all.push_back(std::move(each));
  }
  if (all.empty()) all.push_back({"Nothing is left to do but to tell the log:", "resolve"});
  terminal.line();
  terminal.line(terminal.styled(Style::bold, "What to do"));
  for (const Advice& each : all) {
    terminal.paragraph(printable(each.sentence), 2);
    if (!each.command.empty()) terminal.line("    " + terminal.styled(Style::bold, program + ' ' + each.command));
  }
}

Exit exit_of_branches(const std::vector<const BranchReport*>& branches) {
  RecoveryReport report;
  for (const BranchReport* branch : branches) report.branches.push_back(*branch);
  return exit_of(report);
}

void print_explanation(const Context& context, const Survey& survey, const Setup& setup, const TransactionId& id,
                       Terminal& terminal) {
  const auto branches = survey.branches_of(id);
  const auto names = short_names(survey.transactions());
  const std::string name = names.contains(id) ? names.at(id) : id.text();
  terminal.line(terminal.styled(Style::bold, "Transaction " + id.text()));
  const std::string label = branches.empty() ? "" : branches.front()->label;
  if (!label.empty()) field(terminal, "Label", printable(label));
  field(terminal, "Log", log_line(survey, id));
  if (const auto decision = survey.decision(id)) {
    std::string resources;
    for (const DecidedBranch& each : decision->branches) resources += (resources.empty() ? "" : ", ") + each.resource;
    field(terminal, "Decision",
          "commit, at " + time_text(decision->decided_at_ms) + " (" + duration_text(since(decision->decided_at_ms)) +
              " ago), for " + printable(resources));
  } else if (survey.slot_of(id.log) != nullptr) {
    field(terminal, "Decision",
          id.kind == DeciderKind::log ? "none in the log" : "by a row in " + id.decider + ", its last resource");
  }
  print_notes(survey, id, terminal);
  terminal.line();
  terminal.paragraph(headline(survey, id));
  if (branches.empty()) return terminal.paragraph(nothing_known(survey, id));
  for (const BranchReport* branch : branches) print_branch(*branch, survey, setup, terminal);
  print_next(branches, name, context.program(), terminal);
}

Json explanation_json(const Survey& survey, const Setup& setup, const TransactionId& id, Exit exit) {
  const auto branches = survey.branches_of(id);
  const auto names = short_names(survey.transactions());
  const std::string name = names.contains(id) ? names.at(id) : id.text();
  Json out = envelope(exit);
  out["id"] = id.text();
  out["headline"] = headline(survey, id);
  out["branches"] = Json::array();
  for (const BranchReport* branch : branches) {
    Json each = branch_json(*branch, name);
    each["label"] = branch->label;
    const Advice what = advice(*branch, name);
    each["advice"] = {{"text", what.sentence}, {"command", what.command}};
    const auto manager = setup.resource(branch->resource);
    if (manager != nullptr && branch->evidence.database == DatabaseSays::listed) {
      const Result<Impact> impact = manager->impact(branch->xid);
      if (impact) {
        each["impact"] = {{"locks", impact->locks ? Json(*impact->locks) : Json(nullptr)},
                          {"waiting_sessions", impact->waiting_sessions},
                          {"note", impact->note}};
      }
    }
    out["branches"].push_back(std::move(each));
  }
  return out;
}

}  // namespace

Exit explain(const Context& context, const std::string& typed, Terminal& terminal) {
  const Setup setup = Setup::load(context.config_path);
  const Survey survey = take_survey(setup);
  const Named named = find_named(typed, survey.transactions());
  const Exit exit = exit_of_branches(survey.branches_of(named.transaction));
  if (context.json) {
    print_json(explanation_json(survey, setup, named.transaction, exit), terminal);
  } else {
    print_explanation(context, survey, setup, named.transaction, terminal);
  }
  return exit;
}

}  // namespace assent::tool
