/* What happens at a database: its answers, its sessions, its crashes; and the connections to it. */

/* What was sent is not executed any more; what was not prepared is rolled back. */
inline drop_session(t, i) {
  session[B(t, i)] = 0;
  request[B(t, i)] = none;
  if
  :: db[B(t, i)] == working && phase[t] != unborn -> db[B(t, i)] = rolled_back
  :: else
  fi
}

/* The engine sends, or finds its session gone. */
inline send(t, i, verb, meanwhile, in_vain) {
  if
  :: session[B(t, i)] -> request[B(t, i)] = verb; tm[B(t, i)] = meanwhile
  :: else -> tm[B(t, i)] = in_vain
  fi
}

/* Also long after the engine gave the connection up: the late prepare. */
inline prepares(t, i) {
  d_step {
    request[B(t, i)] == prepare && up[i] ->
    request[B(t, i)] = none;
    db[B(t, i)] = prepared;
    if
    :: tm[B(t, i)] == preparing && phase[t] == preparing ->
      printf("database %d  prepares T%d and says so\n", i, t + 1);
      tm[B(t, i)] = prepared
    :: tm[B(t, i)] == preparing && phase[t] == rolling_back ->
      printf("database %d  prepares T%d and says so; the engine, which is aborting, sends the rollback\n", i, t + 1);
      send(t, i, rollback, rolling_back, unconfirmed)
    :: else -> printf("database %d  prepares T%d: a late prepare, nobody waits for the answer\n", i, t + 1)
    fi;
    changed()
  }
}

inline votes_no(t, i) {
  d_step {
    request[B(t, i)] == prepare && up[i] && tm[B(t, i)] == preparing ->
    printf("database %d  votes no to T%d and rolls back\n", i, t + 1);
    drop_session(t, i);
    tm[B(t, i)] = rolled_back;
    keeps_promises(t);
    changed()
  }
}

inline commits(t, i) {
  d_step {
    request[B(t, i)] == commit && up[i] ->
    printf("database %d  commits T%d for its own session\n", i, t + 1);
    request[B(t, i)] = none;
    if
    :: db[B(t, i)] == prepared -> db[B(t, i)] = committed
    :: else /* recovery came first */
    fi;
    if
    :: tm[B(t, i)] == committing -> tm[B(t, i)] = committed; session[B(t, i)] = 0
    :: else
    fi;
    keeps_promises(t);
    changed()
  }
}

inline rolls_back(t, i) {
  d_step {
    request[B(t, i)] == rollback && up[i] ->
    printf("database %d  rolls back T%d for its own session\n", i, t + 1);
    request[B(t, i)] = none;
    if
    :: db[B(t, i)] == prepared -> db[B(t, i)] = rolled_back
    :: else
    fi;
    if
    :: tm[B(t, i)] == rolling_back -> tm[B(t, i)] = rolled_back; session[B(t, i)] = 0
    :: else
    fi;
    keeps_promises(t);
    changed()
  }
}

/* The server notices, any time later, that the other end of the session is gone. */
inline ends_session(t, i) {
  d_step {
    session[B(t, i)] && up[i] && (!driven(t) || tm[B(t, i)] == unconfirmed || tm[B(t, i)] == pending) ->
    printf("database %d  notices that T%d's session has lost its client, and ends it\n", i, t + 1);
    drop_session(t, i);
    keeps_promises(t);
    changed()
  }
}

/* The engine loses the connection under a verb. The verb may still arrive, or have been executed: both are this rule
 * followed, or not, by the one that executes it. */
inline lose_answer(t, i) {
  if
  :: tm[B(t, i)] == committing -> tm[B(t, i)] = pending
  :: tm[B(t, i)] == preparing || tm[B(t, i)] == rolling_back -> tm[B(t, i)] = unconfirmed
  :: else
  fi
}

inline breaks_connection(t, i) {
  d_step {
    faults > 0 && (tm[B(t, i)] == preparing || tm[B(t, i)] == committing || tm[B(t, i)] == rolling_back) ->
    printf("network     the engine's connection to database %d breaks: T%d's %e is on its way, its answer is lost\n", i,
           t + 1, request[B(t, i)]);
    faults--;
    lose_answer(t, i);
    changed()
  }
}

inline crashes(i) {
  d_step {
    faults > 0 && up[i] ->
    printf("database %d  crashes\n", i);
    faults--;
    up[i] = 0;
    for (j : 0 .. TXS - 1) {
      lose_answer(j, i);
      drop_session(j, i);
      keeps_promises(j)
    }
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
