#pragma once

#include <exception>
#include <memory>

#include "assent/xa/branch.h"
#include "assent/xa/registry.h"
#include "assent/xa/resource_manager.h"
#include "assent/xa/resource_url.h"

namespace sql {
class Connection;
}

namespace assent {

/// The adapter for MySQL (8.0.29 or newer) and MariaDB (10.5 or newer), on MySQL Connector/C++ 1.1.
///
/// **URL.** `mysql://user[:password]@host[:port]/schema[?key=value&…]`, or `mariadb://…`; which server it really is, it
/// is asked. Keys: `socket` (path of a Unix socket), `ssl` (`require`: encrypted or refused; `verify`: and the
/// certificate is signed by `ssl_ca` and names the host; `off`, the default: plain text), `ssl_ca`, `connect_timeout`,
/// `read_timeout`, `write_timeout` (whole seconds; read and write: none unless set, because a reply cut off makes an
/// effect unknown), `recovery_wait` (whole seconds, 5: how long recovery waits for a session that is in its way),
/// `password_env`, `password_file`.
///
/// **What an application must know.**
/// - *A failed statement does not end the branch.* After a lock wait timeout (1205), a deadline (1969, 3024, 1317), a
///   duplicate key (1062) and most other errors the server undoes that statement only, and what was done before it
///   would be prepared and committed. The connector throws sql::SQLException for each: let it leave the unit of work,
///   or roll back. Only a deadlock (1213) makes the branch rollback-only by itself; prepare() then answers rb_deadlock.
/// - *SLEEP() on MySQL, interrupted by the deadline, returns 1 and throws nothing.*
/// - Sessions accept several statements in one text (CLIENT_MULTI_STATEMENTS), because each verb is then one round
///   trip, and the connector cannot switch it off again afterwards. It makes an SQL injection worse: never build
///   statements from strings; use prepareStatement(), whose protocol refuses several statements.
/// - The server refuses COMMIT, ROLLBACK, and statements that commit implicitly (DDL, LOCK TABLES) in a branch: 1399.
/// - Tables without transactions (MyISAM, MEMORY, Aria) keep what a rolled-back branch wrote: examine() names them.
/// - RELEASE_ALL_LOCKS() also frees the lock by which recovery knows who carries the branch; prepare() takes it again.
/// - Before a session is used again, autocommit, the current schema, names of character sets, user locks, and the
///   variables that change what statements mean are reset. Temporary tables and user variables are not: drop your own.
/// - A deadline bounds each statement: on MariaDB by max_statement_time, anew for each; on MySQL by max_execution_time
///   (reads) and by KILL QUERY from a second session (all). innodb_lock_wait_timeout is in whole seconds, at least 1.
///
/// **Own tables** in the schema, created by probe() where they are missing: `assent_witness`, one small row for each
/// branch that was opened to write, deleted by forget(); and `assent_identity`, one row, which identifies a MariaDB
/// schema (MariaDB has no server UUID that outlives a move to other hardware). A copied or restored schema has the
/// same identity as its original: empty assent_identity in the copy.
///
/// **Privileges**: SELECT, INSERT, UPDATE and DELETE on assent_witness and assent_identity (and CREATE, once); MySQL:
/// XA_RECOVER_ADMIN. Recovery runs as the same user as the application, so that it may end a dead owner's session.
struct MySql {
  using Session = sql::Connection;
  using Connection = sql::Connection;
  static constexpr const char* kind = "MySQL";

  /// For the schemes mysql and mariadb. The factory throws Error{configuration} and does not connect.
  static void register_with(Registry& registry);

  /// The connector's session of a branch. Throws Error{misuse} when the branch is of another adapter. Valid as long as
  /// the branch; use it for statements only.
  static Session& session(Branch& branch);

  /// A branch on a connection of the caller's: must lead to the resource's own database and be idle, is proven so by XA
  /// START (refused inside of a transaction) and at the end by the verb that finishes the branch. Never pooled, never
  /// closed; it must outlive the branch. On MariaDB a prepared branch whose Branch object is destroyed stays with the
  /// connection until the caller closes it. Slower where the connection was opened without CLIENT_MULTI_STATEMENTS.
  static Result<std::unique_ptr<Branch>> adopt(ResourceManager& manager, Connection& borrowed, const Xid& xid,
                                               const StartOptions& options);

  static bool owns(const ResourceManager& manager);

  /// What an exception of the connector says of the transaction: rb_deadlock is worth another try, rb_other is not, nor
  /// is what the connector did not throw.
  static Code classify(const std::exception& failure);
};

}  // namespace assent
