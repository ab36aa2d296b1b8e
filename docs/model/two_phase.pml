/* Two-phase commit with presumed abort, its decision log and its recovery, as Assent does them. README.md tells more.
 *
 * Guarded commands: one process, whose every step picks one rule that applies. A rule is one indivisible moment of one
 * party: a database, the engine, recovery, a disk, or misfortune; anything else can happen between two rules. When no
 * rule applies, the faults are spent and everybody has done all he can: then everything must be over.
 *
 * Sizes and planted mistakes come by -D; scripts/model-check names the configurations.
 */

#ifndef RMS
#define RMS 2 /* resource managers, 2 to 4 */
#endif
#ifndef OWNERS
#define OWNERS 1 /* the last so many let nobody but the owner's session finish a branch while it lives (MariaDB) */
#endif
#ifndef TXS
#define TXS 1 /* transactions, 1 or 2 */
#endif
#ifndef SLOTS
#define SLOTS 1 /* log slots, 1 or 2; a process that finds them held has one elsewhere, with nothing in it */
#endif
#ifndef FAULTS
#define FAULTS 2 /* in all: kills, power cuts, database crashes, lost messages, failed forces */
#endif

/* What must hold, and what to say when it does not. */
#define promise(condition, words) \
  if \
  :: condition \
  :: else -> printf(words); assert(false) \
  fi

/* Mistakes are convicted by the harm they do: what only restates a rule is not looked at then. */
#if defined(PRESUME_AFTER_LOST_LOG) || defined(ROLL_BACK_LIVE) || defined(ACT_BEFORE_SYNC) || \
  defined(TRUNCATE_ON_NOT_FOUND) || defined(ONE_EMPTY_SCAN) || defined(OPEN_WITHOUT_SYNC) || \
  defined(TOUCH_OTHERS) || defined(ROLL_BACK_FAILED_FORCE) || defined(COPY_OF_PAGE_CACHE)
#define obeys(rule, words) skip
#else
#define obeys(rule, words) promise(rule, words)
#endif

#ifdef COPY
#define LOGS (SLOTS + 1)
#define THE_COPY SLOTS /* of slot 0's log: it names the same decider; in the hands of another machine's process */
#else
#define LOGS SLOTS
#define THE_COPY LOGS
#endif
#define PROCESSES 2
#define ANOTHER_MACHINE (PROCESSES + 1)

#define B(t, i) ((t) * RMS + (i))                   /* transaction t's branch in resource manager i */
#define LB(l, t, i) (((l) * TXS + (t)) * RMS + (i)) /* the same, in recovery's pass over log l */
#define LT(l, t) ((l) * TXS + (t))                  /* transaction t in log l */
#define owner_only(i) ((i) >= RMS - OWNERS)

mtype = {
  /* A branch in its database: working (in its session), prepared, committed, rolled_back.
     As the engine sees it (tm/protocol/two_phase.h): preparing ... in_doubt. */
  working, preparing, prepared, committing, committed, pending, rolling_back, rolled_back, unconfirmed, in_doubt,
  /* A transaction: preparing, forcing, committing, rolling_back while the engine drives it; afterwards what the engine
     says of it: decided, in_doubt, unconfirmed, over. gone: its incarnation is. */
  unborn, forcing, over, gone, still_active, /* still_active: recovery's word for all four of the former */
  nothing, decided, finished,      /* what a log says */
  none, prepare, commit, rollback, /* on its way to a database */
  /* A branch in a recovery pass. */
  idle, unasked, listed, absent, unreachable, again, again_carrier_gone, to_commit, to_roll_back, resurrected, done,
  left, proven, clear,
  /* A recovery pass. The order is safety rule 6. */
  listing, reading_log, asking_engine_late, working_on_sites, marking
};

/* The databases. */
mtype db[TXS * RMS] = working;
bit session[TXS * RMS];          /* the server still has the session that carries the branch */
mtype request[TXS * RMS] = none; /* sent by the engine, not yet executed */
bit up[RMS] = 1;

/* The engines. A transaction's incarnation is live until it is `gone`: no number is needed. */
mtype phase[TXS] = unborn;
mtype tm[TXS * RMS] = working;
byte slot_of[TXS];
mtype told[TXS] = none; /* the application: committed, rolled_back, in_doubt */
bit alive[PROCESSES] = 1;

/* The logs: what the holder knows, what the page cache has, what the disk has. */
mtype mem[LOGS * TXS] = nothing;
mtype cache[LOGS * TXS] = nothing;
mtype disk[LOGS * TXS] = nothing;
bit moved[LOGS];   /* a copy, or restored: presumes nothing (rule 2) */
byte holder[LOGS]; /* process + 1; 0: nobody */
bit live[LOGS];    /* the holder began an incarnation in it; else it adopted the slot */

/* Recovery: one pass at a time over each log, by its holder. */
mtype stage[LOGS] = idle;
mtype seen[LOGS * TXS * RMS] = idle;
mtype engine_says[LOGS * TXS] = idle;
mtype log_says[LOGS * TXS] = idle;
bit news[LOGS] = 1; /* since the last pass began; a pass over an unchanged world would find and do the same again */

byte faults = FAULTS;
bit was_durable[TXS]; /* the decision was on disk once */

/* Scratch of one rule, no part of a state. Breadth-first search knows no hidden variables: there settle() clears them. */
#ifdef BREADTH_FIRST
#define scratch
#else
#define scratch hidden
#endif
scratch byte j, k, m, process;
scratch mtype what = idle;
scratch mtype verdict = idle;

#define running(t) (phase[t] != unborn && phase[t] != gone)
#define driven(t) \
  (phase[t] == preparing || phase[t] == forcing || phase[t] == committing || phase[t] == rolling_back)
#define is_live_in(l, t) (running(t) && (l) == slot_of[t])
#define truly_decides(l, t) (phase[t] != unborn && ((l) == slot_of[t] || (l) == THE_COPY))
#ifdef TOUCH_OTHERS
#define decides(l, t) (phase[t] != unborn)
#else
#define decides(l, t) truly_decides(l, t)
#endif

#if RMS == 2
#define all_branches(t, is) (tm[B(t, 0)] == is && tm[B(t, 1)] == is)
#define no_branch(t, is) (tm[B(t, 0)] != is && tm[B(t, 1)] != is)
#define each_seen(l, t, is) (seen[LB(l, t, 0)] == is && seen[LB(l, t, 1)] == is)
#define none_seen(l, t, is) (seen[LB(l, t, 0)] != is && seen[LB(l, t, 1)] != is)
#define each_up (up[0] && up[1])
#elif RMS == 3
#define all_branches(t, is) (tm[B(t, 0)] == is && tm[B(t, 1)] == is && tm[B(t, 2)] == is)
#define no_branch(t, is) (tm[B(t, 0)] != is && tm[B(t, 1)] != is && tm[B(t, 2)] != is)
#define each_seen(l, t, is) (seen[LB(l, t, 0)] == is && seen[LB(l, t, 1)] == is && seen[LB(l, t, 2)] == is)
#define none_seen(l, t, is) (seen[LB(l, t, 0)] != is && seen[LB(l, t, 1)] != is && seen[LB(l, t, 2)] != is)
#define each_up (up[0] && up[1] && up[2])
#else
#define all_branches(t, is) (tm[B(t, 0)] == is && tm[B(t, 1)] == is && tm[B(t, 2)] == is && tm[B(t, 3)] == is)
#define no_branch(t, is) (tm[B(t, 0)] != is && tm[B(t, 1)] != is && tm[B(t, 2)] != is && tm[B(t, 3)] != is)
#define each_seen(l, t, is) \
  (seen[LB(l, t, 0)] == is && seen[LB(l, t, 1)] == is && seen[LB(l, t, 2)] == is && seen[LB(l, t, 3)] == is)
#define none_seen(l, t, is) \
  (seen[LB(l, t, 0)] != is && seen[LB(l, t, 1)] != is && seen[LB(l, t, 2)] != is && seen[LB(l, t, 3)] != is)
#define each_up (up[0] && up[1] && up[2] && up[3])
#endif

/* What Assent promises, looked at whenever a branch ends or an application is told something. */
inline keeps_promises(t) {
  for (m : 0 .. RMS - 1) {
    for (k : 0 .. RMS - 1) {
      promise(!(db[B(t, m)] == committed && db[B(t, k)] == rolled_back),
              "BROKEN: atomicity, one branch is committed and another rolled back\n")
    }
    promise(!(db[B(t, m)] == rolled_back && told[t] == committed),
            "BROKEN: the application was told committed, and a branch is rolled back\n");
    promise(!(db[B(t, m)] == committed && told[t] == rolled_back),
            "BROKEN: the application was told rolled back, and a branch is committed\n");
    obeys(!(db[B(t, m)] == committed && !was_durable[t]),
          "BROKEN: a branch is committed by a decision that was never on disk\n")
  }
}

/* When no rule applies any more. What a lost log leaves undecided is for a person. */
#define is_for_a_person(t) (moved[slot_of[t]] && mem[LT(slot_of[t], t)] == nothing)

inline everything_is_over(t) {
  for (j : 0 .. RMS - 1) {
    promise(phase[t] == unborn || db[B(t, j)] == committed || db[B(t, j)] == rolled_back || is_for_a_person(t),
            "BROKEN: a branch never ends\n");
    promise(!session[B(t, j)], "BROKEN: a session is left behind\n")
  }
  promise(cache[LT(slot_of[t], t)] != decided, "BROKEN: a decision never leaves the log\n")
}

#include "symmetry.pml"
#include "databases.pml"
#include "engine.pml"
#include "log.pml"
#include "recovery.pml"

/* Rules of one branch, transaction, log, … for all there are. */
#if RMS == 2
#define for_rms(rule) :: rule(0) :: rule(1)
#define for_rms1(rule, a) :: rule(a, 0) :: rule(a, 1)
#define for_rms2(rule, a, b) :: rule(a, b, 0) :: rule(a, b, 1)
#elif RMS == 3
#define for_rms(rule) :: rule(0) :: rule(1) :: rule(2)
#define for_rms1(rule, a) :: rule(a, 0) :: rule(a, 1) :: rule(a, 2)
#define for_rms2(rule, a, b) :: rule(a, b, 0) :: rule(a, b, 1) :: rule(a, b, 2)
#else
#define for_rms(rule) :: rule(0) :: rule(1) :: rule(2) :: rule(3)
#define for_rms1(rule, a) :: rule(a, 0) :: rule(a, 1) :: rule(a, 2) :: rule(a, 3)
#define for_rms2(rule, a, b) :: rule(a, b, 0) :: rule(a, b, 1) :: rule(a, b, 2) :: rule(a, b, 3)
#endif
#if TXS == 1
#define for_txs(rule) :: rule(0)
#define for_branches(rule) for_rms1(rule, 0)
#define for_seen_in(rule, l) for_rms2(rule, l, 0)
#else
#define for_txs(rule) :: rule(0) :: rule(1)
#define for_branches(rule) for_rms1(rule, 0) for_rms1(rule, 1)
#define for_seen_in(rule, l) for_rms2(rule, l, 0) for_rms2(rule, l, 1)
#endif
#if LOGS == 1
#define for_logs(rule) :: rule(0)
#define for_logs_rms(rule) for_rms1(rule, 0)
#define for_seen(rule) for_seen_in(rule, 0)
#else
#define for_logs(rule) :: rule(0) :: rule(1)
#define for_logs_rms(rule) for_rms1(rule, 0) for_rms1(rule, 1)
#define for_seen(rule) for_seen_in(rule, 0) for_seen_in(rule, 1)
#endif
#if SLOTS == 1
#define for_slots(rule) :: rule(0)
#define for_processes_slots(rule) :: rule(0, 0) :: rule(1, 0)
#else
#define for_slots(rule) :: rule(0) :: rule(1)
#define for_processes_slots(rule) :: rule(0, 0) :: rule(1, 0) :: rule(0, 1) :: rule(1, 1)
#endif

active proctype world() {
  d_step {
    holder[0] = 1;
    live[0] = 1;
#if SLOTS == 2
    holder[1] = 2;
    live[1] = 1;
#endif
    begin_in(0, 0);
    settle()
  }
  do
  for_branches(prepares)
  for_branches(votes_no)
  for_branches(commits)
  for_branches(rolls_back)
  for_branches(ends_session)
  for_branches(breaks_connection)
  for_rms(crashes)
  for_rms(restarts)

#if TXS == 2
  for_slots(begins_the_second)
#endif
  for_txs(aborts)
  for_txs(writes_decision)
  for_txs(syncs_decision)
  for_txs(force_is_refused)
  for_txs(force_is_uncertain)
  for_txs(ends_committed)
  for_txs(ends_rolled_back)

  :: is_killed(0) :: is_killed(1)
  :: opens(0) :: opens(1)
  :: loses_power_but_no_writes()
  :: loses_power_and_writes()
  for_slots(is_closed)
  for_processes_slots(adopts)
  for_logs(flushes)
#ifdef COPY
  :: is_copied()
  :: is_restored()
#endif

  for_logs(begins_pass)
  for_logs_rms(lists)
  for_logs_rms(lists_in_vain)
  for_logs(asks_engine)
  for_logs(reads_log)
  for_logs(asks_engine_late)
  for_seen(weighs)
  for_seen(lists_again)
  for_seen(commits_recovered)
  for_seen(rolls_back_recovered)
  for_seen(finishes_unheard)
  for_logs(ends_pass)
#if TXS == 1
  for_logs(goes_on_to_mark)
  for_seen(proves_carrier_gone)
  for_seen(sees_nothing_left)
  for_logs(raises_mark)
#endif

  :: else ->
    d_step {
      everything_is_over(0);
#if TXS == 2
      everything_is_over(1)
#endif
    }
    break
  od
}
