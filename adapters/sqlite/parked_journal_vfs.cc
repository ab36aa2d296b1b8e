#include "assent/adapters/sqlite/parked_journal_vfs.h"

#include <sys/stat.h>

#include <cstring>
#include <mutex>
#include <new>
#include <string>

namespace assent::sqlite {
namespace {

constexpr const char* vfs_name = "assent-parked-journal";

sqlite3_vfs* real_vfs = nullptr;
sqlite3_vfs our_vfs{};

// SQLite deletes a journal by its name, in the thread of the COMMIT: that is how the COMMIT's wishes find the deletion.
thread_local ParkOnCommit* park_on_commit = nullptr;
thread_local const DatabaseFile* durable_commit = nullptr;
thread_local const DatabaseFile* look_past_guard = nullptr;

/// Laid out by SQLite, which allocates szOsFile bytes; the real file follows behind.
struct ShimFile {
  sqlite3_file base;
  DatabaseFile* database;  ///< null for journals and temporary files
  bool is_main_journal;
};

ShimFile* shim(sqlite3_file* file) {
  return reinterpret_cast<ShimFile*>(file);
}
constexpr std::size_t real_offset = (sizeof(ShimFile) + 15) / 16 * 16;
sqlite3_file* real(sqlite3_file* file) {
  return reinterpret_cast<sqlite3_file*>(reinterpret_cast<char*>(file) + real_offset);
}

bool is_journal_of(const DatabaseFile& file, const char* name) {
  return file.place().journal() == name;
}

}  // namespace

struct VfsCalls {
  static int close(sqlite3_file* file) {
    const int code = real(file)->pMethods != nullptr ? real(file)->pMethods->xClose(real(file)) : SQLITE_OK;
    delete shim(file)->database;
    shim(file)->database = nullptr;
    return code;
  }
  static int read(sqlite3_file* file, void* into, int size, sqlite3_int64 offset) {
    return real(file)->pMethods->xRead(real(file), into, size, offset);
  }
  static int write(sqlite3_file* file, const void* from, int size, sqlite3_int64 offset) {
    return real(file)->pMethods->xWrite(real(file), from, size, offset);
  }
  static int truncate(sqlite3_file* file, sqlite3_int64 size) {
    return real(file)->pMethods->xTruncate(real(file), size);
  }
  static int sync(sqlite3_file* file, int flags) {
    const DatabaseFile* database = shim(file)->database;
    if (database != nullptr && park_on_commit != nullptr && &park_on_commit->file_ == database) {
      // The last step before the journal's deletion. Without a journal by that name SQLite would commit for good.
      struct stat status {};
      if (::stat(database->place().journal().c_str(), &status) != 0 || !S_ISREG(status.st_mode) ||
          status.st_size == 0) {
        park_on_commit->moved_ = {ENOENT, true, "look for the undo journal " + database->place().journal()};
        return SQLITE_IOERR_FSYNC;
      }
    }
    return real(file)->pMethods->xSync(real(file), flags);
  }
  static int file_size(sqlite3_file* file, sqlite3_int64* size) {
    // The pager asks for the size of its own journal only to play it back: the COMMIT has failed, and the deletion that
    // follows would end a rollback. Parked then, the old contents would pass for the branch's.
    if (shim(file)->is_main_journal && park_on_commit != nullptr) park_on_commit->given_up_ = true;
    return real(file)->pMethods->xFileSize(real(file), size);
  }
  static int lock(sqlite3_file* file, int level) {
    if (const DatabaseFile* database = shim(file)->database; database != nullptr) {
      if (database->hold_ == DatabaseFile::Hold::refuse || database->hold_ == DatabaseFile::Hold::dead) {
        return SQLITE_BUSY;
      }
      if (database->hold_ == DatabaseFile::Hold::pass) return SQLITE_OK;
    }
    return real(file)->pMethods->xLock(real(file), level);
  }
  static int unlock(sqlite3_file* file, int level) {
    if (DatabaseFile* database = shim(file)->database; database != nullptr) {
      ++database->ends_;
      if (database->hold_ != DatabaseFile::Hold::none) return SQLITE_OK;
    }
    return real(file)->pMethods->xUnlock(real(file), level);
  }
  static int check_reserved_lock(sqlite3_file* file, int* reserved) {
    if (const DatabaseFile* database = shim(file)->database;
        database != nullptr && database->hold_ == DatabaseFile::Hold::pass) {
      *reserved = 0;  // the lock is ours: it must not hide a hot journal from SQLite
      return SQLITE_OK;
    }
    return real(file)->pMethods->xCheckReservedLock(real(file), reserved);
  }
  static int file_control(sqlite3_file* file, int operation, void* argument) {
    return real(file)->pMethods->xFileControl(real(file), operation, argument);
  }
  static int sector_size(sqlite3_file* file) { return real(file)->pMethods->xSectorSize(real(file)); }
  static int device_characteristics(sqlite3_file* file) {
    constexpr int atomic = SQLITE_IOCAP_ATOMIC | SQLITE_IOCAP_ATOMIC512 | SQLITE_IOCAP_ATOMIC1K |
                           SQLITE_IOCAP_ATOMIC2K | SQLITE_IOCAP_ATOMIC4K | SQLITE_IOCAP_ATOMIC8K |
                           SQLITE_IOCAP_ATOMIC16K | SQLITE_IOCAP_ATOMIC32K | SQLITE_IOCAP_ATOMIC64K |
                           SQLITE_IOCAP_BATCH_ATOMIC;
    return real(file)->pMethods->xDeviceCharacteristics(real(file)) & ~atomic;
  }

  static int open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags);

  static int remove(sqlite3_vfs*, const char* name, int sync_directory) {
    ParkOnCommit* const wish = park_on_commit;
    if (wish != nullptr && !wish->parked_ && !wish->given_up_ && wish->moved_.ok() &&
        is_journal_of(wish->file_, name)) {
      wish->moved_ = wish->file_.place().park(wish->xid_);
      if (!wish->moved_.ok()) return SQLITE_IOERR_DELETE;
      wish->parked_ = true;
      wish->file_.set_hold(DatabaseFile::Hold::refuse);
      return SQLITE_OK;
    }
    const bool durable = durable_commit != nullptr && is_journal_of(*durable_commit, name);
    return real_vfs->xDelete(real_vfs, name, durable ? 1 : sync_directory);
  }
  static int access(sqlite3_vfs*, const char* name, int flags, int* result) {
    if (look_past_guard != nullptr && is_journal_of(*look_past_guard, name)) {
      *result = 0;
      return SQLITE_OK;
    }
    return real_vfs->xAccess(real_vfs, name, flags, result);
  }

  static DatabaseFile* of(sqlite3_file* file);
};

namespace {

// Version 1: no shared memory (WAL), no memory map, which would go past these calls.
const sqlite3_io_methods methods = {
    1,
    VfsCalls::close,
    VfsCalls::read,
    VfsCalls::write,
    VfsCalls::truncate,
    VfsCalls::sync,
    VfsCalls::file_size,
    VfsCalls::lock,
    VfsCalls::unlock,
    VfsCalls::check_reserved_lock,
    VfsCalls::file_control,
    VfsCalls::sector_size,
    VfsCalls::device_characteristics,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
};

}  // namespace

int VfsCalls::open(sqlite3_vfs*, const char* name, sqlite3_file* file, int flags, int* out_flags) {
  shim(file)->base.pMethods = nullptr;
  shim(file)->database = nullptr;
  shim(file)->is_main_journal = (flags & SQLITE_OPEN_MAIN_JOURNAL) != 0;
  std::memset(real(file), 0, static_cast<std::size_t>(real_vfs->szOsFile));
  const int code = real_vfs->xOpen(real_vfs, name, real(file), flags, out_flags);
  if (real(file)->pMethods == nullptr) return code;
  if ((flags & SQLITE_OPEN_MAIN_DB) != 0 && name != nullptr && code == SQLITE_OK) {
    shim(file)->database = new (std::nothrow) DatabaseFile(real(file), name);
    if (shim(file)->database == nullptr) {
      real(file)->pMethods->xClose(real(file));
      return SQLITE_NOMEM;
    }
  }
  shim(file)->base.pMethods = &methods;
  return code;
}

DatabaseFile* VfsCalls::of(sqlite3_file* file) {
  return file != nullptr && file->pMethods == &methods ? shim(file)->database : nullptr;
}

int DatabaseFile::lock_exclusive() {
  int code = real_->pMethods->xLock(real_, SQLITE_LOCK_SHARED);
  if (code != SQLITE_OK) return code;
  code = real_->pMethods->xLock(real_, SQLITE_LOCK_EXCLUSIVE);
  if (code != SQLITE_OK) {
    real_->pMethods->xUnlock(real_, SQLITE_LOCK_NONE);
    return code;
  }
  hold_ = Hold::pass;
  return SQLITE_OK;
}

int DatabaseFile::try_reserved() {
  int code = real_->pMethods->xLock(real_, SQLITE_LOCK_SHARED);
  if (code != SQLITE_OK) return code;
  code = real_->pMethods->xLock(real_, SQLITE_LOCK_RESERVED);
  real_->pMethods->xUnlock(real_, SQLITE_LOCK_NONE);
  return code;
}

void DatabaseFile::unlock(Hold then) {
  hold_ = then;
  real_->pMethods->xUnlock(real_, SQLITE_LOCK_NONE);
}

bool DatabaseFile::says_wal() {
  unsigned char version[2] = {};
  return real_->pMethods->xRead(real_, version, 2, 18) == SQLITE_OK && (version[0] == 2 || version[1] == 2);
}

ParkOnCommit::ParkOnCommit(DatabaseFile& file, const Xid& xid) : file_(file), xid_(xid) {
  park_on_commit = this;
}
ParkOnCommit::~ParkOnCommit() {
  park_on_commit = nullptr;
}

DurableCommit::DurableCommit(DatabaseFile& file) {
  durable_commit = &file;
}
DurableCommit::~DurableCommit() {
  durable_commit = nullptr;
}

LookPastGuard::LookPastGuard(DatabaseFile& file) {
  look_past_guard = &file;
}
LookPastGuard::~LookPastGuard() {
  look_past_guard = nullptr;
}

const char* parked_journal_vfs() {
  static std::once_flag once;
  static bool registered = false;
  std::call_once(once, [] {
    if (sqlite3_initialize() != SQLITE_OK) return;
    // By its name: locks must be the POSIX locks that every other user of the file has.
    real_vfs = sqlite3_vfs_find("unix");
    if (real_vfs == nullptr) return;
    our_vfs = *real_vfs;
    our_vfs.zName = vfs_name;
    our_vfs.pNext = nullptr;
    our_vfs.szOsFile = static_cast<int>(real_offset) + real_vfs->szOsFile;
    our_vfs.xOpen = VfsCalls::open;
    our_vfs.xDelete = VfsCalls::remove;
    our_vfs.xAccess = VfsCalls::access;
    registered = sqlite3_vfs_register(&our_vfs, 0) == SQLITE_OK;
  });
  return registered ? vfs_name : nullptr;
}

DatabaseFile* database_file(sqlite3* connection) {
  sqlite3_file* file = nullptr;
  if (sqlite3_file_control(connection, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK) return nullptr;
  return VfsCalls::of(file);
}

}  // namespace assent::sqlite
