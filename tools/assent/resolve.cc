#include <csignal>
#include <ctime>

#include <chrono>

#include <nlohmann/json.hpp>

#include "assent/tools/assent/command.h"
#include "assent/tools/assent/json.h"
#include "assent/tools/assent/listing.h"
#include "assent/tools/assent/names.h"
#include "assent/tools/assent/resolver.h"
#include "assent/tools/assent/text.h"
#include "assent/tools/assent/wording.h"

namespace assent::tool {
namespace {

std::string holder_text(const SlotState& slot) {
  return slot.holder_pid.value_or(0) == 0 ? "a process that the system cannot name"
                                          : "process " + std::to_string(*slot.holder_pid);
}

/// Waits for SIGINT or SIGTERM, which every thread has blocked: a round is never cut off in the middle.
class Interrupts {
 public:
  Interrupts() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  bool came_within(unsigned seconds) const {
    const timespec patience{static_cast<std::time_t>(seconds), 0};
    return sigtimedwait(&signals_, nullptr, &patience) > 0;
  }

 private:
  sigset_t signals_{};
};

void print_settled(const Resolver::Round& round, Terminal& terminal) {
  for (const SlotState& slot : round.adopted) {
    terminal.line(terminal.styled(Style::faint,
                                  "adopted slot " + std::to_string(slot.number) + ", left by a process that is gone"));
  }
  std::set<TransactionId> ids;
  for (const BranchReport& branch : round.settled) ids.insert(*branch.transaction);
  const auto names = short_names(ids);
  Table table({"DONE", "ID", "RESOURCE", "LABEL"});
  for (const BranchReport& branch : round.settled) {
    const bool committed = branch.resolution.action == Action::commit;
    table.row({{committed ? "committed" : "rolled back", Style::good},
               {names.at(*branch.transaction), Style::bold},
               {printable(branch.resource)},
               {printable(branch.label), Style::faint}});
  }
  if (!table.empty()) {
    table.print(terminal);
    terminal.line();
  }
}

Json settled_json(const Resolver::Round& round) {
  Json out = Json::array();
  for (const BranchReport& branch : round.settled) {
    out.push_back({{"xid", branch.xid.text()},
                   {"action", to_string(branch.resolution.action)},
                   {"label", branch.label},
                   {"why", branch.resolution.text}});
  }
  return out;
}

void print_holders(const Setup& setup, Terminal& terminal) {
  const auto directory = setup.node_directory();
  if (directory == nullptr) return;
  for (const SlotState& slot : directory->slots()) {
    if (!slot.holder_pid) continue;
    terminal.paragraph(terminal.styled(Style::faint, "slot " + std::to_string(slot.number) + " is held by " +
                                                         holder_text(slot) + ", which settles its own transactions"));
  }
}

Exit resolve_once(const Context& context, const Setup& setup, Terminal& terminal) {
  Progress progress("settling");
  Resolver resolver(setup, progress);
  const Resolver::Round round = resolver.round();
  if (context.json) {
    Json out = report_json(round.report, round.exit);
    out["settled"] = settled_json(round);
    print_json(out, terminal);
    return round.exit;
  }
  const std::string program = context.program();
  print_settled(round, terminal);
  print_listing(round.report, {false, program}, terminal);
  print_resource_troubles(round.report, terminal);
  print_slot_troubles(round.troubles, program, terminal);
  print_holders(setup, terminal);
  return round.exit;
}

/// What a watch says again only when it changes.
std::string state_text(const Resolver::Round& round) {
  std::string out;
  std::size_t doubtful = 0;
  std::size_t persons = 0;
  for (const BranchReport& branch : round.report.branches) {
    doubtful += standing_of(branch) == Standing::in_doubt ? 1 : 0;
    persons += standing_of(branch) == Standing::needs_person ? 1 : 0;
  }
  for (const ResourceReport& resource : round.report.resources) {
    if (!resource.usable()) out += "; " + resource.name + ": " + std::string(to_string(resource.problem));
  }
  for (const SlotSurvey& slot : round.troubles) {
    out += slot.fault ? std::string("; ") + slot.fault->what() : "; " + slot.state.directory + " was moved";
  }
  if (persons != 0) out = "; " + counted(persons, "needs", "need") + " a person" + out;
  return (doubtful == 0 ? "nothing is in doubt" : counted(doubtful, "branch is", "branches are") + " in doubt") + out;
}

Exit watch(const Context& context, const ResolveOptions& options, const Setup& setup, Terminal& terminal) {
  const Interrupts interrupts;
  Progress progress("settling");
  Resolver resolver(setup, progress);
  std::string last;
  while (true) {
    const Resolver::Round round = resolver.round();
    const std::int64_t now_ms =
        std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
            .count();
    const std::string stamp = terminal.styled(Style::faint, time_text(now_ms)) + "  ";
    if (context.json) {
      Json out = envelope(round.exit);
      out["at_ms"] = now_ms;
      out["settled"] = settled_json(round);
      out["state"] = state_text(round);
      if (state_text(round) != last || !round.settled.empty()) {
        terminal.line(out.dump(-1, ' ', false, Json::error_handler_t::replace));
      }
    } else {
      for (const SlotState& slot : round.adopted) terminal.line(stamp + "adopted slot " + std::to_string(slot.number));
      for (const BranchReport& branch : round.settled) {
        terminal.line(stamp + (branch.resolution.action == Action::commit ? "committed " : "rolled back ") +
                      branch.xid.text() + (branch.label.empty() ? "" : "  " + printable(branch.label)));
      }
      if (state_text(round) != last) terminal.line(stamp + printable(state_text(round)));
    }
    last = state_text(round);
    terminal.out().flush();
    if (interrupts.came_within(options.interval_s)) return round.exit;
  }
}

}  // namespace

Exit resolve(const Context& context, const ResolveOptions& options, Terminal& terminal) {
  const Setup setup = Setup::load(context.config_path);
  if (options.watch && !options.dry_run) return watch(context, options, setup, terminal);
  if (!options.dry_run) return resolve_once(context, setup, terminal);
  const Survey survey = take_survey(setup);
  if (context.json) {
    print_json(survey_json(survey, setup, survey.exit()), terminal);
    return survey.exit();
  }
  const std::string program = context.program();
  const auto names = short_names(survey.transactions());
  for (const BranchReport& branch : survey.report.branches) {
    if (standing_of(branch) != Standing::in_doubt) continue;
    const bool acts = branch.resolution.action != Action::none;
    terminal.paragraph(std::string(acts ? "would " : "would not touch ") +
                       (acts ? std::string(to_string(branch.resolution.action)) + ' ' : "") +
                       terminal.styled(Style::bold, names.at(*branch.transaction) + '/' + printable(branch.resource)) +
                       ": " + std::string(branch.resolution.text));
  }
  terminal.line("Nothing was changed.");
  terminal.line();
  print_listing(survey.report, {false, program}, terminal);
  print_resource_troubles(survey.report, terminal);
  print_slot_troubles(survey.slots, program, terminal);
  return survey.exit();
}

}  // namespace assent::tool
