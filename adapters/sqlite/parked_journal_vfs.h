#pragma once

#include <sqlite3.h>

#include <cstdint>

#include "assent/adapters/sqlite/database_place.h"
#include "assent/xa/xid.h"

/// The VFS that gives SQLite a durable prepare. It is SQLite's own "unix" VFS but for this:
///
/// - While a ParkOnCommit lives on this thread, the deletion of the database's journal (the commit point of SQLite in
///   journal mode DELETE) parks the journal instead, and the exclusive lock stays.
/// - While a DurableCommit lives on this thread, that deletion is synced (SQLite itself syncs it only with
///   synchronous=EXTRA: a power loss after FULL can undo an acknowledged commit).
/// - A database file knows how often its transaction ended, whoever ended it.
/// - No shared memory and no memory map: a database in WAL mode cannot be used through it, nor be put into WAL mode.
/// - No atomic-write shortcuts: there is always a journal.
namespace assent::sqlite {

/// Registers the VFS once and returns its name. Null: SQLite has no "unix" VFS here, or memory ran out.
const char* parked_journal_vfs();

/// The main database file of a connection opened with the VFS. Used by the connection's thread only.
class DatabaseFile {
 public:
  /// How the file answers SQLite when that locks and unlocks.
  enum class Hold {
    none,    ///< passes on
    refuse,  ///< exclusively locked for a prepared branch: SQLITE_BUSY, and unlocking does nothing
    pass,    ///< exclusively locked by us: SQLite may do what it wants, and unlocking does nothing
    dead,    ///< unlocked for ever: SQLITE_BUSY
  };

  DatabaseFile(sqlite3_file* real, const char* path) : real_(real), place_(path) {}

  const DatabasePlace& place() const { return place_; }
  /// Grows whenever a transaction that held a lock ends.
  std::uint64_t ends() const { return ends_; }
  Hold hold() const { return hold_; }
  void set_hold(Hold hold) { hold_ = hold; }

  /// The exclusive lock, past SQLite's pager, which must be idle. An SQLite result code; SQLITE_BUSY: another has it.
  int lock_exclusive();
  /// The lock that every writer takes; given back at once. SQLITE_OK: at that moment nobody had it.
  int try_reserved();
  /// Gives the lock back, whatever the hold; `then` is none or dead.
  void unlock(Hold then);

  /// The file says in its header that it is in WAL mode. Readable also when SQLite refuses to open it.
  bool says_wal();

 private:
  friend struct VfsCalls;
  sqlite3_file* real_;
  DatabasePlace place_;
  std::uint64_t ends_ = 0;
  Hold hold_ = Hold::none;
};

/// The main file of the connection, or null if it was not opened with our VFS (or is a memory database).
DatabaseFile* database_file(sqlite3* connection);

/// Makes the next COMMIT of the connection on this thread a prepare. To be ended right after it: a ROLLBACK deletes the
/// journal too.
class ParkOnCommit {
 public:
  ParkOnCommit(DatabaseFile& file, const Xid& xid);
  ~ParkOnCommit();
  ParkOnCommit(const ParkOnCommit&) = delete;
  ParkOnCommit& operator=(const ParkOnCommit&) = delete;

  bool parked() const { return parked_; }
  /// What went wrong; ok if it was not reached.
  const Moved& moved() const { return moved_; }

 private:
  friend struct VfsCalls;
  DatabaseFile& file_;
  const Xid& xid_;
  bool parked_ = false;
  bool given_up_ = false;
  Moved moved_;
};

/// Makes commits of the file on this thread survive a power loss.
class DurableCommit {
 public:
  explicit DurableCommit(DatabaseFile& file);
  ~DurableCommit();
  DurableCommit(const DurableCommit&) = delete;
  DurableCommit& operator=(const DurableCommit&) = delete;
};

/// While it lives, SQLite on this thread does not see the guard of the file: it reads the new pages of a branch in
/// doubt. Only under lock_exclusive() and hold pass: then nobody can undo them meanwhile.
class LookPastGuard {
 public:
  explicit LookPastGuard(DatabaseFile& file);
  ~LookPastGuard();
  LookPastGuard(const LookPastGuard&) = delete;
  LookPastGuard& operator=(const LookPastGuard&) = delete;
};

}  // namespace assent::sqlite
