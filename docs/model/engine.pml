/* The engine: tm/protocol/two_phase.cc, with what tm/driver.cc and tm/live_table.cc do around it. The work is done and
 * the application has asked to commit. */

inline begin_in(t, l) {
  phase[t] = preparing;
  slot_of[t] = l;
  for (j : 0 .. RMS - 1) {
    session[B(t, j)] = 1;
    request[B(t, j)] = prepare;
    tm[B(t, j)] = preparing
  }
}

/* When the first one's incarnation is gone: in an incarnation that follows in its slot, or in the neighbour's slot. */
inline begins_the_second(l) {
  d_step {
    phase[1] == unborn && holder[l] && live[l] && phase[0] == gone ->
    printf("engine      process %d begins T2, decided by the log of slot %d\n", holder[l], l);
    begin_in(1, l);
    changed()
  }
}

inline roll_back_idle(t) {
  phase[t] = rolling_back;
  for (j : 0 .. RMS - 1) {
    if
    :: tm[B(t, j)] == prepared -> send(t, j, rollback, rolling_back, unconfirmed)
    :: else
    fi
  }
}

/* A vote is no or lost, or the deadline passes. */
inline aborts(t) {
  d_step {
    phase[t] == preparing && !all_branches(t, prepared) ->
    printf("engine      aborts T%d\n", t + 1);
    roll_back_idle(t);
    changed()
  }
}

inline send_commits(t) {
  phase[t] = committing;
  for (j : 0 .. RMS - 1) { send(t, j, commit, committing, pending) }
}

inline writes_decision(t) {
  d_step {
    phase[t] == preparing && all_branches(t, prepared) ->
    printf("engine      all voted yes: writes the decision to commit T%d\n", t + 1);
    phase[t] = forcing;
    cache[LT(slot_of[t], t)] = decided;
#ifdef ACT_BEFORE_SYNC
    printf("engine      and, not waiting for the sync, sends the commits of T%d\n", t + 1);
    mem[LT(slot_of[t], t)] = decided;
    send_commits(t);
#endif
    changed()
  }
}

#ifdef ACT_BEFORE_SYNC
#define may_be_synced(t) (running(t) && cache[LT(slot_of[t], t)] == decided && disk[LT(slot_of[t], t)] == nothing)
#else
#define may_be_synced(t) (phase[t] == forcing)
#endif

inline syncs_decision(t) {
  d_step {
    may_be_synced(t) ->
    printf("engine      the decision of T%d is on disk\n", t + 1);
    disk[LT(slot_of[t], t)] = decided;
    was_durable[t] = 1;
#ifndef ACT_BEFORE_SYNC
    mem[LT(slot_of[t], t)] = decided;
    send_commits(t);
#endif
    changed()
  }
}

/* No byte of the batch was written. */
inline force_is_refused(t) {
  d_step {
    faults > 0 && phase[t] == preparing && all_branches(t, prepared) ->
    printf("disk        has no room: the decision of T%d is refused, the engine rolls back\n", t + 1);
    faults--;
    roll_back_idle(t);
    changed()
  }
}

/* Rule 4. A torn batch is one that a power cut loses. */
inline force_is_uncertain(t) {
  d_step {
    faults > 0 && phase[t] == forcing ->
    printf("disk        the sync fails: T%d is in doubt until the log is opened again\n", t + 1);
    faults--;
    mem[LT(slot_of[t], t)] = decided; /* in unfinished() */
#ifdef ROLL_BACK_FAILED_FORCE
    printf("engine      takes that for a refusal and rolls back T%d\n", t + 1);
    roll_back_idle(t);
#else
    phase[t] = in_doubt;
    told[t] = in_doubt;
    for (j : 0 .. RMS - 1) { tm[B(t, j)] = in_doubt }
#endif
    changed()
  }
}

/* The engine forgets: the log is told first (tm/live_table.cc, over()). */
inline be_over(t) {
  mem[LT(slot_of[t], t)] = finished;
  phase[t] = over;
  for (j : 0 .. RMS - 1) { tm[B(t, j)] = working }
}

inline ends_committed(t) {
  d_step {
    phase[t] == committing && no_branch(t, committing) ->
    printf("engine      tells the application: T%d is committed\n", t + 1);
    told[t] = committed;
    if
    :: no_branch(t, pending) -> be_over(t)
    :: else -> phase[t] = decided
    fi;
    keeps_promises(t);
    changed()
  }
}

inline ends_rolled_back(t) {
  d_step {
    phase[t] == rolling_back && no_branch(t, preparing) && no_branch(t, rolling_back) ->
    printf("engine      tells the application: T%d is rolled back\n", t + 1);
    told[t] = rolled_back;
    if
    :: no_branch(t, unconfirmed) -> be_over(t)
    :: else -> phase[t] = unconfirmed
    fi;
    keeps_promises(t);
    changed()
  }
}
