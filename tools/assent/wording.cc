#include "assent/tools/assent/wording.h"

#include <algorithm>

#include "assent/tools/assent/text.h"

namespace assent::tool {
namespace {

bool only_what_is(const std::vector<const BranchReport*>& branches, Standing standing) {
  return std::ranges::all_of(branches, [&](const BranchReport* each) { return standing_of(*each) == standing; });
}

bool any_is(const std::vector<const BranchReport*>& branches, Standing standing) {
  return std::ranges::any_of(branches, [&](const BranchReport* each) { return standing_of(*each) == standing; });
}

std::string holder(const BranchReport& branch) {
  const std::int64_t pid = branch.holder_pid.value_or(0);
  return pid == 0 ? "a live process that the system cannot name (in another container?)"
                  : "process " + std::to_string(pid);
}

}  // namespace

std::string state_word(const BranchReport& branch) {
  // Settled a moment ago: what the database said before is history.
  if (branch.done && branch.answer) return branch.resolution.action == Action::commit ? "committed" : "rolled back";
  if (branch.evidence.identity == IdentityIs::not_configured && branch.evidence.owner != Owner::foreign &&
      branch.evidence.database != DatabaseSays::listed) {
    return "not configured";
  }
  switch (branch.evidence.database) {
    case DatabaseSays::listed:
      return "prepared";
    case DatabaseSays::committed:
      return "committed";
    case DatabaseSays::rolled_back:
      return "rolled back";
    case DatabaseSays::in_progress:
      return "in progress";
    case DatabaseSays::no_evidence:
      return "no evidence";
    case DatabaseSays::unreachable:
      return "unreachable";
  }
  return "?";
}

std::string next_word(const BranchReport& branch) {
  switch (standing_of(branch)) {
    case Standing::over:
      return "nothing";
    case Standing::needs_person:
      return "needs a person";
    case Standing::live:
      return "its process";
    case Standing::live_and_late:
      return "its process, late";
    case Standing::another_node:
      return "its own node";
    case Standing::foreign:
      return "its own manager";
    case Standing::in_doubt:
      break;
  }
  return std::string(to_string(branch.resolution.verdict));
}

std::string headline(const Survey& survey, const TransactionId& id) {
  const auto branches = survey.branches_of(id);
  if (branches.empty())
    return "Nothing of this transaction is prepared anywhere, and no log here has a decision of it.";
  const BranchReport& first = *branches.front();
  if (any_is(branches, Standing::live) || any_is(branches, Standing::live_and_late)) {
    return "This transaction belongs to " + holder(first) + ", which is alive and settles it by itself." +
           (any_is(branches, Standing::live_and_late)
                ? " It has not done so for a while: something keeps it from a database, or it hangs."
                : "");
  }
  if (only_what_is(branches, Standing::another_node)) {
    return "This transaction belongs to a log that is not on this node, and only that log can settle it.";
  }
  const auto says = [&branches](LogSays what) {
    return std::ranges::any_of(branches, [what](auto* each) { return each->evidence.log == what; });
  };
  const bool decided = says(LogSays::decided);
  if (!decided && (says(LogSays::silent) || says(LogSays::missing))) {
    return "This transaction is decided by a row in its last resource, " + id.decider + ", and that " +
           (says(LogSays::silent) ? "cannot be asked now. Nothing is lost meanwhile." : "is not configured here.");
  }
  const std::string decider = id.kind == DeciderKind::log ? "The log" : "Its last resource, " + id.decider + ",";
  std::string out =
      decided ? "This transaction is decided: the decision to commit is recorded."
              : decider + " has no decision to commit this transaction, so nobody was told that it committed.";
  if (any_is(branches, Standing::needs_person)) {
    return out + " What is left of it cannot be settled by the evidence: a person must look.";
  }
  if (only_what_is(branches, Standing::over)) return out + " Every branch is settled; only the log does not know yet.";
  const bool reachable = std::ranges::none_of(
      branches, [](auto* each) { return each->evidence.database == DatabaseSays::unreachable && !each->done; });
  if (!reachable) return out + " A database that is to be told cannot be reached now; nothing is lost meanwhile.";
  return out + (decided ? " What is left is to commit the branches that are still prepared."
                        : " Its process is gone, so it is rolled back wherever it is still prepared.");
}

Advice advice(const BranchReport& branch, const std::string& short_name) {
  const std::string branch_name = short_name + '/' + branch.resource;
  switch (standing_of(branch)) {
    case Standing::over:
      return {"Nothing is left to do for " + branch.resource + '.', ""};
    case Standing::live:
      return {"Leave it to " + holder(branch) + '.', ""};
    case Standing::live_and_late:
      return {"See why " + holder(branch) + " does not settle it. If that process hangs, end it; then:", "resolve"};
    case Standing::another_node:
      return {"Run `assent resolve` on the node that has its log. Only if that log is lost for good:",
              "force " + branch_name + " rollback --without-its-log"};
    case Standing::foreign:
      return {"Ask the other transaction manager.", ""};
    case Standing::in_doubt:
      if (branch.evidence.log == LogSays::silent) {
        return {"Bring " + branch.transaction->decider +
                    ", which decides it, back; until then this waits and loses nothing. To settle it as soon as it "
                    "answers:",
                "resolve --watch"};
      }
      if (branch.evidence.database == DatabaseSays::unreachable) {
        return {"Bring " + branch.resource +
                    " back; until then this waits and loses nothing. To settle it as soon as it answers:",
                "resolve --watch"};
      }
      return {"Have it settled:", "resolve"};
    case Standing::needs_person:
      break;
  }
  const Evidence& evidence = branch.evidence;
  if (evidence.log == LogSays::missing) {
    return {"Put resource " + branch.transaction->decider +
                ", which decides it, back into the configuration, leading to the database that it was (or, if it was "
                "renamed, with that name as `formerly`), then:",
            "resolve"};
  }
  if (evidence.identity == IdentityIs::changed) {
    return {"Point the URL of " + branch.resource + " back to the database that the log recorded, then:", "resolve"};
  }
  if (evidence.identity == IdentityIs::shared) {
    return {"Take one of the two resources that are the same database out of the configuration, then:", "resolve"};
  }
  if (evidence.identity == IdentityIs::not_configured) {
    return {"Put resource " + branch.resource + " back into the configuration (or, if it was renamed, formerly = [\"" +
                branch.resource + "\"] with its new name), then:",
            "resolve"};
  }
  if (evidence.database == DatabaseSays::listed && !evidence.ours_to_finish) {
    return {"Connect as its owner, to its own database, and run again:", "resolve"};
  }
  if (branch.resolution.verdict == Verdict::resurrected) {
    return {
        "The database was restored from a backup that had this branch prepared. Find out whether its work is in the "
        "other databases; then commit it or roll it back to match:",
        "force " + branch_name + " commit|rollback"};
  }
  if (branch.resolution.verdict == Verdict::heuristic) {
    return {
        "The database went the other way than the decision, and cannot be made to follow. Repair the data by hand; "
        "then have the log forget the transaction:",
        "forget " + short_name};
  }
  if (evidence.incarnation == IncarnationIs::gone_log_moved && evidence.log == LogSays::nothing) {
    return {"If the log was moved here for good, and the original will never be used again, say so; then resolve:",
            "log adopt"};
  }
  if (evidence.database == DatabaseSays::no_evidence || evidence.database == DatabaseSays::rolled_back) {
    return {
        "Look at the data whether the branch was committed, repair it by hand if not, then have the log forget the "
        "transaction:",
        "forget " + short_name};
  }
  return {"Find out from the data of the other databases what became of the transaction, then do the same here:",
          "force " + branch_name + " commit|rollback"};
}

}  // namespace assent::tool
