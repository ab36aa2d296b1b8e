/* Recovery: recovery/recovery_pass.cc, recovery_last_resource.cc, recovery_truncation.cc. */

inline begins_pass() {
  d_step {
    alive && phase == gone && stage == idle && news ->
    printf("recovery    a pass begins\n");
    news = 0;
    stage = listed;
    seen_row = unasked;
    for (j : 0 .. RMS - 1) { seen[j] = unasked }
    settled()
  }
}

inline lists(i) {
  d_step {
    stage == listed && seen[i] == unasked ->
    seen[i] = (!up[i] -> unreachable : (db[i] == prepared -> listed : absent));
    printf("recovery    database %d: %e\n", i, seen[i]);
    settled()
  }
}

inline reads_rows() {
  d_step {
    stage == listed && seen_row == unasked ->
    seen_row = (!last_up -> unreachable : row);
    printf("recovery    the last resource's row: %e\n", seen_row);
    settled()
  }
}

inline reads_log() {
  d_step {
    stage == listed && seen_row != unasked && none_is(seen, unasked) ->
    stage = working_on_sites;
    if
    :: mem != nothing -> says = finished
    :: mem == nothing && seen_row == decided -> says = decided
    :: mem == nothing && seen_row != decided && none_is(seen, listed) -> says = nothing
    :: else -> says = nothing; stage = ending_carrier
    fi;
    printf("recovery    the log says %e, and so the decider says %e\n", mem, says);
    settled()
  }
}

/* Its session first, or what it has not committed is waited for. */
inline ends_carrier() {
  d_step {
    stage == ending_carrier ->
    if
    :: last_up && last_session ->
      printf("recovery    ends the session that may still commit\n");
      drop_last_session();
      changed()
    :: else
    fi;
    stage = asking;
    settled()
  }
}

inline ends_no_carrier() {
  d_step {
    faults > 0 && stage == ending_carrier && last_up && last_session ->
    printf("recovery    would end the session that may still commit, which hears nothing of it\n");
    faults--;
    stage = asking;
    changed()
  }
}

inline settles() {
  d_step {
    stage == asking ->
    if
    :: !can_settle -> says = silent
    :: can_settle && row == decided -> says = decided
    :: can_settle && row != decided ->
      says = barred;
#ifndef ROLL_BACK_WITHOUT_BAR
      row = barred;
#endif
      news = 1
    fi;
    printf("recovery    asks the last resource to make it definite: %e\n", says);
    stage = working_on_sites;
    settled()
  }
}

inline settles_unheard() {
  d_step {
    faults > 0 && stage == asking && can_settle && row != decided ->
    printf("recovery    bars the commit, and does not hear the answer\n");
    faults--;
    row = barred;
    says = silent;
    stage = working_on_sites;
    changed()
  }
}

/* The decision table: recovery/resolution.cc. */
inline works(i) {
  d_step {
    stage == working_on_sites && (seen[i] == listed || seen[i] == absent || seen[i] == unreachable) ->
    promise(!(says == finished && seen[i] == listed), "BROKEN: a person is called for a branch that is only late\n");
    if
    :: !up[i] || seen[i] == unreachable -> seen[i] = left
    :: up[i] && seen[i] == listed && says == decided ->
      printf("recovery    commits in database %d\n", i);
      drop_session_of_prepared(i);
      if
      :: db[i] == prepared -> db[i] = committed
      :: else
      fi;
      seen[i] = done;
      news = 1
    :: up[i] && seen[i] == absent && says == decided ->
      promise(db[i] != rolled_back, "BROKEN: decided to commit, and a branch is rolled back all the same\n");
      seen[i] = (db[i] == committed -> done : left) /* its witness */
    :: up[i] && seen[i] == listed && says == barred ->
      if
      :: db[i] == prepared -> /* listed once more */
        printf("recovery    rolls back in database %d\n", i);
        drop_session_of_prepared(i);
        db[i] = rolled_back;
        news = 1
      :: else
      fi;
      seen[i] = left
    :: else -> seen[i] = left
    fi;
    keeps_promises();
    settled()
  }
}

inline drop_session_of_prepared(i) {
  if
  :: db[i] == prepared -> session[i] = 0; request[i] = none
  :: else
  fi
}

/* Done, and not heard. */
inline works_unheard(i) {
  d_step {
    faults > 0 && stage == working_on_sites && up[i] && seen[i] == listed && db[i] == prepared &&
      (says == decided || says == barred) ->
    db[i] = (says == decided -> committed : rolled_back);
    printf("recovery    database %d: %e, and the answer is lost\n", i, db[i]);
    faults--;
    session[i] = 0;
    request[i] = none;
    seen[i] = left;
    keeps_promises();
    changed()
  }
}

#define is_worked (none_is(seen, listed) && none_is(seen, absent) && none_is(seen, unreachable))

/* A row goes when all branches gave positive evidence, or the log has it that they did. */
inline ends_pass() {
  d_step {
    stage == working_on_sites && is_worked ->
    if
    :: says == decided && seen_row == decided && all_are(seen, done) ->
      printf("recovery    all are committed: the log is told\n");
      mem = recovered;
      stage = forgetting
    :: says == finished && seen_row == decided -> stage = forgetting
    :: seen_row == barred -> stage = proving
    :: else -> forget_pass()
    fi;
    settled()
  }
}

inline flushes() {
  d_step {
    alive && stage == forgetting && disk == nothing ->
    printf("log         that it is over is on disk\n");
    disk = mem;
    settled()
  }
}

/* The word stays in memory, and with it the row. */
inline flushes_in_vain() {
  d_step {
    faults > 0 && stage == forgetting && disk == nothing ->
    printf("disk        is full: that it is over is not on disk\n");
    faults--;
    forget_pass();
    changed()
  }
}

inline forgets_row() {
  d_step {
#ifdef FORGET_ROW_EARLY
    stage == forgetting ->
#else
    stage == forgetting && disk != nothing ->
#endif
    if
    :: last_up ->
      printf("recovery    removes the row\n");
      row = nothing
    :: else
    fi;
    forget_pass();
    settled()
  }
}

/* A bar goes when no session can run into it any more. */
inline removes_bar() {
  d_step {
    stage == proving ->
#ifdef REMOVE_BAR_EARLY
    if
    :: last_up ->
      printf("recovery    removes the bar\n");
      row = nothing
    :: else
    fi;
#else
    if
    :: last_up ->
      printf("recovery    no session can commit any more: removes the bar\n");
      if
      :: last_session -> drop_last_session()
      :: else
      fi;
      row = nothing
    :: else
    fi;
#endif
    forget_pass();
    settled()
  }
}

inline removes_no_bar() {
  d_step {
    faults > 0 && stage == proving && last_up && last_session ->
    printf("recovery    keeps the bar: a session may still run into it\n");
    faults--;
    forget_pass();
    changed()
  }
}

/* Who asks for the outcome, beside a pass: tm/engine.cc, judge(). The log, the row, and the log again: recovery may
 * have finished the transaction in between. */
inline asker_reads_log() {
  d_step {
    alive && phase == gone && asker == unasked ->
    if
    :: mem == recovered -> printf("asker       the log says committed\n"); tell(committed); asker = done
    :: mem == finished -> asker = done /* too long ago to remember how */
    :: else -> asker = asking
    fi;
    settled()
  }
}

inline asker_settles() {
  d_step {
    asker == asking ->
    if
    :: !can_settle -> asker = done
    :: can_settle && row == decided -> printf("asker       the row says committed\n"); tell(committed); asker = done
    :: can_settle && row != decided ->
      printf("asker       finds no row, and bars the commit\n");
      row = barred;
      asker = again;
      news = 1
    fi;
    settled()
  }
}

inline asker_reads_log_again() {
  d_step {
    asker == again ->
#ifndef READ_LOG_ONCE
    if
    :: mem == recovered -> printf("asker       the log says committed\n"); tell(committed)
    :: else -> printf("asker       rolled back\n"); tell(rolled_back)
    fi;
#else
    printf("asker       rolled back\n");
    tell(rolled_back);
#endif
    asker = done;
    settled()
  }
}
