#pragma once

#include <string>

#include "assent/xa/reply.h"

namespace assent::mysql {

/// Numbers of errors that this adapter acts on (MySQL: Server Error Message Reference; MariaDB: Error Codes).
enum ServerError : int {
  dup_entry = 1062,
  wrong_value_count = 1136,
  unknown_thread = 1094,
  kill_denied = 1095,
  no_such_table = 1146,
  packets_out_of_order = 1156,
  lock_wait_timeout = 1205,
  lock_deadlock = 1213,
  query_interrupted = 1317,
  xaer_nota = 1397,
  xaer_inval = 1398,
  xaer_rmfail = 1399,
  xaer_outside = 1400,
  xaer_rmerr = 1401,
  xa_rbrollback = 1402,
  xaer_dupid = 1440,
  in_transaction = 1568,
  xa_rbtimeout = 1613,
  xa_rbdeadlock = 1614,
  out_of_range = 1690,
  statement_timeout_mariadb = 1969,
  out_of_sync = 2014,
  query_timeout_mysql = 3024,
  lock_nowait_mysql = 3572,
};

/// Why a statement failed.
struct Failure {
  int number = 0;
  std::string state;
  std::string text;   ///< the server's own words; never holds a password
  bool lost = false;  ///< the session is gone: whether the statement took effect is not known

  std::string describe() const;
};

/// True for errors after which nothing is known of the session or of the statement.
bool loses_session(int number);

/// The server's word that it rolled a branch back and forgot it. Other errors with a code rb_… are of one statement
/// only.
bool tells_rollback(const Failure& failure);

/// The code of X/Open XA that says the same.
Code code_of(const Failure& failure);

/// For a verb that certainly had no effect.
Reply refused(const Failure& failure);

/// For a verb whose effect depends: unknown if the session was lost, not_done otherwise.
Reply failed(const Failure& failure);

}  // namespace assent::mysql
