#include "assent/adapters/mysql/failure.h"

namespace assent::mysql {

std::string Failure::describe() const {
  return number == 0 ? text : text + " (error " + std::to_string(number) + ')';
}

bool loses_session(int number) {
  // What the client library itself reports (2000 to 2999), and what has no number at all.
  if (number == 0 || (number >= 2000 && number < 3000)) return true;
  switch (number) {
    case 1053:  // server shutdown in progress
    case 1077:  // normal shutdown
    case 1079:
    case 1080:  // forcing close of thread
    case 1152:  // aborted connection
    case packets_out_of_order:
    case 1158:  // reading and writing packets: 1158 to 1161
    case 1159:
    case 1160:
    case 1161:
    case 1184:  // aborted connection
    case 1927:  // connection was killed (MariaDB)
    case 3169:  // session was killed (MySQL)
    case 4031:  // disconnected for inactivity (MySQL)
      return true;
    default:
      return false;
  }
}

bool tells_rollback(const Failure& failure) {
  return failure.number == xa_rbrollback || failure.number == xa_rbtimeout || failure.number == xa_rbdeadlock;
}

Code code_of(const Failure& failure) {
  if (failure.lost) return Code::resource_failed;
  switch (failure.number) {
    case xaer_nota:
      return Code::not_found;
    case xaer_inval:
      return Code::invalid;
    case xaer_rmfail:
      return Code::protocol_error;
    case xaer_outside:
    case in_transaction:
      return Code::outside;
    case xaer_dupid:
      return Code::duplicate;
    case xa_rbrollback:
      return Code::rb_rollback;
    case xa_rbtimeout:
    case lock_wait_timeout:
    case query_interrupted:
    case statement_timeout_mariadb:
    case query_timeout_mysql:
      return Code::rb_timeout;
    case xa_rbdeadlock:
    case lock_deadlock:
      return Code::rb_deadlock;
    case dup_entry:
      return Code::rb_integrity;
    case 1040:  // too many connections
    case 1129:  // host is blocked
    case 1203:  // user has too many connections
    case 1226:  // user has exceeded a resource
    case 2005:  // unknown host: a name server may be back later
      return Code::resource_failed;
    default:
      return Code::resource_error;
  }
}

Reply refused(const Failure& failure) {
  return Reply::not_done(code_of(failure), failure.describe());
}

Reply failed(const Failure& failure) {
  return failure.lost ? Reply::unknown(Code::resource_failed, failure.describe()) : refused(failure);
}

}  // namespace assent::mysql
