#include "assent/xa/code.h"

namespace assent {

std::string_view xopen_name(Code code) {
  switch (code) {
    case Code::ok:
      return "XA_OK";
    case Code::read_only:
      return "XA_RDONLY";
    case Code::retry:
      return "XA_RETRY";
    case Code::heuristic_mixed:
      return "XA_HEURMIX";
    case Code::heuristic_rollback:
      return "XA_HEURRB";
    case Code::heuristic_commit:
      return "XA_HEURCOM";
    case Code::heuristic_hazard:
      return "XA_HEURHAZ";
    case Code::no_migrate:
      return "XA_NOMIGRATE";
    case Code::rb_rollback:
      return "XA_RBROLLBACK";
    case Code::rb_comm_fail:
      return "XA_RBCOMMFAIL";
    case Code::rb_deadlock:
      return "XA_RBDEADLOCK";
    case Code::rb_integrity:
      return "XA_RBINTEGRITY";
    case Code::rb_other:
      return "XA_RBOTHER";
    case Code::rb_protocol:
      return "XA_RBPROTO";
    case Code::rb_timeout:
      return "XA_RBTIMEOUT";
    case Code::rb_transient:
      return "XA_RBTRANSIENT";
    case Code::async:
      return "XAER_ASYNC";
    case Code::resource_error:
      return "XAER_RMERR";
    case Code::not_found:
      return "XAER_NOTA";
    case Code::invalid:
      return "XAER_INVAL";
    case Code::protocol_error:
      return "XAER_PROTO";
    case Code::resource_failed:
      return "XAER_RMFAIL";
    case Code::duplicate:
      return "XAER_DUPID";
    case Code::outside:
      return "XAER_OUTSIDE";
  }
  return "unknown code";
}

bool is_rollback(Code code) {
  return code >= Code::rb_rollback && code <= Code::rb_transient;
}

bool is_heuristic(Code code) {
  return code >= Code::heuristic_mixed && code <= Code::heuristic_hazard;
}

}  // namespace assent
