/* Processes, slots and logs: recovery/node_directory.cc, recovery/decision_log.cc, tm/engine.cc. */

inline forget_pass(l) {
  stage[l] = idle;
  for (j : 0 .. TXS - 1) {
    engine_says[LT(l, j)] = idle;
    log_says[LT(l, j)] = idle;
    for (k : 0 .. RMS - 1) { seen[LB(l, j, k)] = idle }
  }
}

/* Nobody holds it any more. What was not written is lost, what is in the page cache is not. */
inline let_go(l) {
  holder[l] = 0;
  live[l] = 0;
  for (j : 0 .. TXS - 1) {
    mem[LT(l, j)] = nothing;
    if
    :: is_live_in(l, j) ->
      phase[j] = gone;
      for (k : 0 .. RMS - 1) { tm[B(j, k)] = working }
    :: else
    fi
  }
  forget_pass(l)
}

inline die(p) {
  alive[p] = 0;
  for (m : 0 .. SLOTS - 1) {
    if
    :: holder[m] == p + 1 -> let_go(m)
    :: else
    fi
  }
}

#if SLOTS == 1
#define holds_something(p) (holder[0] == p + 1)
#else
#define holds_something(p) (holder[0] == p + 1 || holder[1] == p + 1)
#endif

inline is_killed(p) {
  d_step {
    faults > 0 && alive[p] && holds_something(p) ->
    printf("process %d   is killed\n", p + 1);
    faults--;
    die(p);
    changed()
  }
}

/* After a failed force only opening the log again tells: its owner closes and reopens it. */
inline is_closed(l) {
  d_step {
    holder[l] && live[l] &&
#if TXS == 2
      ((is_live_in(l, 0) && phase[0] == in_doubt) || (is_live_in(l, 1) && phase[1] == in_doubt)) ->
#else
      is_live_in(l, 0) && phase[0] == in_doubt ->
#endif
    printf("process %d   is ended, to open its log again\n", holder[l]);
    process = holder[l] - 1;
    die(process);
    changed()
  }
}

inline sync_log(l) {
  for (k : 0 .. TXS - 1) {
    disk[LT(l, k)] = cache[LT(l, k)];
    if
    :: cache[LT(l, k)] == decided -> was_durable[k] = 1
    :: else
    fi
  }
}

inline lose_power() {
  faults--;
  die(0);
  die(1)
}

inline loses_power_but_no_writes() {
  d_step {
    faults > 0 && (alive[0] || alive[1]) ->
    printf("power       fails; what was written and not synced happens to be on disk\n");
    lose_power();
    for (j : 0 .. SLOTS - 1) { sync_log(j) }
    changed()
  }
}

inline loses_power_and_writes() {
  d_step {
    faults > 0 && (alive[0] || alive[1]) ->
    printf("power       fails; what was written and not synced is lost\n");
    lose_power();
    for (m : 0 .. SLOTS * TXS - 1) { cache[m] = disk[m] }
    changed()
  }
}

/* Rule 3: what is read may be in the page cache only, and is synced before anybody acts on it. */
inline open_log(l) {
#ifndef OPEN_WITHOUT_SYNC
  sync_log(l);
#endif
  for (j : 0 .. TXS - 1) { mem[LT(l, j)] = cache[LT(l, j)] }
}

/* A process that starts claims the lowest slot that nobody holds, and begins an incarnation in it. */
inline opens(p) {
  d_step {
    !alive[p] ->
    alive[p] = 1;
    if
    :: !holder[0] ->
      printf("process %d   starts, opens the log of slot 0, begins an incarnation\n", p + 1);
      holder[0] = p + 1;
      live[0] = 1;
      open_log(0)
#if SLOTS == 2
    :: holder[0] && !holder[1] ->
      printf("process %d   starts, opens the log of slot 1, begins an incarnation\n", p + 1);
      holder[1] = p + 1;
      live[1] = 1;
      open_log(1)
#endif
    :: else -> printf("process %d   starts, with a slot of its own elsewhere\n", p + 1)
    fi;
    changed()
  }
}

/* Any process adopts the slot of a dead one, if there is something to see. */
inline adopts(p, l) {
  d_step {
    alive[p] && !holder[l] && news[l] ->
    printf("process %d   adopts slot %d, whose process is gone, and opens its log\n", p + 1, l);
    holder[l] = p + 1;
    open_log(l);
    settle()
  }
}

/* What finish() and raise_mark() said is written with a later batch, or by flush(). */
inline flushes(l) {
  d_step {
    holder[l] &&
#if TXS == 2
      !(is_live_in(l, 0) && phase[0] == in_doubt) && !(is_live_in(l, 1) && phase[1] == in_doubt) &&
      ((mem[LT(l, 0)] == finished && cache[LT(l, 0)] != finished) ||
       (mem[LT(l, 1)] == finished && cache[LT(l, 1)] != finished)) ->
#else
      mem[LT(l, 0)] == finished && cache[LT(l, 0)] != finished ->
#endif
    printf("log         of slot %d: the end of the transaction is on disk\n", l);
    write_ends(l);
    settle()
  }
}

inline write_ends(l) {
  for (j : 0 .. TXS - 1) {
    if
    :: mem[LT(l, j)] == finished -> cache[LT(l, j)] = finished; disk[LT(l, j)] = finished
    :: else
    fi
  }
}

#ifdef COPY
/* Somebody copies the node directory to another machine, any time, and starts Assent there. */
inline is_copied() {
  d_step {
    !holder[THE_COPY] ->
    printf("somebody    copies log 0, and opens the copy, log %d, on another machine\n", THE_COPY);
    holder[THE_COPY] = ANOTHER_MACHINE;
    moved[THE_COPY] = 1;
    for (j : 0 .. TXS - 1) {
#ifdef COPY_OF_PAGE_CACHE
      cache[LT(THE_COPY, j)] = cache[LT(0, j)];
#else
      cache[LT(THE_COPY, j)] = disk[LT(0, j)];
#endif
      mem[LT(THE_COPY, j)] = cache[LT(THE_COPY, j)]
    }
    settle()
  }
}

/* The log of a dead process is lost, and brought back from the copy, once. */
inline is_restored() {
  d_step {
    holder[THE_COPY] && !holder[0] && !moved[0] ->
    printf("somebody    loses log 0, and restores it from the copy\n");
    moved[0] = 1;
    for (j : 0 .. TXS - 1) {
      cache[LT(0, j)] = cache[LT(THE_COPY, j)];
      disk[LT(0, j)] = cache[LT(0, j)]
    }
    changed()
  }
}
#endif
