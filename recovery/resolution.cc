#include "assent/recovery/resolution.h"

#include <array>
#include <cstdint>

namespace assent {
namespace {

using Mask = std::uint8_t;

template <class... Enum>
constexpr Mask of(Enum... values) {
  return static_cast<Mask>((0U | ... | (1U << static_cast<unsigned>(values))));
}
constexpr bool has(Mask mask, auto value) {
  return (mask & of(value)) != 0;
}

constexpr Mask any = 0xFF;

// One row: what it applies to, and what follows. The first row that applies counts.
struct Row {
  Mask owner = any;
  Mask log = any;
  Mask incarnation = any;
  Mask engine = any;
  Mask database = any;
  Mask identity = any;
  Mask ours_to_finish = any;
  Mask carrier_gone = any;
  Resolution resolution;
};

constexpr Mask live = of(IncarnationIs::live);
constexpr Mask gone = of(IncarnationIs::gone, IncarnationIs::gone_adopted);
constexpr Mask past =
    of(IncarnationIs::gone, IncarnationIs::gone_adopted, IncarnationIs::gone_log_moved, IncarnationIs::unknown);
constexpr Mask of_a_copy = of(IncarnationIs::gone_log_moved, IncarnationIs::gone_adopted);
constexpr Mask listed = of(DatabaseSays::listed);

// Invariants, each checked over every combination by tests/unit/resolution:
//   roll_back only where the log has no decision, its incarnation is gone and presumable, or live with the engine's
//   word that it rolled back; commit only where the log has the decision; no action at all for another decider's
//   branch, for a running transaction, under an identity that is not proven the same, or where the listing says that
//   the branch is not ours to finish; `finished` never without positive evidence.
constexpr std::array table{
    // Another decider's.
    Row{.owner = of(Owner::foreign),
        .resolution = {Verdict::leave, Action::none, 1,
                       "not one of Assent's: another party's branch is never touched"}},
    Row{.owner = of(Owner::unknown_log),
        .resolution = {Verdict::leave, Action::none, 1,
                       "its decider is a log that this node does not have; only that log can settle it"}},
    Row{.owner = of(Owner::held_elsewhere),
        .resolution = {Verdict::leave, Action::none, 1, "its decider is the log of a live process, which settles it"}},
    Row{.owner = of(Owner::unheld_slot),
        .resolution = {Verdict::leave, Action::none, 9,
                       "its decider's slot is held by nobody; whoever adopts the slot settles it"}},

    // The engine is at it.
    Row{.incarnation = live,
        .engine = of(EngineSays::active),
        .resolution = {Verdict::leave, Action::none, 2, "the transaction is running in this process"}},
    Row{.incarnation = live,
        .engine = of(EngineSays::in_doubt),
        .resolution = {Verdict::wait, Action::none, 4,
                       "in doubt until the log is opened again, or the last resource that decides it answers"}},

    // Is this the database that the log means?
    Row{.identity = of(IdentityIs::changed),
        .resolution = {Verdict::needs_person, Action::none, 8,
                       "another database stands behind the resource's name than the one the log recorded"}},
    Row{.identity = of(IdentityIs::shared),
        .resolution = {Verdict::needs_person, Action::none, 8, "two configured resources are one database"}},
    Row{.identity = of(IdentityIs::not_configured),
        .resolution = {Verdict::needs_person, Action::none, 8,
                       "no resource of that name is configured, now or formerly"}},
    Row{.database = of(DatabaseSays::unreachable),
        .resolution = {Verdict::wait, Action::none, 7, "the database cannot be asked now"}},
    Row{.identity = of(IdentityIs::not_recorded),
        .resolution = {Verdict::needs_person, Action::none, 8,
                       "the log never recorded which database stands behind the resource's name"}},
    Row{.database = listed,
        .ours_to_finish = of(false),
        .resolution = {Verdict::needs_person, Action::none, 8,
                       "the database lists it for another owner or another of its databases, so it cannot be finished "
                       "from here"}},

    // Over, with positive evidence, long ago.
    Row{.log = of(LogSays::finished),
        .database = listed,
        .resolution = {Verdict::resurrected, Action::none, 5,
                       "the transaction was over, and the branch is prepared again: a restored database"}},
    Row{.log = of(LogSays::finished),
        .resolution = {Verdict::finished, Action::none, 5, "every branch gave positive evidence before"}},

    // A last resource decides it, and does not say.
    Row{.log = of(LogSays::silent),
        .resolution = {Verdict::wait, Action::none, 1, "the last resource that decides it cannot be asked now"}},
    Row{.log = of(LogSays::missing),
        .resolution = {Verdict::needs_person, Action::none, 8,
                       "the last resource that decides it is not configured here, or is another database than it was"}},

    // Decided: commit.
    Row{.log = of(LogSays::decided),
        .incarnation = live,
        .engine = of(EngineSays::rollback_unconfirmed),
        .resolution = {Verdict::needs_person, Action::none, 4,
                       "a decision to commit is recorded, and the engine says it rolled back"}},
    Row{.log = of(LogSays::decided),
        .database = listed,
        .resolution = {Verdict::commit, Action::commit, 1, "the decision to commit is recorded"}},
    Row{.log = of(LogSays::decided),
        .database = of(DatabaseSays::committed),
        .resolution = {Verdict::finished, Action::none, 7, "decided, and the witness says committed"}},
    Row{.log = of(LogSays::decided),
        .incarnation = of_a_copy,
        .database = of(DatabaseSays::rolled_back),
        .resolution = {Verdict::needs_person, Action::commit, 7,
                       "decided, and no witness says committed; but the log is a copy, and its original may have "
                       "committed the branch and swept the witness"}},
    Row{.log = of(LogSays::decided),
        .database = of(DatabaseSays::rolled_back),
        .resolution = {Verdict::heuristic, Action::none, 7,
                       "decided to commit, and the witness says that the database rolled it back"}},
    Row{.log = of(LogSays::decided),
        .database = of(DatabaseSays::in_progress),
        .resolution = {Verdict::wait, Action::commit, 7,
                       "decided, not listed, and still in progress: a prepared branch that the server hides"}},
    Row{.log = of(LogSays::decided),
        .database = of(DatabaseSays::no_evidence),
        .resolution = {Verdict::needs_person, Action::commit, 7,
                       "decided, and neither the list of prepared branches nor a witness knows the branch: it may have "
                       "been committed, or lost"}},

    // No decision, in the live incarnation.
    Row{.incarnation = live,
        .engine = of(EngineSays::decided),
        .resolution = {Verdict::wait, Action::none, 6,
                       "the engine decided it, and the decision has left the log since: it was finished meanwhile"}},
    Row{.incarnation = live,
        .engine = of(EngineSays::over),
        .database = listed,
        .resolution = {Verdict::resurrected, Action::none, 5,
                       "the engine is done with the transaction, and the branch is prepared: a restored database"}},
    Row{.incarnation = live,
        .engine = of(EngineSays::over),
        .resolution = {Verdict::finished, Action::none, 6, "the engine is done with the transaction"}},
    Row{.incarnation = live,
        .engine = of(EngineSays::rollback_unconfirmed),
        .database = listed,
        .resolution = {Verdict::roll_back, Action::roll_back, 6,
                       "rolled back by the engine, which got no answer; the branch is still prepared"}},
    Row{.incarnation = live,
        .engine = of(EngineSays::rollback_unconfirmed),
        .database = of(DatabaseSays::committed),
        .resolution = {Verdict::heuristic, Action::none, 7,
                       "rolled back by the engine, and the witness says that the database committed it"}},
    Row{.incarnation = live,
        .engine = of(EngineSays::rollback_unconfirmed),
        .database = of(DatabaseSays::in_progress),
        .resolution = {Verdict::wait, Action::none, 6, "rolled back by the engine, and still in progress"}},
    Row{.incarnation = live,
        .engine = of(EngineSays::rollback_unconfirmed),
        .carrier_gone = of(true),
        .resolution = {Verdict::finished, Action::none, 6,
                       "not prepared, and the session that could still prepare it is proven gone"}},
    Row{.incarnation = live,
        .engine = of(EngineSays::rollback_unconfirmed),
        .resolution = {Verdict::wait, Action::none, 6,
                       "not prepared now, but the session that carries it may still prepare it"}},

    // No decision, in an incarnation of the past.
    Row{.incarnation = of(IncarnationIs::unknown),
        .resolution = {Verdict::needs_person, Action::none, 2,
                       "the log does not know the incarnation, so it presumes nothing"}},
    Row{.incarnation = of(IncarnationIs::gone_log_moved),
        .resolution = {Verdict::needs_person, Action::none, 2,
                       "the log was copied or restored since, so it presumes nothing until a person adopts it"}},
    Row{.log = of(LogSays::barred),
        .incarnation = gone,
        .database = listed,
        .resolution = {Verdict::roll_back, Action::roll_back, 1,
                       "the last resource that decides it did not commit, and never can"}},
    Row{.incarnation = gone,
        .database = listed,
        .resolution = {Verdict::roll_back, Action::roll_back, 2,
                       "its incarnation is gone and left no decision: presumed aborted"}},
    Row{.incarnation = gone,
        .database = of(DatabaseSays::committed),
        .resolution = {Verdict::heuristic, Action::none, 7,
                       "it left no decision, and was committed all the same by somebody else"}},
    Row{.incarnation = gone,
        .resolution =
            {Verdict::wait, Action::none, 6,
             "no decision, and not prepared now; one empty scan proves nothing, a late prepare is rolled back "
             "by a later pass"}},
};

bool applies(const Row& row, const Evidence& e) {
  return has(row.owner, e.owner) && has(row.log, e.log) && has(row.incarnation, e.incarnation) &&
         has(row.engine, e.engine) && has(row.database, e.database) && has(row.identity, e.identity) &&
         has(row.ours_to_finish, e.ours_to_finish) && has(row.carrier_gone, e.carrier_gone);
}

}  // namespace

Resolution resolve(const Evidence& evidence) {
  // Never: that the table ends without a row is ruled out by a test over every combination.
  for (const Row& row : table) {
    if (applies(row, evidence)) return row.resolution;
  }
  return {Verdict::needs_person, Action::none, 0, "no row of the decision table applies"};
}

FinishOptions finish_options(const Evidence& evidence) {
  return {.carrier_is_dead = evidence.owner == Owner::in_hand && has(gone, evidence.incarnation)};
}

std::string_view to_string(Owner owner) {
  switch (owner) {
    case Owner::foreign:
      return "foreign";
    case Owner::unknown_log:
      return "unknown log";
    case Owner::held_elsewhere:
      return "log of a live process";
    case Owner::unheld_slot:
      return "log of an abandoned slot";
    case Owner::in_hand:
      return "log in hand";
  }
  return "?";
}

std::string_view to_string(LogSays log) {
  switch (log) {
    case LogSays::nothing:
      return "no decision";
    case LogSays::decided:
      return "decided to commit";
    case LogSays::finished:
      return "finished";
    case LogSays::barred:
      return "not committed by its last resource";
    case LogSays::silent:
      return "decided by a last resource that cannot be asked now";
    case LogSays::missing:
      return "decided by a last resource that is not here";
  }
  return "?";
}

std::string_view to_string(IncarnationIs incarnation) {
  switch (incarnation) {
    case IncarnationIs::live:
      return "live";
    case IncarnationIs::gone:
      return "gone";
    case IncarnationIs::gone_adopted:
      return "gone, of a copy that was adopted";
    case IncarnationIs::gone_log_moved:
      return "gone, and the log was moved";
    case IncarnationIs::unknown:
      return "unknown to the log";
  }
  return "?";
}

std::string_view to_string(EngineSays engine) {
  switch (engine) {
    case EngineSays::active:
      return "active";
    case EngineSays::decided:
      return "decided, left to recovery";
    case EngineSays::in_doubt:
      return "in doubt";
    case EngineSays::rollback_unconfirmed:
      return "rolled back, unconfirmed";
    case EngineSays::over:
      return "over";
  }
  return "?";
}

std::string_view to_string(DatabaseSays database) {
  switch (database) {
    case DatabaseSays::listed:
      return "prepared";
    case DatabaseSays::committed:
      return "not prepared; the witness says committed";
    case DatabaseSays::rolled_back:
      return "not prepared; the witness says rolled back";
    case DatabaseSays::in_progress:
      return "not listed, but in progress";
    case DatabaseSays::no_evidence:
      return "not prepared, and no witness";
    case DatabaseSays::unreachable:
      return "cannot be asked now";
  }
  return "?";
}

std::string_view to_string(IdentityIs identity) {
  switch (identity) {
    case IdentityIs::same:
      return "the database that the log recorded";
    case IdentityIs::changed:
      return "another database than the log recorded";
    case IdentityIs::shared:
      return "the same database as another resource";
    case IdentityIs::not_recorded:
      return "not recorded in the log";
    case IdentityIs::not_configured:
      return "not configured";
  }
  return "?";
}

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::commit:
      return "commit";
    case Verdict::roll_back:
      return "roll back";
    case Verdict::finished:
      return "finished";
    case Verdict::wait:
      return "wait";
    case Verdict::leave:
      return "leave";
    case Verdict::heuristic:
      return "heuristic";
    case Verdict::resurrected:
      return "resurrected";
    case Verdict::needs_person:
      return "needs person";
  }
  return "?";
}

std::string_view to_string(Action action) {
  switch (action) {
    case Action::none:
      return "nothing";
    case Action::commit:
      return "commit";
    case Action::roll_back:
      return "roll back";
  }
  return "?";
}

}  // namespace assent
