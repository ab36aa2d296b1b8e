#pragma once

#include <sqlite3.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "assent/adapters/sqlite/parked_journal_vfs.h"
#include "assent/xa/fork_guard.h"
#include "assent/xa/reply.h"

namespace assent::sqlite {

using TimePoint = std::chrono::steady_clock::time_point;

/// What a resource's URL asks for.
struct Settings {
  std::string path;  ///< absolute, as configured; SQLite resolves its links
  bool create = false;
  bool foreign_keys = false;
};

/// One SQLite connection opened with our VFS. One thread at a time. Not to be used or destroyed in a forked child
/// (closing there is harmless to the parent's locks, but SQLite's own tables of them would be wrong).
class Session {
 public:
  /// Opens; reads nothing yet, so also a database that is in doubt. Its errors name the file and what to do.
  static Result<std::unique_ptr<Session>> open(const Settings& settings);
  /// Uses the caller's connection, and never closes it. Null: not one of our VFS.
  static std::unique_ptr<Session> borrow(sqlite3& connection);

  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  sqlite3& connection() { return *connection_; }
  DatabaseFile& file() { return *file_; }
  bool borrowed() const { return borrowed_; }
  bool in_child() const { return process_.in_child(); }

  /// One or more statements without results. An SQLite extended result code.
  int execute(const char* sql);
  /// The first column of the first row; nothing when there is no row or it failed (see error()).
  std::optional<std::string> ask(const char* sql);
  std::string error() const;

  /// Until when locks are waited for; nothing: not at all.
  void wait_for_locks_until(std::optional<TimePoint> until) { lock_deadline_ = until; }
  /// Interrupts statements that still run at the deadline; nothing: they may run as long as they want.
  void interrupt_at(std::optional<TimePoint> deadline);
  bool interrupt_due() const;

  /// While on, an application's own COMMIT is turned into a rollback by the commit hook.
  void forbid_commit(bool on) { commit_forbidden_ = on; }

  bool in_transaction() const { return sqlite3_get_autocommit(connection_) == 0; }
  bool has_running_statement() const;
  bool has_statement() const { return sqlite3_next_stmt(connection_, nullptr) != nullptr; }

  /// Nothing of the last user is left: no transaction, statement, attached database, temporary table or setting that
  /// prepare refuses.
  bool is_clean();

  /// The settings without which a prepare or commit would not be what it says: nothing if all is well, else the
  /// refusal.
  std::optional<Reply> check_durability();

  /// Turns the failure of a first statement into a reply that says why: WAL mode, a branch in doubt, busy, …
  Reply explain(int code, std::string_view what);

 private:
  Session(sqlite3* connection, DatabaseFile* file, bool borrowed);
  static int on_busy(void* self, int tries);
  static int on_progress(void* self);
  static int on_commit(void* self);

  sqlite3* connection_;
  DatabaseFile* file_;
  bool borrowed_;
  bool commit_forbidden_ = false;
  ForkGuard process_;
  std::optional<TimePoint> lock_deadline_;
  std::optional<TimePoint> deadline_;
  std::string saved_busy_timeout_;
  std::string saved_query_only_;
};

}  // namespace assent::sqlite
