#include <algorithm>
#include <optional>

#include "assent/tools/assent/command.h"
#include "assent/tools/assent/hold.h"
#include "assent/tools/assent/stop.h"
#include "assent/tools/assent/survey.h"
#include "assent/tools/assent/text.h"
#include "assent/tools/assent/wording.h"

namespace assent::tool {
namespace {

/// A decision may go only when no branch can need it any more: were one still prepared somewhere, its abort would be
/// presumed. A database that cannot be asked might have one; only a person can say that it will never come back.
void refuse_if_needed(const BranchReport& branch, const ForgetOptions& options, const std::string& program) {
  if (branch.done) return;
  if (std::ranges::count(options.gone, branch.resource) != 0) return;
  if (branch.evidence.database == DatabaseSays::listed || branch.evidence.database == DatabaseSays::in_progress) {
    throw Stop(Exit::refused,
               "the branch in " + branch.resource + " is still prepared, and the log is needed to settle it",
               "`" + program + " resolve` first; what that leaves, `" + program + " force` settles by hand");
  }
  const IdentityIs identity = branch.evidence.identity;
  const bool cannot_be_asked = branch.evidence.database == DatabaseSays::unreachable ||
                               identity == IdentityIs::changed || identity == IdentityIs::shared ||
                               identity == IdentityIs::not_configured;
  if (cannot_be_asked) {
    throw Stop(Exit::refused, "whether the branch in " + branch.resource + " is still prepared cannot be asked",
               "bring that database back; only if it is lost for good, say --gone " + branch.resource);
  }
}

/// The log's, or the last resource's as this moment's report has it.
std::optional<Decision> decision_in(const Hold& hold) {
  if (hold.slot == nullptr) return std::nullopt;
  if (hold.transaction.kind == DeciderKind::log) return hold.slot->log().find(hold.transaction);
  Decision decision;
  decision.id = hold.transaction;
  for (const BranchReport& branch : hold.report.branches) {
    if (branch.transaction != hold.transaction || branch.evidence.log != LogSays::decided) continue;
    decision.label = branch.label;
    decision.branches.push_back({branch.xid.bqual, {}});
  }
  return decision.branches.empty() ? std::nullopt : std::optional(decision);
}

}  // namespace

Exit forget(const Context& context, const ForgetOptions& options, Terminal& terminal) {
  const Setup setup = Setup::load(context.config_path);
  const std::string program = context.program();
  const Named named = find_named(options.transaction, take_survey(setup).transactions());
  if (!named.resource.empty()) {
    throw Stop(Exit::usage,
               "a transaction is forgotten as a whole; '" + printable(options.transaction) + "' names a branch",
               "leave out the '/' and what follows");
  }
  Hold hold = take_hold(setup, named);
  const auto decision = decision_in(hold);
  if (!decision) {
    throw Stop(Exit::usage, "there is no decision of " + named.transaction.text() + ", so there is nothing to forget",
               "`" + program + " explain " + named.transaction.text() + "` tells what is known");
  }
  const auto proven_committed = [&](const DecidedBranch& decided) {
    const BranchReport* branch = hold.branch(decided.resource);
    return branch != nullptr && branch->done;
  };
  if (std::ranges::all_of(decision->branches, proven_committed)) {
    throw Stop(Exit::refused, "every branch of " + named.transaction.text() + " is committed, so nothing is given up",
               "`" + program + " resolve` takes the decision out of the log");
  }
  std::string branches;
  for (const DecidedBranch& decided : decision->branches) {
    const BranchReport* branch = hold.branch(decided.resource);
    if (branch == nullptr) continue;
    refuse_if_needed(*branch, options, program);
    branches += "\n  " + branch->resource + ": " + state_word(*branch) +
                (std::ranges::count(options.gone, branch->resource) != 0 ? ", gone for good, as you say" : "");
  }
  confirm("The log will forget the decision to commit " + named.transaction.text() +
              (decision->label.empty() ? "" : " (" + printable(decision->label) + ")") +
              ". What its branches are then, they stay:" + branches,
          "forget", options.yes);
  std::string what = "forget by " + who_am_i() + ';';
  for (const DecidedBranch& decided : decision->branches) {
    if (const BranchReport* branch = hold.branch(decided.resource)) {
      what += ' ' + branch->resource + ": " + state_word(*branch) + ';';
    }
  }
  DecisionLog& deciding = hold.slot->log();
  deciding.note_person(named.transaction, "", what.substr(0, log::PersonNote::max_what));
  deciding.forget(named.transaction);
  terminal.line(terminal.styled(Style::good, "forgotten  ") + named.transaction.text());
  return Exit::done;
}

}  // namespace assent::tool
