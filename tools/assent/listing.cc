#include "assent/tools/assent/listing.h"

#include <algorithm>
#include <map>

#include "assent/tools/assent/names.h"
#include "assent/tools/assent/text.h"
#include "assent/tools/assent/wording.h"

namespace assent::tool {
namespace {

Style style_of(Standing standing) {
  switch (standing) {
    case Standing::needs_person:
      return Style::bad;
    case Standing::in_doubt:
    case Standing::live_and_late:
      return Style::warning;
    case Standing::over:
    case Standing::live:
    case Standing::another_node:
    case Standing::foreign:
      break;
  }
  return Style::faint;
}

std::string age_text(const BranchReport& branch) {
  if (branch.age) return duration_text(*branch.age);
  if (branch.decided_at_ms) return duration_text(since(*branch.decided_at_ms));
  return "-";
}

bool is_shown(Standing standing, bool all) {
  return all || (standing != Standing::foreign && standing != Standing::another_node);
}

/// Transactions of which nothing but settled branches is left are of no interest.
std::set<TransactionId> of_interest(const RecoveryReport& report) {
  std::set<TransactionId> out;
  for (const BranchReport& branch : report.branches) {
    if (branch.transaction && standing_of(branch) != Standing::over) out.insert(*branch.transaction);
  }
  return out;
}

struct Counts {
  std::map<Standing, std::size_t> by_standing;
  std::set<TransactionId> transactions;
  std::size_t commits = 0;
  std::size_t rollbacks = 0;
  std::size_t waits = 0;
};

Counts count(const RecoveryReport& report) {
  Counts counts;
  for (const BranchReport& branch : report.branches) {
    const Standing standing = standing_of(branch);
    ++counts.by_standing[standing];
    if (standing == Standing::in_doubt || standing == Standing::needs_person) {
      counts.transactions.insert(*branch.transaction);
    }
    if (standing != Standing::in_doubt) continue;
    counts.commits += branch.resolution.verdict == Verdict::commit ? 1 : 0;
    counts.rollbacks += branch.resolution.verdict == Verdict::roll_back ? 1 : 0;
    counts.waits += branch.resolution.verdict == Verdict::wait ? 1 : 0;
  }
  return counts;
}

void print_summary(const RecoveryReport& report, const ListingOptions& options, Terminal& terminal) {
  Counts counts = count(report);
  const std::size_t doubtful = counts.by_standing[Standing::in_doubt] + counts.by_standing[Standing::needs_person];
  const bool all_answered = std::ranges::all_of(report.resources, &ResourceReport::usable);
  if (doubtful == 0 && counts.by_standing[Standing::live_and_late] == 0) {
    std::string answered;
    for (const ResourceReport& each : report.resources) answered += (answered.empty() ? "" : ", ") + each.name;
    terminal.paragraph(all_answered
                           ? terminal.styled(Style::good, "Nothing is in doubt.") +
                                 (answered.empty() ? "" : terminal.styled(Style::faint, " Asked: " + answered + '.'))
                           : "Nothing is known to be in doubt, but not every database answered.");
  }
  if (doubtful != 0) {
    std::string text = counted(doubtful, "branch", "branches") + " of " +
                       counted(counts.transactions.size(), "transaction", "transactions") +
                       (doubtful == 1 ? " is in doubt." : " are in doubt.");
    std::string does;
    if (counts.commits != 0) does = "commits " + std::to_string(counts.commits);
    if (counts.rollbacks != 0) {
      does += (does.empty() ? "rolls back " : " and rolls back ") + std::to_string(counts.rollbacks);
    }
    if (!does.empty()) text += " `" + options.program + " resolve` " + does + '.';
    if (counts.waits != 0)
      text += ' ' + counted(counts.waits, "waits", "wait") + " for more evidence or for a database.";
    terminal.paragraph(text);
  }
  if (const std::size_t persons = counts.by_standing[Standing::needs_person]; persons != 0) {
    terminal.paragraph(terminal.styled(Style::bad, counted(persons, "needs", "need") + " a person: ") + "`" +
                       options.program + " explain ID` says why, and what to do.");
  }
  if (const std::size_t late = counts.by_standing[Standing::live_and_late]; late != 0) {
    terminal.paragraph(counted(late, "branch", "branches") +
                       " should have been settled by a live process by now: see why that process does not.");
  }
  if (options.all) return;
  const std::size_t others = counts.by_standing[Standing::another_node];
  const std::size_t foreign = counts.by_standing[Standing::foreign];
  if (others != 0) {
    terminal.paragraph(counted(others, "branch belongs", "branches belong") +
                       " to logs that are not on this node; only their own node settles them (--all shows them).");
  }
  if (foreign != 0) {
    terminal.paragraph(counted(foreign, "branch belongs", "branches belong") +
                       " to other transaction managers; Assent never touches those (--all shows them).");
  }
}

}  // namespace

void print_listing(const RecoveryReport& report, const ListingOptions& options, Terminal& terminal) {
  const std::set<TransactionId> interest = of_interest(report);
  const auto names = short_names(interest);
  Table table({"ID", "RESOURCE", "AGE", "STATE", "NEXT", "HOLDER", "LABEL"});
  for (const BranchReport& branch : report.branches) {
    const Standing standing = standing_of(branch);
    if (!is_shown(standing, options.all)) continue;
    if (branch.transaction && !interest.contains(*branch.transaction)) continue;
    const Style style = style_of(standing);
    const std::string id = branch.transaction ? names.at(*branch.transaction)
                                              : printable(branch.raw.empty() ? branch.xid.text() : branch.raw);
    const std::string holder = !branch.holder_pid        ? ""
                               : *branch.holder_pid == 0 ? "unknown"
                                                         : "pid " + std::to_string(*branch.holder_pid);
    table.row({{terminal.columns() == 0 ? id : shortened(id, 40), Style::bold},
               {printable(branch.resource)},
               {age_text(branch)},
               {state_word(branch)},
               {next_word(branch), style},
               {holder},
               {printable(branch.label), Style::faint}});
  }
  if (!table.empty()) {
    table.print(terminal);
    terminal.line();
  }
  print_summary(report, options, terminal);
}

void print_resource_troubles(const RecoveryReport& report, Terminal& terminal) {
  for (const ResourceReport& resource : report.resources) {
    if (resource.usable()) continue;
    terminal.line();
    terminal.line(terminal.styled(Style::bad, to_string(resource.problem)) + "  " +
                  terminal.styled(Style::bold, resource.name) + "  " + printable(resource.address));
    terminal.paragraph(printable(resource.text), 2);
    if (!resource.hint.empty()) terminal.paragraph(resource.hint, 4, "->");
  }
}

void print_slot_troubles(const std::vector<SlotSurvey>& slots, const std::string& program, Terminal& terminal) {
  for (const SlotSurvey& slot : slots) {
    if (slot.fault) {
      terminal.line();
      terminal.paragraph(terminal.styled(Style::bad, "log") + "  " + printable(slot.fault->what()));
      terminal.paragraph(slot.fault->hint(), 4, "->");
    }
    if (slot.log != nullptr && slot.log->moved()) {
      terminal.line();
      terminal.paragraph(terminal.styled(Style::warning, "log") + "  " + slot.state.directory +
                         " was copied or restored: it finishes its commits, and presumes no abort");
      terminal.paragraph("if the original will never be used again: `" + program + " log adopt`", 4, "->");
    }
  }
}

std::vector<LoggedResource> unnamed_resources(const Survey& survey, const Setup& setup) {
  std::map<std::string, LoggedResource> out;
  for (const SlotSurvey& slot : survey.slots) {
    if (slot.log == nullptr) continue;
    for (const LoggedResource& logged : slot.log->resources()) {
      // A resource that now has another name is told as renamed, where it answers.
      if (setup.resource(logged.name) == nullptr) out.emplace(logged.name, logged);
    }
  }
  std::vector<LoggedResource> result;
  result.reserve(out.size());
  for (auto& [name, logged] : out) result.push_back(logged);
  return result;
}

}  // namespace assent::tool
