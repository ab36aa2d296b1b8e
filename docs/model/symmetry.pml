/* Resource managers of one kind differ in their number only. With -DSYMMETRIC (one transaction, one log) each rule ends
 * by sorting them, so that states which differ in their order are one state. */
#ifdef SYMMETRIC
#if TXS > 1 || LOGS > 1
#error "SYMMETRIC sorts the branches of one transaction in one log"
#endif
#define sort_key(i) ((((db[i] * 64 + tm[i]) * 64 + seen[i]) * 64 + request[i]) * 4 + session[i] * 2 + up[i])

inline exchange(one, other) {
  k = one;
  one = other;
  other = k
}

inline order(a, b) {
  if
  :: sort_key(a) > sort_key(b) ->
    exchange(db[a], db[b]);
    exchange(tm[a], tm[b]);
    exchange(seen[a], seen[b]);
    exchange(request[a], request[b]);
    exchange(session[a], session[b]);
    exchange(up[a], up[b])
  :: else
  fi
}

inline settle() {
#if RMS - OWNERS >= 2
  order(0, 1);
#endif
#if RMS - OWNERS == 3
  order(1, 2);
  order(0, 1);
#endif
#if RMS - OWNERS == 4
  order(2, 3);
  order(0, 2);
  order(1, 3);
  order(1, 2);
#endif
#if OWNERS == 2
  order(RMS - 2, RMS - 1);
#endif
  k = 0
}
#elif defined(BREADTH_FIRST)
inline settle() {
  j = 0;
  k = 0;
  m = 0;
  process = 0;
  what = idle;
  verdict = idle
}
#else
inline settle() { skip }
#endif

/* The end of a rule that gives recovery something new to look at. */
inline changed() {
  for (m : 0 .. LOGS - 1) { news[m] = 1 }
  settle()
}
