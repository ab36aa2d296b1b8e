#include "assent/adapters/sqlite/session.h"

#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

namespace assent::sqlite {
namespace {

constexpr int instructions_between_looks_at_the_clock = 4000;

struct FinalizeStatement {
  void operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }
};

}  // namespace

Session::Session(sqlite3* connection, DatabaseFile* file, bool borrowed)
    : connection_(connection), file_(file), borrowed_(borrowed) {
  if (borrowed) {
    saved_busy_timeout_ = ask("PRAGMA busy_timeout").value_or("0");
    saved_query_only_ = ask("PRAGMA query_only").value_or("0");
  } else {
    sqlite3_extended_result_codes(connection, 1);
    sqlite3_commit_hook(connection, on_commit, this);
  }
  sqlite3_busy_handler(connection, on_busy, this);
}

Session::~Session() {
  interrupt_at(std::nullopt);
  if (borrowed_) {
    sqlite3_busy_handler(connection_, nullptr, nullptr);
    sqlite3_busy_timeout(connection_, std::atoi(saved_busy_timeout_.c_str()));
    execute(saved_query_only_ == "1" ? "PRAGMA query_only=1" : "PRAGMA query_only=0");
    return;
  }
  // A statement that somebody forgot keeps the connection alive; it must not keep a prepared branch's lock.
  if (file_->hold() == DatabaseFile::Hold::refuse) file_->unlock(DatabaseFile::Hold::dead);
  sqlite3_commit_hook(connection_, nullptr, nullptr);
  sqlite3_busy_handler(connection_, nullptr, nullptr);
  sqlite3_close_v2(connection_);
}

Result<std::unique_ptr<Session>> Session::open(const Settings& settings) {
  const char* const vfs = parked_journal_vfs();
  if (vfs == nullptr) {
    return Reply::not_done(Code::resource_error, "this SQLite library has no \"unix\" VFS to stand on");
  }
  // Asked by name before SQLite opens it: a descriptor of our own on the file would, when closed, drop every lock that
  // this process has on it.
  struct stat status {};
  if (::stat(settings.path.c_str(), &status) == 0) {
    if (!S_ISREG(status.st_mode)) {
      return Reply::not_done(Code::resource_error, settings.path + " is not a regular file");
    }
    if (status.st_nlink > 1) {
      return Reply::not_done(Code::resource_error,
                             settings.path +
                                 " has several hard links: SQLite would look for its journal beside one "
                                 "name only; keep one link");
    }
  } else if (!settings.create) {
    return Reply::not_done(Code::resource_failed,
                           "there is no database file " + settings.path +
                               "; check the path, or add ?mode=rwc to the URL to have it created");
  }
  sqlite3* connection = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_FULLMUTEX | (settings.create ? SQLITE_OPEN_CREATE : 0);
  const int code = sqlite3_open_v2(settings.path.c_str(), &connection, flags, vfs);
  DatabaseFile* const file = code == SQLITE_OK ? database_file(connection) : nullptr;
  if (file == nullptr || sqlite3_db_readonly(connection, "main") != 0) {
    std::string text = code != SQLITE_OK ? std::string(connection ? sqlite3_errmsg(connection) : "out of memory")
                       : file == nullptr ? "not a file that can be journaled"
                                         : "this user may not write to it";
    sqlite3_close(connection);
    return Reply::not_done(code == SQLITE_OK ? Code::resource_error : Code::resource_failed,
                           "cannot open " + settings.path + ": " + text);
  }
  return std::unique_ptr<Session>(new Session(connection, file, false));
}

std::unique_ptr<Session> Session::borrow(sqlite3& connection) {
  DatabaseFile* const file = database_file(&connection);
  if (file == nullptr) return nullptr;
  return std::unique_ptr<Session>(new Session(&connection, file, true));
}

int Session::execute(const char* sql) {
  const int code = sqlite3_exec(connection_, sql, nullptr, nullptr, nullptr);
  return code == SQLITE_OK ? SQLITE_OK : sqlite3_extended_errcode(connection_);
}

std::optional<std::string> Session::ask(const char* sql) {
  sqlite3_stmt* raw = nullptr;
  if (sqlite3_prepare_v2(connection_, sql, -1, &raw, nullptr) != SQLITE_OK) return std::nullopt;
  const std::unique_ptr<sqlite3_stmt, FinalizeStatement> statement(raw);
  if (sqlite3_step(raw) != SQLITE_ROW) return std::nullopt;
  const auto* bytes = static_cast<const char*>(sqlite3_column_blob(raw, 0));
  return std::string(bytes == nullptr ? "" : bytes, static_cast<std::size_t>(sqlite3_column_bytes(raw, 0)));
}

std::string Session::error() const {
  return sqlite3_errmsg(connection_);
}

int Session::on_busy(void* self, int tries) {
  const auto& session = *static_cast<Session*>(self);
  const auto now = std::chrono::steady_clock::now();
  if (!session.lock_deadline_ || now >= *session.lock_deadline_) return 0;
  const auto pause = std::chrono::milliseconds(std::min(1 + tries, 20));
  // SQLite tells nobody when a lock is free: whoever waits for one looks again, up to the deadline.
  std::this_thread::sleep_for(std::min<std::chrono::steady_clock::duration>(pause, *session.lock_deadline_ - now));
  return 1;
}

int Session::on_progress(void* self) {
  return static_cast<Session*>(self)->interrupt_due() ? 1 : 0;
}

int Session::on_commit(void* self) {
  return static_cast<Session*>(self)->commit_forbidden_ ? 1 : 0;
}

void Session::interrupt_at(std::optional<TimePoint> deadline) {
  const bool was = deadline_.has_value();
  deadline_ = deadline;
  if (deadline_) {
    sqlite3_progress_handler(connection_, instructions_between_looks_at_the_clock, on_progress, this);
  } else if (was) {
    sqlite3_progress_handler(connection_, 0, nullptr, nullptr);
  }
}

bool Session::interrupt_due() const {
  return deadline_ && std::chrono::steady_clock::now() >= *deadline_;
}

bool Session::has_running_statement() const {
  sqlite3_stmt* statement = nullptr;
  while ((statement = sqlite3_next_stmt(connection_, statement)) != nullptr) {
    if (sqlite3_stmt_busy(statement) != 0) return true;
  }
  return false;
}

bool Session::is_clean() {
  return !in_transaction() && !has_statement() && sqlite3_db_name(connection_, 2) == nullptr &&
         file_->hold() == DatabaseFile::Hold::none && ask("SELECT count(*) FROM sqlite_temp_schema") == "0" &&
         !check_durability();
}

std::optional<Reply> Session::check_durability() {
  const std::string mode = ask("PRAGMA main.journal_mode").value_or("");
  if (mode != "delete") {
    return Reply::not_done(Code::resource_error,
                           "the journal mode of " + file_->place().path() + " is '" + mode +
                               "', and only 'delete' can be prepared: PRAGMA journal_mode=DELETE, outside of a "
                               "transaction");
  }
  if (ask("PRAGMA main.locking_mode") != "normal") {
    return Reply::not_done(Code::resource_error,
                           "locking mode 'exclusive' cannot be prepared: PRAGMA locking_mode=NORMAL");
  }
  const std::string synchronous = ask("PRAGMA main.synchronous").value_or("");
  if (synchronous != "2" && synchronous != "3") {
    return Reply::not_done(Code::resource_error,
                           "synchronous is " + (synchronous.empty() ? std::string("not known") : synchronous) +
                               ", and a power loss could undo what was acknowledged: PRAGMA synchronous=FULL, outside "
                               "of a transaction");
  }
  return std::nullopt;
}

Reply Session::explain(int code, std::string_view what) {
  const std::string& path = file_->place().path();
  const int primary = code & 0xff;
  if (file_->says_wal()) {
    return Reply::not_done(Code::resource_error,
                           path +
                               " is in WAL mode, which cannot be prepared: run PRAGMA journal_mode=DELETE on it "
                               "once, with every other connection closed");
  }
  if (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN || primary == SQLITE_BUSY) {
    if (const auto state = file_->place().look(); state && state->at_journal == AtJournal::guard) {
      std::string names;
      for (const ParkedEntry& entry : state->parked) {
        if (entry.is_journal) names += (names.empty() ? "" : ", ") + entry.xid.text();
      }
      return Reply::not_done(Code::resource_failed, path +
                                                        " is held by a branch that is prepared and not yet finished" +
                                                        (names.empty() ? "" : " (" + names + ")"));
    }
  }
  if (primary == SQLITE_BUSY || primary == SQLITE_LOCKED) {
    return Reply::not_done(Code::resource_failed, path + " stayed locked by another connection: " + error());
  }
  return Reply::not_done(
      primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN ? Code::resource_failed : Code::resource_error,
      std::string(what) + " on " + path + ": " + error());
}

}  // namespace assent::sqlite
