#pragma once

#include <string_view>

namespace assent {

/// Return codes of X/Open XA (The XA Specification, C193, chapter 4), by our own names: a vendor's xa.h defines the
/// originals as macros.
enum class Code {
  ok,                  ///< XA_OK
  read_only,           ///< XA_RDONLY: nothing to commit, the branch is over
  retry,               ///< XA_RETRY: nothing happened, the same call may be made again
  heuristic_mixed,     ///< XA_HEURMIX: partly committed, partly rolled back
  heuristic_rollback,  ///< XA_HEURRB: rolled back on the resource's own account
  heuristic_commit,    ///< XA_HEURCOM: committed on the resource's own account
  heuristic_hazard,    ///< XA_HEURHAZ: may have been completed on the resource's own account
  no_migrate,          ///< XA_NOMIGRATE
  rb_rollback,         ///< XA_RBROLLBACK: rolled back, reason unknown or none
  rb_comm_fail,        ///< XA_RBCOMMFAIL: rolled back, communication failed inside the resource
  rb_deadlock,         ///< XA_RBDEADLOCK: rolled back, deadlock (or serialization failure) detected
  rb_integrity,        ///< XA_RBINTEGRITY: rolled back, a constraint was violated
  rb_other,            ///< XA_RBOTHER: rolled back, another reason
  rb_protocol,         ///< XA_RBPROTO: rolled back, protocol error inside the resource
  rb_timeout,          ///< XA_RBTIMEOUT: rolled back, took too long
  rb_transient,        ///< XA_RBTRANSIENT: rolled back, may be retried
  async,               ///< XAER_ASYNC: asynchronous operation already outstanding
  resource_error,      ///< XAER_RMERR: the resource refused for a reason of its own (text says which)
  not_found,           ///< XAER_NOTA: no such branch. Says neither "committed" nor "rolled back"
  invalid,             ///< XAER_INVAL: bad arguments
  protocol_error,      ///< XAER_PROTO: verb not allowed in the branch's state
  resource_failed,     ///< XAER_RMFAIL: the resource cannot be reached now; ask again later
  duplicate,           ///< XAER_DUPID: that xid exists already
  outside,             ///< XAER_OUTSIDE: the resource does work outside of a global transaction
};

/// "XA_RBDEADLOCK" for rb_deadlock, and so on.
std::string_view xopen_name(Code code);

/// True for rb_…: the branch has been rolled back or can only be rolled back.
bool is_rollback(Code code);

/// True for heuristic_…
bool is_heuristic(Code code);

}  // namespace assent
