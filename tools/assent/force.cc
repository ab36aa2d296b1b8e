#include <iostream>

#include "assent/tools/assent/command.h"
#include "assent/tools/assent/hold.h"
#include "assent/tools/assent/stop.h"
#include "assent/tools/assent/survey.h"
#include "assent/tools/assent/text.h"
#include "assent/tools/assent/wording.h"

namespace assent::tool {
namespace {

/// Empty when it agrees with the evidence, or there is none.
std::string contradiction(const BranchReport& branch, bool commit) {
  const Evidence& evidence = branch.evidence;
  if (evidence.log == LogSays::decided && !commit) {
    return "the decision to COMMIT this transaction is recorded; its other branches commit, and the application may "
           "have been told so";
  }
  const bool by_last_resource = branch.transaction && branch.transaction->kind == DeciderKind::resource;
  if (by_last_resource && evidence.log != LogSays::decided && evidence.log != LogSays::barred) {
    return "there is NO decision of its last resource, " + branch.transaction->decider +
           ", to commit this transaction, and nothing keeps it from committing yet; `assent resolve` settles that, and "
           "then this branch";
  }
  const bool undecided = evidence.log == LogSays::nothing || evidence.log == LogSays::barred;
  if (evidence.owner == Owner::in_hand && undecided &&
      (evidence.incarnation == IncarnationIs::gone || evidence.incarnation == IncarnationIs::gone_adopted) && commit) {
    return "there is NO decision to commit this transaction; its other branches are rolled back, and the "
           "application was not told that it committed";
  }
  return "";
}

void refuse_unless_prepared(const BranchReport& branch, const std::string& program, const std::string& typed) {
  switch (branch.evidence.database) {
    case DatabaseSays::listed:
    case DatabaseSays::in_progress:
      return;
    case DatabaseSays::unreachable:
      throw Stop(Exit::unreachable, branch.resource + " cannot be asked now, so nothing can be forced there",
                 "bring it back first; `" + program + " doctor` says what is wrong");
    case DatabaseSays::committed:
    case DatabaseSays::rolled_back:
    case DatabaseSays::no_evidence:
      break;
  }
  throw Stop(Exit::refused, "the branch is not prepared in " + branch.resource + ", so there is nothing to force",
             "`" + program + " explain " + typed +
                 "` tells what is known; what a person has settled is dropped with `" + program + " forget`");
}

/// The audit comes first: a crash after it leaves a note of something that may not have happened, which is seen; the
/// other way round something would have happened that nobody can explain.
void write_note(Hold& hold, const BranchReport& branch, const ForceOptions& options, const std::string& against) {
  std::unique_ptr<Slot> own;
  Slot* slot = hold.slot.get();
  if (slot == nullptr) {
    own = hold.directory->claim();
    slot = own.get();
  }
  const std::string what = "force " + options.verb + (against.empty() ? "" : ", against the evidence") + " by " +
                           who_am_i() + "; the table said: " + std::string(branch.resolution.text);
  slot->log().note_person(*branch.transaction, branch.resource, what.substr(0, log::PersonNote::max_what));
}

}  // namespace

Exit force(const Context& context, const ForceOptions& options, Terminal& terminal) {
  const Setup setup = Setup::load(context.config_path);
  const std::string program = context.program();
  Named named = find_named(options.branch, take_survey(setup).transactions());
  if (named.resource.empty()) {
    throw Stop(Exit::usage, "one branch is forced at a time; '" + printable(options.branch) + "' names a transaction",
               "name the branch: " + printable(options.branch) + "/RESOURCE");
  }
  Hold hold = take_hold(setup, named);
  const BranchReport* branch = hold.branch(named.resource);
  if (branch == nullptr) {
    throw Stop(Exit::usage, "no branch of " + named.transaction.text() + " is known in " + named.resource,
               "`" + program + " explain " + named.transaction.text() + "` shows its branches");
  }
  const auto manager = setup.resource(branch->resource);
  if (manager == nullptr) {
    throw Stop(Exit::usage, "resource " + branch->resource + " is not configured, so it cannot be told anything",
               "put it into the configuration first");
  }
  if (branch->evidence.owner == Owner::unknown_log && !options.without_its_log) {
    throw Stop(Exit::refused, "the log that decides this branch is not on this node, and only that log can settle it",
               "run `assent resolve` where that log is; only if it is lost for good, say --without-its-log");
  }
  refuse_unless_prepared(*branch, program, options.branch);
  if (branch->evidence.identity == IdentityIs::changed || branch->evidence.identity == IdentityIs::shared) {
    throw Stop(Exit::usage, std::string(branch->resolution.text), "correct the configuration first");
  }
  const bool commit = options.verb == "commit";
  const std::string against = contradiction(*branch, commit);
  if (!against.empty() && !options.against_the_decision) {
    throw Stop(Exit::refused, "refused: " + against,
               "`" + program +
                   " resolve` does what the log says; to break the transaction apart nevertheless, say "
                   "--against-the-decision");
  }
  std::string question = std::string("This will ") + (commit ? "commit" : "roll back") + " branch " +
                         branch->xid.text() + " in " + printable(manager->address()) +
                         ".\nThe evidence: " + std::string(branch->resolution.text) + ".";
  if (!against.empty()) question += "\nWARNING: " + against + ".\nThe databases will disagree, for good.";
  confirm(question, options.verb + ' ' + branch->resource, options.yes);
  if (!against.empty() && options.yes) std::cerr << "assent: warning: " << against << '\n';

  write_note(hold, *branch, options, against);
  const FinishOptions finish = finish_options(branch->evidence);
  const Reply reply = commit ? manager->commit(branch->xid, finish) : manager->rollback(branch->xid, finish);
  if (!reply.is_ok() && !(!commit && is_rollback(reply.code))) {
    throw Stop(reply.code == Code::resource_failed ? Exit::unreachable : Exit::needs_person,
               branch->resource + " answered: " + printable(describe(reply)),
               "`" + program + " explain " + named.transaction.text() + "` shows what is known now");
  }
  terminal.line(terminal.styled(Style::good, commit ? "committed  " : "rolled back  ") + branch->xid.text());
  terminal.paragraph("Noted in the log. `" + program + " resolve` settles the rest of the transaction" +
                     (hold.slot != nullptr && hold.slot->log().find(named.transaction) && !commit
                          ? "; then `" + program + " forget " + named.transaction.text() + "` drops its decision"
                          : "") +
                     ".");
  return Exit::done;
}

}  // namespace assent::tool
