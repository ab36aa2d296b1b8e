#include "assent/adapters/sqlite/manager.h"

#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <thread>
#include <utility>

#include "assent/adapters/sqlite/branch.h"
#include "assent/adapters/sqlite/doctor.h"
#include "assent/adapters/sqlite/witness.h"
#include "assent/xa/error.h"

namespace assent::sqlite {
namespace {

constexpr std::chrono::milliseconds longest_wait_for_recovery_lock{250};
constexpr std::chrono::milliseconds pause_for_recovery_lock{5};

Settings settings_of(const ResourceSpec& spec) {
  const auto refuse = [&](const std::string& why, const std::string& hint) {
    throw Error(ErrorCode::configuration, "resource '" + spec.name + "': " + why, hint);
  };
  if (!spec.url.host.empty() || spec.url.port != 0 || !spec.url.user.empty()) {
    refuse("a sqlite URL has no host, port or user",
           "write sqlite:///relative.db or sqlite:////absolute/path.db, with three or four slashes");
  }
  if (spec.url.path.empty() || spec.url.path == ":memory:" || spec.url.path == "/") {
    refuse("the URL names no database file, and a memory or temporary database cannot be prepared",
           "write sqlite:///relative.db or sqlite:////absolute/path.db");
  }
  Settings settings;
  for (const auto& [key, value] : spec.url.parameters) {
    if (key == "mode" && (value == "rw" || value == "rwc")) {
      settings.create = value == "rwc";
    } else if (key == "foreign_keys" && (value == "on" || value == "off")) {
      settings.foreign_keys = value == "on";
    } else {
      refuse("the parameter '" + key + "' or its value is not known", "mode=rw, mode=rwc, foreign_keys=on or off");
    }
  }
  std::error_code error;
  settings.path = std::filesystem::absolute(spec.url.path, error).string();
  if (error) refuse("the working directory is gone", "use an absolute path");
  return settings;
}

std::string user_name(uid_t user) {
  std::array<char, 4096> buffer{};
  passwd entry{};
  passwd* found = nullptr;
  if (::getpwuid_r(user, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr) return entry.pw_name;
  return std::to_string(user);
}

/// Under the exclusive lock of a file in doubt: reads the pages that would be committed.
template <class Read>
auto read_in_doubt(Session& session, Read read) {
  const LookPastGuard past(session.file());
  return read(session);
}

/// A commit is the end of a name in the directory. Whose process died right then may have left it in the page cache
/// only, and what is said of it must not come undone when the power fails.
Result<Fate> durably(Session& session, Witness found) {
  if (found != Witness::committed) return Fate::rolled_back;
  const Moved synced = session.file().place().sync_directory();
  if (!synced.ok()) return Reply::not_done(Code::resource_failed, synced.text());
  return Fate::committed;
}

Reply name_too_long(const DatabasePlace& place) {
  return Reply::not_done(Code::invalid, "the name of " + place.path() +
                                            " is too long: with the branch's name behind it, it passes 255 bytes");
}

Reply needs_person(const DatabasePlace& place) {
  return Reply::not_done(Code::resource_error,
                         "several journals are parked beside " + place.path() +
                             " behind one guard, so which is in doubt cannot be told: a person must look");
}

}  // namespace

SqliteManager::SqliteManager(const ResourceSpec& spec)
    : name_(spec.name),
      address_(spec.url.redacted()),
      settings_(settings_of(spec)),
      lock_wait_(spec.pool_wait_ms),
      pool_(
          {.max_sessions = spec.pool_size, .wait = lock_wait_, .trust = std::chrono::milliseconds{0}},
          [this] { return open_for_branch(); },
          [](Session& session) {
            // Also a file that was replaced under its name must not be written to.
            int moved = 0;
            sqlite3_file_control(&session.connection(), "main", SQLITE_FCNTL_HAS_MOVED, &moved);
            return moved == 0 && session.is_clean();
          }) {}

TimePoint SqliteManager::lock_deadline() const {
  return std::chrono::steady_clock::now() + lock_wait_;
}

Result<std::unique_ptr<Session>> SqliteManager::open() {
  {
    const std::lock_guard lock(mutex_);
    if (!opened_in_) opened_in_.emplace();
    if (opened_in_->in_child()) {
      return Reply::not_done(Code::resource_error,
                             "this process was forked after " + name_ +
                                 " had been used, and SQLite's locks do not survive that: open the resource anew");
    }
  }
  return Session::open(settings_);
}

Result<std::unique_ptr<Session>> SqliteManager::open_for_branch() {
  auto opened = open();
  if (!opened) return opened;
  Session& session = **opened;
  session.wait_for_locks_until(lock_deadline());
  if (session.file().says_wal()) return session.explain(SQLITE_CANTOPEN, "opening");
  if (session.execute("PRAGMA synchronous=FULL") != SQLITE_OK ||
      session.execute(settings_.foreign_keys ? "PRAGMA foreign_keys=ON" : "PRAGMA foreign_keys=OFF") != SQLITE_OK) {
    return session.explain(sqlite3_extended_errcode(&session.connection()), "opening");
  }
  if (auto refusal = make_ready(session)) return *refusal;
  return opened;
}

std::optional<Reply> SqliteManager::make_ready(Session& session) {
  {
    const std::lock_guard lock(mutex_);
    if (ready_) return std::nullopt;
  }
  if (const std::string unfit = unfit_file_system(session.file().place()); !unfit.empty()) {
    return Reply::not_done(Code::resource_error, unfit + "; move the database to a local ext4, XFS or Btrfs");
  }
  if (const int code = create_tables(session); code != SQLITE_OK) {
    return session.explain(code, "Assent's tables could not be created");
  }
  const std::lock_guard lock(mutex_);
  ready_ = true;
  return std::nullopt;
}

std::optional<Reply> SqliteManager::refuse_xid(const Xid& xid) const {
  if (xid.gtrid.empty() || xid.gtrid.size() > Xid::max_part || xid.bqual.size() > Xid::max_part) {
    return Reply::not_done(Code::invalid, "gtrid must be 1 to 64 bytes long, bqual 0 to 64");
  }
  if (from_file_name(to_file_name(xid)) != xid) {
    return Reply::not_done(Code::invalid, "the xid cannot be written as a file name");
  }
  return std::nullopt;
}

Result<Probe> SqliteManager::probe() {
  auto opened = open();
  if (!opened) return opened.failure();
  Session& session = **opened;
  session.wait_for_locks_until(lock_deadline());
  Probe probe;
  probe.product = std::string("SQLite ") + sqlite3_libversion();
  probe.capabilities.two_phase = true;
  probe.capabilities.prepared_survives_disconnect = true;
  probe.capabilities.settles_one_phase = true;
  probe.capabilities.decides = true;
  std::optional<std::string> identifier;
  const auto state = session.file().place().look();
  if (state && state->at_journal == AtJournal::guard) {
    // In doubt after a crash: recovery must know which database this is before it may finish the branch.
    const int code = lock_for_recovery(session);
    if (code != SQLITE_OK) return session.explain(code, "reading the identifier");
    identifier = read_in_doubt(session, [](Session& s) { return read_identifier(s); });
    if (!identifier) return session.explain(SQLITE_ERROR, "reading the identifier");
  } else {
    if (session.file().says_wal()) return session.explain(SQLITE_CANTOPEN, "opening");
    session.execute("PRAGMA synchronous=FULL");
    if (auto refusal = make_ready(session)) return *refusal;
    identifier = read_identifier(session);
    if (!identifier) {
      return session.explain(sqlite3_extended_errcode(&session.connection()), "reading the identifier");
    }
  }
  probe.identity.system = "sqlite:" + *identifier;
  return probe;
}

Result<std::unique_ptr<Branch>> SqliteManager::start(const Xid& xid, const StartOptions& options) {
  if (auto refusal = refuse_xid(xid)) return *refusal;
  auto started = start_pooled(xid, options);
  if (started || started.failure().code != Code::resource_failed) return started;
  // A prepared branch holds the whole file, so its own name, asked for again, meets that first.
  if (const auto opened = open()) {
    const auto state = opened.value()->file().place().look();
    if (state && state->in_doubt(xid) != nullptr) {
      return Reply::not_done(Code::duplicate, "the branch is prepared already");
    }
  }
  return started;
}

Result<std::unique_ptr<Branch>> SqliteManager::start_pooled(const Xid& xid, const StartOptions& options) {
  auto lease = pool_.take(options.deadline, options.place);
  if (!lease) return lease.failure();
  const DatabasePlace& place = (*lease)->file().place();
  if (!place.can_name(xid)) {
    Reply refusal = name_too_long(place);
    lease->give_back();
    return refusal;
  }
  return SqliteBranch::start(std::move(lease).value(), nullptr, xid, options, lock_wait_);
}

Result<std::unique_ptr<Branch>> SqliteManager::adopt(sqlite3& borrowed, const Xid& xid, const StartOptions& options) {
  if (auto refusal = refuse_xid(xid)) return *refusal;
  DatabaseFile* const file = database_file(&borrowed);
  if (file == nullptr) {
    return Reply::not_done(Code::invalid,
                           "the connection was not opened with Assent's VFS, so it cannot be prepared: give "
                           "Sqlite::vfs() to sqlite3_open_v2()");
  }
  auto own = open();
  if (!own) return own.failure();
  if ((*own)->file().place().path() != file->place().path()) {
    return Reply::not_done(Code::invalid, "the connection is open on " + file->place().path() + ", the resource '" +
                                              name_ + "' is " + (*own)->file().place().path());
  }
  if (file->hold() != DatabaseFile::Hold::none) {
    return Reply::not_done(Code::outside, "the connection carries a prepared branch, or carried one: open another");
  }
  if (sqlite3_get_autocommit(&borrowed) == 0) {
    return Reply::not_done(Code::outside, "the connection is in a transaction of its own: end it first");
  }
  for (sqlite3_stmt* s = nullptr; (s = sqlite3_next_stmt(&borrowed, s)) != nullptr;) {
    if (sqlite3_stmt_busy(s) != 0) {
      return Reply::not_done(Code::outside, "a statement of the connection is being stepped: reset it first");
    }
  }
  if (!file->place().can_name(xid)) return name_too_long(file->place());
  (*own)->wait_for_locks_until(options.deadline.value_or(lock_deadline()));
  if (auto refusal = make_ready(**own)) return *refusal;
  return SqliteBranch::start({}, Session::borrow(borrowed), xid, options, lock_wait_);
}

int SqliteManager::lock_for_recovery(Session& session) const {
  const auto until = std::chrono::steady_clock::now() + longest_wait_for_recovery_lock;
  int code = session.file().lock_exclusive();
  while (code == SQLITE_BUSY && std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(pause_for_recovery_lock);  // SQLite tells nobody when a lock is free
    code = session.file().lock_exclusive();
  }
  return code;
}

Reply SqliteManager::finish(const Xid& xid, bool commit) {
  if (auto refusal = refuse_xid(xid)) return *refusal;
  auto opened = open();
  if (!opened) return opened.failure();
  Session& session = **opened;
  DatabaseFile& file = session.file();
  const DatabasePlace& place = file.place();
  if (const auto state = place.look(); !state) {
    return state.failure();
  } else if (state->find(xid) == nullptr) {
    return Reply::not_done(Code::not_found, "no such branch is prepared in " + place.path());
  }
  if (const int code = lock_for_recovery(session); code != SQLITE_OK) {
    if (code == SQLITE_BUSY) {
      return Reply::not_done(Code::retry,
                             "the process that prepared the branch, or another that finishes it, still "
                             "holds " +
                                 place.path());
    }
    return session.explain(code, "locking");
  }
  // Looked at again under the lock, where nothing moves.
  const auto state = place.look();
  Reply reply = Reply::ok();
  if (!state) {
    reply = state.failure();
  } else if (state->ambiguous() && state->in_doubt(xid) != nullptr) {
    reply = needs_person(place);
  } else if (state->in_doubt(xid) != nullptr) {
    Witness found = Witness::none;
    const int code =
        commit ? read_in_doubt(session, [&](Session& s) { return read_witness(s, xid, found); }) : SQLITE_OK;
    if (code != SQLITE_OK || (commit && found != Witness::committed)) {
      reply = Reply::not_done(Code::resource_error,
                              "the pages of the branch are not in " + place.path() +
                                  ": they were overwritten or undone from outside, so it cannot be committed");
    } else {
      reply = finish_in_doubt(session, xid, commit);
      if (reply.is_ok()) return reply;
    }
  } else if (const ParkedEntry* entry = state->find(xid); entry == nullptr || !entry->is_journal) {
    reply = Reply::not_done(Code::not_found, "no such branch is prepared in " + place.path());
  } else if (!commit) {
    reply = Reply::not_done(Code::not_found, "the branch has been committed");
  } else if (const Moved moved = place.finish_commit(xid); !moved.ok()) {
    reply = Reply::unknown(Code::resource_failed, moved.text());
  }
  file.unlock(DatabaseFile::Hold::none);
  return reply;
}

Reply SqliteManager::commit(const Xid& xid, const FinishOptions&) {
  return finish(xid, true);
}

Reply SqliteManager::rollback(const Xid& xid, const FinishOptions&) {
  return finish(xid, false);
}

Result<std::vector<PreparedBranch>> SqliteManager::recover() {
  auto opened = open();
  if (!opened) return opened.failure();
  Session& session = **opened;
  const DatabasePlace& place = session.file().place();
  const auto state = place.look();
  if (!state) return state.failure();
  std::vector<PreparedBranch> out;
  for (const ParkedEntry& entry : state->parked) {
    if (state->in_doubt(entry.xid) == nullptr) continue;
    PreparedBranch branch;
    branch.xid = entry.xid;
    branch.raw = to_file_name(entry.xid);
    branch.owner = user_name(entry.owner);
    branch.database = place.path();
    if (state->guarded_since) {
      branch.age = std::max(std::chrono::seconds{0}, std::chrono::duration_cast<std::chrono::seconds>(
                                                         std::chrono::system_clock::now() - *state->guarded_since));
    }
    if (state->ambiguous()) {
      branch.ours_to_finish = false;
      branch.note = needs_person(place).text;
    } else if (session.file().try_reserved() == SQLITE_BUSY) {
      branch.note = "the process that prepared it still holds the file";
    }
    out.push_back(std::move(branch));
  }
  return out;
}

Result<Fate> SqliteManager::fate(const Xid& xid, const std::string&) {
  if (auto refusal = refuse_xid(xid)) return *refusal;
  auto opened = open();
  if (!opened) return opened.failure();
  Session& session = **opened;
  const auto state = session.file().place().look();
  if (!state) return state.failure();
  if (state->in_doubt(xid) != nullptr) return Fate::in_progress;
  Witness found = Witness::none;
  if (state->at_journal == AtJournal::guard) {
    // Another branch is in doubt: what was committed before it is in its pages too.
    if (const int code = lock_for_recovery(session); code != SQLITE_OK) return session.explain(code, "reading");
    const auto again = session.file().place().look();
    if (!again) return again.failure();
    if (again->in_doubt(xid) != nullptr) return Fate::in_progress;
    if (again->at_journal != AtJournal::guard) {
      return Reply::not_done(Code::resource_failed, "a branch was finished meanwhile; ask again");
    }
    const int code = read_in_doubt(session, [&](Session& s) { return read_witness(s, xid, found); });
    if (code != SQLITE_OK) return session.explain(code, "reading the witness");
    // The lock that is held proves that no branch is running.
    return durably(session, found);
  }
  int code = read_witness(session, xid, found);
  if (code == SQLITE_OK && found == Witness::none) {
    // No row yet says nothing while somebody writes: every branch inserts its row under the writers' lock.
    code = session.execute("BEGIN IMMEDIATE");
    if ((code & 0xff) == SQLITE_BUSY) return Fate::in_progress;
    if (code == SQLITE_OK) code = read_witness(session, xid, found);
    if (session.in_transaction()) session.execute("ROLLBACK");
  }
  if ((code & 0xff) == SQLITE_BUSY) return Fate::in_progress;
  if (code != SQLITE_OK) return session.explain(code, "reading the witness");
  return durably(session, found);
}

Result<Fate> SqliteManager::settle(const Xid& xid) {
  if (auto refusal = refuse_xid(xid)) return *refusal;
  auto opened = open();
  if (!opened) return opened.failure();
  Session& session = **opened;
  session.wait_for_locks_until(lock_deadline());
  if (auto refusal = session.check_durability()) return session.file().says_wal() ? session.explain(0, "") : *refusal;
  int code = session.execute("BEGIN IMMEDIATE");
  if (code != SQLITE_OK) return session.explain(code, "settling");
  Witness found = Witness::none;
  code = insert_witness(session, xid, Witness::rolled_back);
  if (code == SQLITE_CONSTRAINT_PRIMARYKEY) {
    code = read_witness(session, xid, found);
    session.execute("ROLLBACK");
    if (code != SQLITE_OK) return session.explain(code, "settling");
    return durably(session, found);
  }
  const DurableCommit durable(session.file());
  if (code == SQLITE_OK) code = session.execute("COMMIT");
  if (code != SQLITE_OK) {
    Reply reply = session.explain(code, "settling");
    if (session.in_transaction()) session.execute("ROLLBACK");
    return reply;
  }
  return Fate::rolled_back;
}

Result<std::vector<KeptDecision>> SqliteManager::decisions() {
  auto opened = open();
  if (!opened) return opened.failure();
  Session& session = **opened;
  const auto state = session.file().place().look();
  if (!state) return state.failure();
  std::vector<KeptDecision> found;
  int code = SQLITE_OK;
  if (state->at_journal == AtJournal::guard) {
    // What was committed before the branch that is in doubt is in its pages too, and is all of it decisions: that
    // branch, prepared, has none.
    code = lock_for_recovery(session);
    if (code == SQLITE_OK) code = read_in_doubt(session, [&](Session& s) { return read_decisions(s, found); });
  } else {
    session.wait_for_locks_until(lock_deadline());
    code = read_decisions(session, found);
  }
  if (code != SQLITE_OK) return session.explain(code, "reading the decisions");
  if (const auto durable = durably(session, Witness::committed); !durable) return durable.failure();
  return found;
}

Result<bool> SqliteManager::carrier_gone(const Xid& xid, const FinishOptions&) {
  if (auto refusal = refuse_xid(xid)) return *refusal;
  auto opened = open();
  if (!opened) return opened.failure();
  // A branch holds the writers' lock from its start to its end, and the system takes it from a dead process.
  const int code = (*opened)->file().try_reserved();
  if (code == SQLITE_OK) return true;
  if (code == SQLITE_BUSY) return false;
  return (*opened)->explain(code, "locking");
}

Reply SqliteManager::forget(const std::vector<Xid>& finished) {
  if (finished.empty()) return Reply::ok();
  auto opened = open();
  if (!opened) return opened.failure();
  Session& session = **opened;
  session.wait_for_locks_until(lock_deadline());
  if (auto refusal = session.check_durability()) return session.file().says_wal() ? session.explain(0, "") : *refusal;
  int code = session.execute("BEGIN IMMEDIATE");
  for (const Xid& xid : finished) {
    if (code == SQLITE_OK) code = delete_witness(session, xid);
  }
  if (code == SQLITE_OK) code = session.execute("COMMIT");
  if (code == SQLITE_OK) return Reply::ok();
  Reply reply = session.explain(code, "forgetting");
  if (session.in_transaction()) session.execute("ROLLBACK");
  return reply;
}

Result<Impact> SqliteManager::impact(const Xid& xid) {
  auto opened = open();
  if (!opened) return opened.failure();
  const auto state = (*opened)->file().place().look();
  if (!state) return state.failure();
  Impact impact;
  if (state->in_doubt(xid) == nullptr) {
    impact.locks = 0;
    impact.note = "the branch is not prepared";
    return impact;
  }
  impact.locks = 1;
  impact.note = "the whole database file is locked for others, readers and writers";
  return impact;
}

std::vector<Finding> SqliteManager::examine() {
  {
    const std::lock_guard lock(mutex_);
    if (!opened_in_) opened_in_.emplace();
    if (opened_in_->in_child()) {
      return {{Finding::Severity::problem, "this process was forked after the resource had been used",
               "open the resource anew"}};
    }
  }
  Settings settings = settings_;
  settings.create = false;
  return examine_database(settings);
}

}  // namespace assent::sqlite
