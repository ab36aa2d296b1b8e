/* A last resource: the others are prepared, then it commits in one phase, with the decision as a row of its own; no log
 * is written. Recovery asks for the row, and where there is none, bars the commit by the opposite row before it rolls
 * anything back. Guarded commands as in two_phase.pml; README.md tells more.
 *
 * What the engine leaves undone is always taken up by the next incarnation here; that the live one does it as well, the
 * late prepare, and the mark are looked at in two_phase.pml.
 */

#ifndef RMS
#define RMS 2 /* those that are prepared, 1 or 2; the last resource comes on top */
#endif
#ifndef FAULTS
#define FAULTS 4 /* in all: kills, crashes, lost messages, sessions that are slow to end */
#endif
/* -DROW_AT_START: its branch holds its row's lock from the start (MySQL, SQLite), so that a bar waits for the branch.
 * Else it inserts the row when it commits (PostgreSQL), and a bar goes in at once. */

#define promise(condition, words) \
  if \
  :: condition \
  :: else -> printf(words); assert(false) \
  fi

mtype = {
  /* A branch in its database, and as the engine sees it. */
  working, preparing, prepared, committing, committed, pending, rolling_back, rolled_back, unconfirmed,
  /* The transaction. left: the engine is done, and something is not. gone: its incarnation is. */
  deciding, settling, in_doubt, left, over, gone,
  none, prepare, commit, rollback, decide, /* on its way to a database */
  nothing, decided, barred,                /* the row; what recovery knows of the decision */
  finished, recovered,                     /* the log's word: over, and over by recovery's doing */
  /* Recovery. */
  idle, unasked, listed, absent, unreachable, again, silent, asking_log, ending_carrier, asking, working_on_sites,
  forgetting, proving, done
};

/* The last resource. */
mtype last = working;
mtype row = nothing;
bit last_session = 1;
mtype last_request = none;
bit last_up = 1;

/* The others. */
mtype db[RMS] = working;
bit session[RMS] = 1;
mtype request[RMS] = prepare;
bit up[RMS] = 1;

/* The process: engine, and what its log says. */
mtype phase = preparing;
mtype tm[RMS] = preparing;
mtype told = none;
bit alive = 1;
mtype mem = nothing;
mtype disk = nothing;

/* Recovery's pass, and somebody who asks for the outcome meanwhile, once. */
mtype stage = idle;
mtype seen[RMS] = idle;
mtype seen_row = idle;
mtype says = idle;
bit news = 1;
mtype asker = unasked;

byte faults = FAULTS;
byte j = 0; /* scratch of one rule */

#if RMS == 1
#define all_are(what, is) (what[0] == is)
#define none_is(what, is) (what[0] != is)
#else
#define all_are(what, is) (what[0] == is && what[1] == is)
#define none_is(what, is) (what[0] != is && what[1] != is)
#endif

/* The question for the row can be answered now. */
#ifdef ROW_AT_START
#define can_settle (last_up && !(last == working && last_session))
#else
#define can_settle last_up
#endif

#define drives (phase == preparing || phase == deciding || phase == committing || phase == rolling_back)

inline settled() { j = 0 }
inline changed() {
  news = 1;
  settled()
}

inline keeps_promises() {
  for (j : 0 .. RMS - 1) {
    promise(!(db[j] == committed && last != committed), "BROKEN: a branch is committed, and its last resource is not\n");
    promise(!(db[j] == rolled_back && last == committed),
            "BROKEN: a branch is rolled back, and its last resource is committed\n")
  }
  promise(!(told == committed && last != committed), "BROKEN: told committed, and the last resource is not\n");
  promise(!(told == rolled_back && last == committed), "BROKEN: told rolled back, and the last resource is committed\n")
}

inline tell(what) {
  promise(told == none || told == what, "BROKEN: told one thing, and then another\n");
  told = what;
  keeps_promises()
}

/* The engine: tm/protocol/two_phase.cc. */

inline send(i, verb, meanwhile, in_vain) {
  if
  :: session[i] -> request[i] = verb; tm[i] = meanwhile
  :: else -> tm[i] = in_vain
  fi
}

inline send_to_prepared(verb, meanwhile, in_vain) {
  for (j : 0 .. RMS - 1) {
    if
    :: tm[j] == prepared -> send(j, verb, meanwhile, in_vain)
    :: else
    fi
  }
}

/* An application that goes on at the decision is told now. */
inline is_decided() {
  phase = committing;
  send_to_prepared(commit, committing, pending);
  tell(committed)
}

inline rolls_back() {
  phase = rolling_back;
  send_to_prepared(rollback, rolling_back, unconfirmed);
  tell(rolled_back)
}

inline aborts() {
  d_step {
    phase == preparing && !all_are(tm, prepared) ->
    printf("engine      a vote is no or lost, or the deadline passes: rolls back\n");
    rolls_back();
    changed()
  }
}

inline sends_decision() {
  d_step {
    phase == preparing && all_are(tm, prepared) ->
    if
    :: last_session ->
      printf("engine      all others are prepared: asks the last resource to commit with the decision\n");
      phase = deciding;
      last_request = decide
    :: else ->
      printf("engine      the last resource's session is lost: rolls back\n");
      rolls_back()
    fi;
    changed()
  }
}

/* Its answer was lost: its row tells. The session is closed, and what it was sent may still arrive. */
inline asks_for_row() {
  d_step {
    (phase == settling || (phase == in_doubt && can_settle)) ->
    if
    :: !can_settle -> printf("engine      the last resource cannot say yet: in doubt\n"); phase = in_doubt
    :: can_settle && row == decided -> printf("engine      its row is there: decided\n"); is_decided()
    :: can_settle && row != decided ->
      printf("engine      bars its commit, and rolls back\n");
      row = barred;
      rolls_back()
    fi;
    changed()
  }
}

inline ends() {
  d_step {
    (phase == committing && none_is(tm, committing)) ||
      (phase == rolling_back && none_is(tm, preparing) && none_is(tm, rolling_back)) ->
    if
    :: none_is(tm, pending) && none_is(tm, unconfirmed) ->
      printf("engine      is done with it, and tells the log\n");
      phase = over;
      mem = finished
    :: else -> printf("engine      leaves the rest to recovery\n"); phase = left
    fi;
    for (j : 0 .. RMS - 1) { tm[j] = working }
    changed()
  }
}

/* tm/witness_sweeper.cc: the log's word is on disk before the row goes. */
inline engine_flushes() {
  d_step {
    alive && phase == over && disk == nothing ->
    printf("log         that it is over is on disk\n");
    disk = mem;
    changed()
  }
}

inline sweeps() {
  d_step {
    alive && phase == over && row == decided && disk != nothing && last_up ->
    printf("engine      removes the row\n");
    row = nothing;
    changed()
  }
}

/* The databases. */

inline drop_session(i) {
  session[i] = 0;
  request[i] = none;
  if
  :: db[i] == working -> db[i] = rolled_back
  :: else
  fi
}

inline drop_last_session() {
  last_session = 0;
  last_request = none;
  if
  :: last == working -> last = rolled_back
  :: else
  fi
}

/* Also long after the engine gave the connection up, or died: the late commit. */
inline last_commits() {
  d_step {
    last_request == decide && last_up ->
    last_request = none;
    if
    :: row == barred ->
      printf("last        finds its commit barred, and rolls back\n");
      last = rolled_back;
      if
      :: phase == deciding -> rolls_back()
      :: else
      fi
    :: else ->
      printf("last        commits, with the row\n");
      last = committed;
      row = decided;
      keeps_promises();
      if
      :: phase == deciding -> is_decided()
      :: else
      fi
    fi;
    last_session = 0; /* it carries nothing any more */
    changed()
  }
}

inline last_refuses() {
  d_step {
    last_request == decide && last_up && phase == deciding ->
    printf("last        refuses, and rolls back\n");
    drop_last_session();
    rolls_back();
    changed()
  }
}

inline prepares(i) {
  d_step {
    request[i] == prepare && up[i] ->
    printf("database %d  prepares\n", i);
    request[i] = none;
    db[i] = prepared;
    if
    :: tm[i] == preparing && phase == preparing -> tm[i] = prepared
    :: tm[i] == preparing && phase == rolling_back -> send(i, rollback, rolling_back, unconfirmed)
    :: else
    fi;
    changed()
  }
}

inline votes_no(i) {
  d_step {
    request[i] == prepare && up[i] && tm[i] == preparing ->
    printf("database %d  votes no and rolls back\n", i);
    drop_session(i);
    tm[i] = rolled_back;
    changed()
  }
}

inline finishes(i) {
  d_step {
    (request[i] == commit || request[i] == rollback) && up[i] ->
    printf("database %d  is asked by its own session to %e\n", i, request[i]);
    if
    :: db[i] == prepared && request[i] == commit -> db[i] = committed
    :: db[i] == prepared && request[i] == rollback -> db[i] = rolled_back
    :: else /* recovery came first */
    fi;
    if
    :: tm[i] == committing -> tm[i] = committed
    :: tm[i] == rolling_back -> tm[i] = rolled_back
    :: else
    fi;
    request[i] = none;
    session[i] = 0;
    keeps_promises();
    changed()
  }
}

inline ends_session(i) {
  d_step {
    session[i] && up[i] && (!drives || tm[i] == unconfirmed || tm[i] == pending) ->
    printf("database %d  notices that its client is gone\n", i);
    drop_session(i);
    keeps_promises();
    changed()
  }
}

inline ends_last_session() {
  d_step {
    last_session && last_up && phase != preparing && phase != deciding ->
    printf("last        notices that its client is gone\n");
    drop_last_session();
    changed()
  }
}

inline lose_answer(i) {
  if
  :: tm[i] == committing -> tm[i] = pending
  :: tm[i] == preparing || tm[i] == rolling_back -> tm[i] = unconfirmed
  :: else
  fi
}

inline breaks_connection(i) {
  d_step {
    faults > 0 && (tm[i] == preparing || tm[i] == committing || tm[i] == rolling_back) ->
    printf("network     the connection to database %d breaks: %e is on its way, its answer is lost\n", i, request[i]);
    faults--;
    lose_answer(i);
    changed()
  }
}

inline breaks_last_connection() {
  d_step {
    faults > 0 && phase == deciding ->
    printf("network     the connection to the last resource breaks: the decision is on its way, its answer is lost\n");
    faults--;
    phase = settling;
    changed()
  }
}

inline crashes(i) {
  d_step {
    faults > 0 && up[i] ->
    printf("database %d  crashes\n", i);
    faults--;
    up[i] = 0;
    lose_answer(i);
    drop_session(i);
    keeps_promises();
    changed()
  }
}

inline restarts(i) {
  d_step {
    !up[i] ->
    printf("database %d  is up again\n", i);
    up[i] = 1;
    changed()
  }
}

inline last_crashes() {
  d_step {
    faults > 0 && last_up ->
    printf("last        crashes\n");
    faults--;
    last_up = 0;
    drop_last_session();
    if
    :: phase == deciding -> phase = settling
    :: else
    fi;
    changed()
  }
}

inline last_restarts() {
  d_step {
    !last_up ->
    printf("last        is up again\n");
    last_up = 1;
    changed()
  }
}

/* The process. */

inline forget_pass() {
  stage = idle;
  seen_row = idle;
  says = idle;
  for (j : 0 .. RMS - 1) { seen[j] = idle }
}

inline die() {
  alive = 0;
  phase = gone;
  mem = disk;
  for (j : 0 .. RMS - 1) { tm[j] = working }
  forget_pass();
  if
  :: asker != done -> asker = unasked
  :: else
  fi
}

inline is_killed() {
  d_step {
    faults > 0 && alive ->
    printf("process     is killed\n");
    faults--;
    die();
    changed()
  }
}

inline is_closed() {
  d_step {
    alive && phase == left ->
    printf("process     is ended\n");
    die();
    changed()
  }
}

inline opens() {
  d_step {
    !alive ->
    printf("process     starts: a new incarnation\n");
    alive = 1;
    changed()
  }
}

#include "last_resource_recovery.pml"

#define is_over(it) (it == committed || it == rolled_back)

inline everything_is_over() {
  for (j : 0 .. RMS - 1) {
    promise(is_over(db[j]), "BROKEN: a branch never ends\n");
    promise(!session[j], "BROKEN: a session is left behind\n")
  }
  promise(is_over(last) && !last_session, "BROKEN: the last resource's branch never ends\n");
  /* A bar of the live incarnation stays with it. */
  promise(row == nothing || (row == barred && phase == over), "BROKEN: a row stays for ever\n")
}

#if RMS == 1
#define for_rms(rule) :: rule(0)
#else
#define for_rms(rule) :: rule(0) :: rule(1)
#endif

active proctype world() {
  do
  for_rms(prepares)
  for_rms(votes_no)
  for_rms(finishes)
  for_rms(ends_session)
  for_rms(breaks_connection)
  for_rms(crashes)
  for_rms(restarts)
  :: last_commits()
  :: last_refuses()
  :: ends_last_session()
  :: breaks_last_connection()
  :: last_crashes()
  :: last_restarts()

  :: aborts()
  :: sends_decision()
  :: asks_for_row()
  :: ends()
  :: engine_flushes()
  :: sweeps()

  :: is_killed()
  :: is_closed()
  :: opens()

  :: begins_pass()
  for_rms(lists)
  :: reads_rows()
  :: reads_log()
  :: ends_carrier()
  :: ends_no_carrier()
  :: settles()
  :: settles_unheard()
  for_rms(works)
  for_rms(works_unheard)
  :: ends_pass()
  :: flushes()
  :: flushes_in_vain()
  :: forgets_row()
  :: removes_bar()
  :: removes_no_bar()

  :: asker_reads_log()
  :: asker_settles()
  :: asker_reads_log_again()

  :: else ->
    d_step { everything_is_over() }
    break
  od
}
