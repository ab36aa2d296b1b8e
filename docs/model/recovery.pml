/* One pass of recovery: recovery/recovery_pass.cc, recovery_actions.cc, recovery_truncation.cc. Databases are worked on
 * in parallel there, so in any order here. A question that fails leaves the branch to the next pass. */

#if SLOTS == 2
/* That a pass leaves alone what runs or is over is looked at with one slot. */
#define is_left_to(l, t) (decides(l, t) && !driven(t) && phase[t] != over)
#define pass_has_work(l) (is_left_to(l, 0) || is_left_to(l, 1))
#else
#define pass_has_work(l) 1
#endif

inline begins_pass(l) {
  d_step {
    holder[l] && stage[l] == idle && news[l] && pass_has_work(l) ->
    printf("recovery    of log %d: a pass begins\n", l);
    news[l] = 0;
    stage[l] = listing;
    for (j : 0 .. TXS - 1) {
      for (k : 0 .. RMS - 1) { seen[LB(l, j, k)] = unasked }
    }
    settle()
  }
}

/* 1. What is prepared, in every database. */
inline lists(l, i) {
  d_step {
    stage[l] == listing && seen[LB(l, 0, i)] == unasked ->
    for (j : 0 .. TXS - 1) {
      if
      :: !decides(l, j) -> seen[LB(l, j, i)] = absent /* listed or not, it is another log's, and left alone */
      :: else ->
        seen[LB(l, j, i)] = (!up[i] -> unreachable : (db[B(j, i)] == prepared -> listed : absent));
        printf("recovery    of log %d: database %d says of T%d: %e\n", l, i, j + 1, seen[LB(l, j, i)])
      fi
    }
    settle()
  }
}

inline lists_in_vain(l, i) {
  d_step {
    faults > 0 && stage[l] == listing && seen[LB(l, 0, i)] == unasked && up[i] ->
    printf("recovery    of log %d: the answer of database %d is lost\n", l, i);
    faults--;
    for (j : 0 .. TXS - 1) { seen[LB(l, j, i)] = unreachable }
    changed()
  }
}

inline ask_engine(l, t) {
  if
  :: !is_live_in(l, t) -> engine_says[LT(l, t)] = gone
  :: is_live_in(l, t) && driven(t) -> engine_says[LT(l, t)] = still_active
  :: else -> engine_says[LT(l, t)] = phase[t]
  fi;
  printf("recovery    of log %d: the engine says of T%d: %e\n", l, t + 1, engine_says[LT(l, t)])
}

inline read_log(l, t) {
  log_says[LT(l, t)] = mem[LT(l, t)];
  printf("recovery    of log %d: the log says of T%d: %e\n", l, t + 1, log_says[LT(l, t)])
}

/* 2. Of what was listed or is unconfirmed, what is active ... */
inline asks_engine(l) {
  d_step {
    stage[l] == listing && none_seen(l, 0, unasked) ->
    stage[l] = reading_log;
    for (j : 0 .. TXS - 1) {
      if
      :: decides(l, j) && (!is_live_in(l, j) || phase[j] == unconfirmed || !none_seen(l, j, listed)) ->
        ask_engine(l, j)
      :: else
      fi
    }
    settle()
  }
}

/* ... and after that, what is decided. */
inline reads_log(l) {
  d_step {
    stage[l] == reading_log ->
    stage[l] = working_on_sites;
    for (j : 0 .. TXS - 1) {
      if
      :: decides(l, j) ->
        read_log(l, j);
        if
        :: engine_says[LT(l, j)] == idle && log_says[LT(l, j)] == decided -> stage[l] = asking_engine_late
        :: engine_says[LT(l, j)] == idle && log_says[LT(l, j)] != decided -> engine_says[LT(l, j)] = still_active
        :: else
        fi
      :: else
      fi
    }
    if
    :: stage[l] == working_on_sites -> take_up_branches(l)
    :: else
    fi;
    settle()
  }
}

/* Of decisions of which nothing was listed: nothing decided is ever rolled back. */
inline asks_engine_late(l) {
  d_step {
    stage[l] == asking_engine_late ->
    stage[l] = working_on_sites;
    for (j : 0 .. TXS - 1) {
      if
      :: decides(l, j) && engine_says[LT(l, j)] == idle ->
        ask_engine(l, j);
        if
        :: mem[LT(l, j)] == finished -> log_says[LT(l, j)] = finished
        :: else
        fi
      :: else
      fi
    }
    take_up_branches(l);
    settle()
  }
}

/* What was listed, what the log decided, what the engine could not confirm. Nothing else is a branch to this pass; of
 * what it could not ask it cannot know. */
inline take_up_branches(l) {
  for (j : 0 .. TXS - 1) {
    for (k : 0 .. RMS - 1) {
      if
      :: !decides(l, j) -> seen[LB(l, j, k)] = idle
      :: decides(l, j) && seen[LB(l, j, k)] == listed
      :: decides(l, j) && seen[LB(l, j, k)] != listed && log_says[LT(l, j)] == decided ->
        if
        :: is_live_in(l, j) && tm[B(j, k)] == committed -> seen[LB(l, j, k)] = done
        :: else
        fi
      :: decides(l, j) && seen[LB(l, j, k)] != listed && log_says[LT(l, j)] != decided &&
           engine_says[LT(l, j)] == unconfirmed && tm[B(j, k)] == unconfirmed
      :: else -> seen[LB(l, j, k)] = (seen[LB(l, j, k)] == unreachable -> left : idle)
      fi
    }
  }
}

/* The decision table, recovery/resolution.cc, row by row. `what`: what the database says, one of listed, absent (no
 * evidence), unreachable, or its witness's word committed, rolled_back, working (in progress). The rows that need a
 * database which broke ranks cannot apply here. Answers in `verdict`. */
inline resolve(l, t, carrier_gone) {
  if
#ifndef ROLL_BACK_LIVE
  :: engine_says[LT(l, t)] == still_active -> verdict = left   /* the transaction is running in this process */
  :: engine_says[LT(l, t)] == in_doubt -> verdict = left  /* until the log is opened again */
#endif
  :: else ->
    if
    :: what == unreachable -> verdict = left
    :: what != unreachable && log_says[LT(l, t)] == finished -> verdict = (what == listed -> resurrected : done)
    :: what != unreachable && log_says[LT(l, t)] == decided ->
      obeys(engine_says[LT(l, t)] != unconfirmed, "BROKEN: the engine rolled back what the log decided\n");
      promise(what != rolled_back, "BROKEN: decided to commit, and a branch is rolled back all the same\n");
      verdict = (what == committed -> done : to_commit)
    :: else ->
      if
      :: engine_says[LT(l, t)] == decided -> verdict = left
      :: engine_says[LT(l, t)] == over -> verdict = (what == listed -> resurrected : done)
      :: engine_says[LT(l, t)] == unconfirmed ->
        promise(what != committed, "BROKEN: rolled back by the engine, and a branch is committed all the same\n");
        if
        :: what == listed -> verdict = to_roll_back
        :: what != listed && what != working && carrier_gone -> verdict = done
        :: else -> verdict = left
        fi
      :: else -> /* its incarnation is gone */
        if
#ifndef PRESUME_AFTER_LOST_LOG
        :: moved[l] -> verdict = left /* the log was copied or restored: for a person */
#endif
        :: else -> verdict = (what == listed -> to_roll_back : left)
        fi
      fi
    fi
  fi
}

/* No database is restored here, so nothing is ever resurrected. */
inline calls_nobody(l, t, i) {
  seen[LB(l, t, i)] = verdict;
  if
  :: verdict == resurrected ->
    obeys(false, "BROKEN: a person is called for a branch that is only finished, or late\n");
    seen[LB(l, t, i)] = left
  :: else
  fi
}

/* 3. At each database: the witness, then the table. */
inline weighs(l, t, i) {
  d_step {
    stage[l] == working_on_sites &&
      (seen[LB(l, t, i)] == listed || seen[LB(l, t, i)] == absent || seen[LB(l, t, i)] == unreachable) ->
    what = seen[LB(l, t, i)];
    k = 0; /* the carrier is proven gone */
    if
    :: what == absent && !up[i] -> what = unreachable
    :: what == absent && up[i] ->
      if
      :: engine_says[LT(l, t)] == unconfirmed && log_says[LT(l, t)] == nothing ->
#ifdef ONE_EMPTY_SCAN
        k = 1;
        what = absent
#else
        k = !session[B(t, i)];
        what = (db[B(t, i)] == prepared -> working : db[B(t, i)])
#endif
      :: engine_says[LT(l, t)] != still_active && engine_says[LT(l, t)] != in_doubt && log_says[LT(l, t)] == decided ->
        what = (db[B(t, i)] == prepared -> working : db[B(t, i)])
      :: else
      fi
    :: else
    fi;
    resolve(l, t, k);
#ifndef NOT_LISTED_AGAIN
    if
#ifndef ONE_EMPTY_SCAN
    :: k -> verdict = again_carrier_gone
#endif
    :: !k && (verdict == to_roll_back || verdict == resurrected) -> verdict = again
    :: else
    fi;
#endif
    calls_nobody(l, t, i);
    printf("recovery    of log %d: T%d's branch in database %d: %e\n", l, t + 1, i, verdict);
    settle()
  }
}

/* Before a rollback, and after a proof that no session can prepare it any more: what is prepared, once more. */
inline lists_again(l, t, i) {
  d_step {
    stage[l] == working_on_sites && (seen[LB(l, t, i)] == again || seen[LB(l, t, i)] == again_carrier_gone) ->
    what = (!up[i] -> unreachable : (db[B(t, i)] == prepared -> listed : absent));
    k = (seen[LB(l, t, i)] == again_carrier_gone);
    resolve(l, t, k);
    calls_nobody(l, t, i);
    printf("recovery    of log %d: database %d, asked again, says of T%d: %e; %e\n", l, i, t + 1, what, verdict);
    settle()
  }
}

/* A session that still carries the branch may be ended if its incarnation is gone for certain. */
#define may_end_session(l, t) (engine_says[LT(l, t)] == gone && !moved[l])
#define is_held_off(l, t, i) (owner_only(i) && session[B(t, i)] && !may_end_session(l, t))

inline end_hung_owner(t, i) {
  if
  :: owner_only(i) && session[B(t, i)] ->
    printf("recovery    ends the session that still carries T%d in database %d\n", t + 1, i);
    drop_session(t, i)
  :: else
  fi
}

inline commits_recovered(l, t, i) {
  d_step {
    stage[l] == working_on_sites && seen[LB(l, t, i)] == to_commit ->
    if
    :: !up[i] -> seen[LB(l, t, i)] = left; settle()
    :: up[i] && (is_held_off(l, t, i) || db[B(t, i)] != prepared) ->
      printf("recovery    of log %d: commit T%d in database %d: not found\n", l, t + 1, i);
#ifdef TRUNCATE_ON_NOT_FOUND
      seen[LB(l, t, i)] = done;
#else
      /* not_found says neither; its witness is asked */
      promise(db[B(t, i)] != rolled_back, "BROKEN: decided to commit, and a branch is rolled back all the same\n");
      seen[LB(l, t, i)] = (db[B(t, i)] == committed -> done : left);
#endif
      settle()
    :: else ->
      printf("recovery    of log %d: commits T%d in database %d\n", l, t + 1, i);
      end_hung_owner(t, i);
      db[B(t, i)] = committed;
      seen[LB(l, t, i)] = done;
      keeps_promises(t);
      changed()
    fi
  }
}

inline rolls_back_recovered(l, t, i) {
  d_step {
    stage[l] == working_on_sites && seen[LB(l, t, i)] == to_roll_back ->
    obeys(truly_decides(l, t), "BROKEN: recovery rolls back what another log decides\n");
    obeys(!(is_live_in(l, t) && driven(t)), "BROKEN: recovery rolls back a running transaction\n");
    obeys(!(is_live_in(l, t) && phase[t] == in_doubt), "BROKEN: recovery rolls back what is in doubt\n");
    obeys(mem[LT(l, t)] != decided, "BROKEN: recovery rolls back what its log decided\n");
    if
    :: !up[i] || is_held_off(l, t, i) || db[B(t, i)] != prepared ->
      printf("recovery    of log %d: roll back T%d in database %d: not found\n", l, t + 1, i);
      seen[LB(l, t, i)] = left;
      settle()
    :: else ->
      printf("recovery    of log %d: rolls back T%d in database %d\n", l, t + 1, i);
      end_hung_owner(t, i);
      db[B(t, i)] = rolled_back;
      seen[LB(l, t, i)] = done;
      keeps_promises(t);
      changed()
    fi
  }
}

/* The same, and the answer is lost. */
inline finishes_unheard(l, t, i) {
  d_step {
    faults > 0 && stage[l] == working_on_sites && up[i] && db[B(t, i)] == prepared && !is_held_off(l, t, i) &&
      (seen[LB(l, t, i)] == to_commit || seen[LB(l, t, i)] == to_roll_back) ->
    faults--;
    end_hung_owner(t, i);
    db[B(t, i)] = (seen[LB(l, t, i)] == to_commit -> committed : rolled_back);
    printf("recovery    of log %d: T%d is %e in database %d, and the answer is lost\n", l, t + 1, db[B(t, i)], i);
    seen[LB(l, t, i)] = left;
    keeps_promises(t);
    changed()
  }
}

#define worked(l, t, i) (seen[LB(l, t, i)] == idle || seen[LB(l, t, i)] == done || seen[LB(l, t, i)] == left)
#if RMS == 2
#define all_worked(l, t) (worked(l, t, 0) && worked(l, t, 1))
#elif RMS == 3
#define all_worked(l, t) (worked(l, t, 0) && worked(l, t, 1) && worked(l, t, 2))
#else
#define all_worked(l, t) (worked(l, t, 0) && worked(l, t, 1) && worked(l, t, 2) && worked(l, t, 3))
#endif
#if TXS == 1
#define pass_is_done(l) (stage[l] == working_on_sites && all_worked(l, 0))
#else
#define pass_is_done(l) (stage[l] == working_on_sites && all_worked(l, 0) && all_worked(l, 1))
#endif

/* 4. What the engine and the log are told: recovery_truncation.cc. Only positive evidence from every branch ends a
 * decision (rule 5). */
inline tell(l, t) {
  if
  :: is_live_in(l, t) && engine_says[LT(l, t)] == unconfirmed && phase[t] == unconfirmed ->
    for (k : 0 .. RMS - 1) {
      if
      :: tm[B(t, k)] == unconfirmed && seen[LB(l, t, k)] == done -> tm[B(t, k)] = rolled_back
      :: else
      fi
    }
    if
    :: no_branch(t, unconfirmed) ->
      printf("recovery    of log %d: the rollback of T%d is confirmed, the engine forgets it\n", l, t + 1);
      be_over(t)
    :: else
    fi
  :: decides(l, t) && log_says[LT(l, t)] == decided && each_seen(l, t, done) ->
    printf("recovery    of log %d: every branch of T%d is committed, the decision leaves the log\n", l, t + 1);
    mem[LT(l, t)] = finished;
    if
    :: is_live_in(l, t) && phase[t] == decided -> be_over(t)
    :: else
    fi
  :: else
  fi
}

/* An adopted slot is released when nothing is left of it. */
inline release_if_clean(l) {
  what = done;
  for (j : 0 .. TXS - 1) {
    for (k : 0 .. RMS - 1) {
      if
      :: seen[LB(l, j, k)] == left -> what = left
      :: else
      fi
    }
    if
    :: mem[LT(l, j)] == decided -> what = left
    :: else
    fi
  }
  if
  :: what == done && !live[l] && l != THE_COPY ->
    printf("recovery    of log %d: nothing is left, the slot is released\n", l);
    write_ends(l);
    let_go(l)
  :: else
  fi
}

inline ends_pass(l) {
  d_step {
    pass_is_done(l) ->
    tell(l, 0);
#if TXS == 2
    tell(l, 1);
#endif
    release_if_clean(l);
    forget_pass(l);
    settle()
  }
}

/* Or the mark is raised over what was never decided, when a later transaction of its incarnation is over: from then on
 * a branch that appears is taken for resurrected. So every session that may still prepare one has to be proven gone (it
 * is ended), and after that none may be listed. */
inline goes_on_to_mark(l) {
  d_step {
    pass_is_done(l) && engine_says[l] == gone && !moved[l] && log_says[l] == nothing && each_up ->
    printf("recovery    of log %d: may the mark pass T1?\n", l);
    forget_pass(l);
    stage[l] = marking;
    for (j : 0 .. RMS - 1) { seen[LB(l, 0, j)] = unasked }
    settle()
  }
}

inline proves_carrier_gone(l, t, i) {
  d_step {
    stage[l] == marking && seen[LB(l, t, i)] == unasked ->
    if
    :: !up[i] -> forget_pass(l); settle()
    :: else ->
      seen[LB(l, t, i)] = proven;
#ifndef ONE_EMPTY_SCAN
      if
      :: session[B(t, i)] ->
        printf("recovery    of log %d: ends the session that may still prepare T1 in database %d\n", l, i);
        drop_session(t, i);
        keeps_promises(t);
        changed()
      :: else
      fi;
#endif
      settle()
    fi
  }
}

inline sees_nothing_left(l, t, i) {
  d_step {
    stage[l] == marking && none_seen(l, t, unasked) && seen[LB(l, t, i)] == proven ->
    if
    :: !up[i] || db[B(t, i)] == prepared -> forget_pass(l)
    :: else -> seen[LB(l, t, i)] = clear
    fi;
    settle()
  }
}

inline raises_mark(l) {
  d_step {
    stage[l] == marking && each_seen(l, 0, clear) ->
    printf("recovery    of log %d: the mark passes T1: what appears of it is taken for resurrected\n", l);
    mem[l] = finished;
    release_if_clean(l);
    forget_pass(l);
    settle()
  }
}
