#pragma once

#include <string_view>

#include "assent/xa/resource_manager.h"

namespace assent {

/// What is known of a branch when recovery looks at it: one value of each of these. See resolve().

/// Whose branch it is (safety rule 1).
enum class Owner {
  foreign,         ///< its name is not one of ours
  unknown_log,     ///< ours, but its decider is a log that is not on this node
  held_elsewhere,  ///< its decider is the log of another slot, held by a live process
  unheld_slot,     ///< its decider is the log of a slot that nobody holds, and that nobody has adopted yet
  in_hand,         ///< its decider is a log that this process holds
};

/// What the decider says: the log, or for a transaction with a last resource the row there, and the log only that it is
/// over. Must be read after the database was listed and after the engine was asked (rule 6).
enum class LogSays {
  nothing,   ///< no decision, and not below the mark
  decided,   ///< commit, not finished
  finished,  ///< below the mark, or seen finished by this process
  barred,    ///< the last resource did not commit, and a row of recovery's keeps it from doing so
  silent,    ///< the last resource cannot be asked now
  missing,   ///< the last resource is not configured here, or is another database than it was
};

/// The incarnation in the branch's name (rule 2).
enum class IncarnationIs {
  live,            ///< this process's own
  gone,            ///< opened by this log at its present place, and over
  gone_log_moved,  ///< over, or perhaps alive elsewhere: the log was copied or restored, and nobody has adopted it
  gone_adopted,    ///< over: the log is a copy, and a person adopted it
  unknown,         ///< not in the log's list
};

/// What the engine says of a transaction of the live incarnation.
enum class EngineSays {
  active,                ///< running, or in a phase that the engine itself still drives
  decided,               ///< the decision is durable; the engine has left what is pending to recovery
  in_doubt,              ///< the force of the decision failed or was cut off (rule 4)
  rollback_unconfirmed,  ///< rolled back, but not every rollback answered (rule 6)
  over,                  ///< the engine knows it no more
};

/// What the database says of the branch.
enum class DatabaseSays {
  listed,       ///< prepared
  committed,    ///< not listed; the witness says committed
  rolled_back,  ///< not listed; the witness says rolled back
  in_progress,  ///< not listed; running, prepared or hidden all the same
  no_evidence,  ///< not listed; and nothing else is known
  unreachable,  ///< cannot be asked now
};

/// Whether the configured resource is the database that the log means (rule 8).
enum class IdentityIs {
  same,
  changed,         ///< another database stands behind the name
  shared,          ///< two configured resources are this one database
  not_recorded,    ///< the log has no identity under that name
  not_configured,  ///< no configured resource has that name, now or formerly
};

struct Evidence {
  Owner owner = Owner::foreign;
  LogSays log = LogSays::nothing;
  IncarnationIs incarnation = IncarnationIs::unknown;
  EngineSays engine = EngineSays::active;  ///< of no meaning unless the incarnation is live
  DatabaseSays database = DatabaseSays::unreachable;
  IdentityIs identity = IdentityIs::not_recorded;
  bool ours_to_finish = true;  ///< false: the database lists it for another owner or another of its databases
  bool carrier_gone = false;   ///< proven, and before the listing that does not show the branch
};

enum class Verdict {
  commit,        ///< decided; to be committed
  roll_back,     ///< presumed aborted, or its rollback was not confirmed
  finished,      ///< positive evidence: nothing is left to do
  wait,          ///< the evidence does not suffice now; ask again
  leave,         ///< not ours to settle, or somebody is at it
  heuristic,     ///< the database went the other way
  resurrected,   ///< finished long ago, and prepared again: a restored database
  needs_person,  ///< the evidence will not get better by itself
};

enum class Action { none, commit, roll_back };

/// What to do, and the rule that says so.
struct Resolution {
  Verdict verdict = Verdict::wait;
  Action action = Action::none;  ///< may be commit where the verdict is not: a decided commit can always be repeated
  int rule = 0;                  ///< of docs/ARCHITECTURE.md's safety rules
  std::string_view text;         ///< one sentence for people; static storage

  bool needs_person() const {
    return verdict == Verdict::heuristic || verdict == Verdict::resurrected || verdict == Verdict::needs_person;
  }
};

/// The decision table, the only place that says what becomes of a branch in doubt. Pure.
Resolution resolve(const Evidence& evidence);

/// What may be said to the database together with the action: that a session which still carries the branch may be
/// ended. Only of incarnations that are gone for certain: where the log was copied, the original may be alive.
FinishOptions finish_options(const Evidence& evidence);

std::string_view to_string(Owner owner);
std::string_view to_string(LogSays log);
std::string_view to_string(IncarnationIs incarnation);
std::string_view to_string(EngineSays engine);
std::string_view to_string(DatabaseSays database);
std::string_view to_string(IdentityIs identity);
std::string_view to_string(Verdict verdict);
std::string_view to_string(Action action);

}  // namespace assent
