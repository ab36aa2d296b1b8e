#pragma once

#include <exception>
#include <memory>

#include "assent/adapters/postgres/native.h"
#include "assent/xa/branch.h"
#include "assent/xa/registry.h"
#include "assent/xa/resource_manager.h"

namespace assent {

/// PostgreSQL, for the typed handle Resource<Postgres>.
///
/// URL: `postgresql://user@host:port/database`, a local socket's folder as host in %2F notation. Parameters: sslmode,
/// sslrootcert, sslcert, sslkey, sslcrl, gssencmode, connect_timeout (seconds), tcp_user_timeout (milliseconds),
/// application_name; password_env, password_file. An sslmode of require or more is held to on local sockets too:
/// refused.
///
/// What an application does with the session:
/// - `sql.exec("UPDATE …")`, exec_params; as the pqxx::dbtransaction& that it converts to, pipelines, streams, and
///   pqxx::subtransaction for savepoints. A failed statement fails the whole branch (prepare() answers rb_rollback)
///   unless a savepoint is rolled back to.
/// - The transaction begins with the first of them. sql.exec() sends BEGIN along with a text that has no ';' before its
///   end; everything else, and a work that takes a pqxx transaction, waits for it: one round trip more. When it cannot
///   begin, this throws pqxx::broken_connection.
/// - Not: COMMIT, ROLLBACK, PREPARE TRANSACTION, SET application_name. prepare() notices and refuses. commit() of the
///   pqxx object throws.
/// - What it leaves in a pooled session (SET, prepared statements, session advisory locks, LISTEN, temporary tables) is
///   discarded when the branch is over. PostgreSQL refuses to prepare a branch that used temporary tables, LISTEN or
///   NOTIFY.
/// - A declared read-only branch that says NOTIFY sends it when it is prepared, before the decision.
/// - A one-phase branch whose only effects are outside of PostgreSQL's own tables (NOTIFY, writes through postgres_fdw)
///   leaves no witness: after a lost answer settle() calls it rolled back. Write a row beside them.
/// - A deadline bounds each statement by the time that is left when the session is handed out; a session that stays
///   idle a second past it is ended by the server.
struct Postgres {
  using Session = detail::postgres::Native;  ///< converts to pqxx::dbtransaction& and pqxx::transaction_base&
  using Connection = detail::postgres::NativeConnection;
  static constexpr const char* kind = "PostgreSQL";

  /// Schemes postgresql and postgres.
  static void register_with(Registry& registry);

  static bool owns(const ResourceManager& manager);

  /// What an exception of libpqxx says of the transaction: rb_deadlock and rb_transient (the session was lost) are
  /// worth another try, rb_other is not, nor is what libpqxx did not throw.
  static Code classify(const std::exception& failure);

  /// The native session of an active branch that this adapter opened; valid until end() or any verb that ends it.
  /// Throws Error{misuse} on every other.
  static Session& session(Branch& branch);

  /// A branch on the caller's own connection, which must outlive it. It must be open, idle on both sides, and lead to
  /// the database of the resource; it is idle again when the branch is over. It is never pooled and never closed here.
  static Result<std::unique_ptr<Branch>> adopt(ResourceManager& manager, Connection& borrowed, const Xid& xid,
                                               const StartOptions& options);
};

}  // namespace assent
