#pragma once

#include <sqlite3.h>

#include <memory>

#include "assent/xa/branch.h"
#include "assent/xa/registry.h"
#include "assent/xa/reply.h"
#include "assent/xa/resource_manager.h"
#include "assent/xa/xid.h"

namespace assent {

/// SQLite with a durable prepare. How it works, and what it asks of the database file: docs/sqlite.md.
///
/// URLs: `sqlite:///relative.db` (relative to the directory in which the resource was opened) and
/// `sqlite:////absolute/path.db`. Parameters: `mode=rw` (default: the file must exist) or `mode=rwc` (created);
/// `foreign_keys=on|off` (default off, as in SQLite itself: the pragma cannot be given inside a transaction).
///
/// What the branch holds: SQLite's write lock from start() on (BEGIN IMMEDIATE), the exclusive lock from prepare() on.
/// One SQLite connection is used by one thread at a time; it need not be the same thread.
struct Sqlite {
  using Session = sqlite3;
  using Connection = sqlite3;
  static constexpr const char* kind = "SQLite";

  static void register_with(Registry& registry);

  /// The connection of an open branch: pass `&Sqlite::session(branch)` to SQLite's C functions. Valid as long as the
  /// branch is. Never close it; finalize every statement before the branch ends. The connection's commit, progress and
  /// busy handlers are in use. Throws Error{misuse} if the branch is another adapter's.
  static Session& session(Branch& branch);

  /// Opens a branch on the caller's own connection, which must have been opened with vfs() on the resource's file and
  /// be idle: no transaction, no statement being stepped; else refused. Its busy handler becomes Assent's while the
  /// branch is open; afterwards busy_timeout() and query_only are as before. If a prepared branch is destroyed, the
  /// connection answers SQLITE_BUSY for ever and must be closed by its owner.
  static Result<std::unique_ptr<Branch>> adopt(ResourceManager& resource, Connection& borrowed, const Xid& xid,
                                               const StartOptions& options);

  /// True if the resource is one of this adapter.
  static bool owns(const ResourceManager& resource);

  /// The name for sqlite3_open_v2(): registers the VFS that parks journals, if it is not yet.
  static const char* vfs();
};

}  // namespace assent
