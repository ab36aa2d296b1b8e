#pragma once

namespace assent {

/// Mistakes that have lost transactions elsewhere, to be made on purpose, one at a time, in the simulator's build: it
/// must find each of them (tests/simulation). In every other build each is `false` and leaves no code.
enum class Defect {
  none,
  wrong_decider,           ///< abort is presumed for another log's branch (rule 1)
  incarnation_unchecked,   ///< and for an incarnation that the log does not know (rule 2)
  copied_log_trusted,      ///< a copied log is taken for the original (rule 2)
  acts_before_sync,        ///< phase two begins before the decision is on disk (rule 3)
  failed_force_is_abort,   ///< rollback after a force of unknown result (rule 4)
  not_found_truncates,     ///< "no such branch" is taken for "committed" (rule 5)
  decision_left_behind,    ///< a new segment begins without the unfinished decisions (rule 5)
  late_prepare_forgotten,  ///< one empty scan confirms a rollback (rule 6)
  live_rolled_back,        ///< recovery rolls back the branch of a running transaction (rule 6)
  identity_unchecked,      ///< a branch is finished in another database of that name (rule 8)
  last_resource_presumed,  ///< what a last resource has no row of is rolled back, and it is not barred (rule 1)
  bar_removed_early,       ///< a bar is removed while a session can still commit what it bars (rule 6)
  row_forgotten_early,     ///< a decision's row is removed while a branch is not yet committed (rule 5)
  log_read_once,           ///< an outcome stands on a log read before the row, which recovery removes meanwhile
};

#ifdef ASSENT_PLANTED_DEFECTS
extern Defect planted_defect;
inline bool planted(Defect defect) {
  return defect == planted_defect;
}
#else
constexpr bool planted(Defect) {
  return false;
}
#endif

}  // namespace assent
