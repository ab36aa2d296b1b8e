#include "assent/adapters/sqlite/branch.h"

#include <utility>

#include "assent/adapters/sqlite/witness.h"

namespace assent::sqlite {
namespace {

Reply failure_of(const Moved& moved) {
  // EBUSY, ENOSPC, EIO …: the same call may go well later; the branch stays in doubt meanwhile.
  return moved.certain ? Reply::not_done(Code::resource_failed, moved.text())
                       : Reply::unknown(Code::resource_failed, moved.text());
}

}  // namespace

Reply finish_in_doubt(Session& session, const Xid& xid, bool commit) {
  DatabaseFile& file = session.file();
  const DatabasePlace& place = file.place();
  if (commit) {
    if (const Moved moved = place.commit(xid); !moved.ok()) return failure_of(moved);
    file.unlock(DatabaseFile::Hold::none);
    return Reply::ok();
  }
  if (const Moved moved = place.roll_back(xid); !moved.ok()) return failure_of(moved);
  // Rolled back, durably: SQLite undoes the pages at the first look. It looks here, under the lock, so that this
  // connection's cache of the new pages goes before another transaction can reuse their change counter.
  file.set_hold(DatabaseFile::Hold::pass);
  session.ask("SELECT count(*) FROM main.sqlite_schema");
  file.unlock(DatabaseFile::Hold::none);
  return Reply::ok();
}

SqliteBranch::SqliteBranch(Pool<Session>::Lease lease, std::unique_ptr<Session> borrowed, const Xid& xid,
                           const StartOptions& options, std::chrono::milliseconds lock_wait)
    : lease_(std::move(lease)),
      borrowed_(std::move(borrowed)),
      xid_(xid),
      deadline_(options.deadline),
      read_only_(options.read_only),
      lock_wait_(lock_wait) {}

Result<std::unique_ptr<Branch>> SqliteBranch::start(Pool<Session>::Lease lease, std::unique_ptr<Session> borrowed,
                                                    const Xid& xid, const StartOptions& options,
                                                    std::chrono::milliseconds lock_wait) {
  std::unique_ptr<SqliteBranch> branch(
      new SqliteBranch(std::move(lease), std::move(borrowed), xid, options, lock_wait));
  Reply reply = branch->begin();
  if (!reply.is_ok()) {
    branch->roll_back_open();
    branch->give_back();
    branch->state_ = State::over;
    return reply;
  }
  return std::unique_ptr<Branch>(std::move(branch));
}

Reply SqliteBranch::begin() {
  Session& s = session();
  s.wait_for_locks_until(until());
  if (auto refusal = s.check_durability()) {
    if (s.file().says_wal()) return s.explain(SQLITE_CANTOPEN, "opening");
    return *refusal;
  }
  // PRAGMA query_only is SQLite's own refusal of every write, temporary tables included.
  s.execute(read_only_ ? "PRAGMA query_only=1" : "PRAGMA query_only=0");
  // Not BEGIN IMMEDIATE, which would lock every attached database too and make each look written to.
  int code = s.execute("BEGIN");
  if (code == SQLITE_OK && read_only_ && !s.ask("PRAGMA main.schema_version")) {
    code = sqlite3_extended_errcode(&s.connection());
  }
  // The first statement takes the lock of every writer, or waits for it; no branch holds a reader's lock meanwhile.
  if (code == SQLITE_OK && !read_only_) code = insert_witness(s, xid_, Witness::committed);
  if (code == SQLITE_CONSTRAINT_PRIMARYKEY) {
    return Reply::not_done(Code::duplicate, "a branch of that name has ended in this database already");
  }
  if (code != SQLITE_OK) return s.explain(code, "the branch could not begin");
  if (!read_only_) {
    // With that lock nobody else of us moves names: what a crash left can go.
    const auto state = s.file().place().look();
    if (!state) return state.failure();
    if (const Moved moved = s.file().place().remove_leftovers(*state); !moved.ok()) {
      return Reply::not_done(Code::resource_failed, moved.text());
    }
  }
  ends_at_start_ = s.file().ends();
  s.forbid_commit(true);
  s.interrupt_at(deadline_);
  s.wait_for_locks_until(until());
  return Reply::ok();
}

SqliteBranch::~SqliteBranch() {
  if (state_ == State::over) return;
  if (session().in_child()) {
    // The parent's: neither to be rolled back nor closed here. The pool leaks its sessions by itself.
    static_cast<void>(borrowed_.release());
    return;
  }
  if (state_ == State::prepared) {
    // On disk the branch stays as it is; the lock must go, or nobody could finish it while this process lives.
    session().file().unlock(DatabaseFile::Hold::dead);
    lease_.discard();
    return;
  }
  roll_back_open();
  give_back();
}

TimePoint SqliteBranch::until() const {
  return deadline_.value_or(std::chrono::steady_clock::now() + lock_wait_);
}

std::optional<Reply> SqliteBranch::refuse_verb(State needed) {
  if (state_ == State::over) return Reply::not_done(Code::protocol_error, "the branch is over");
  if (session().in_child()) {
    return Reply::not_done(Code::protocol_error, "the branch belongs to the process that forked this one");
  }
  if (state_ == needed) return std::nullopt;
  return Reply::not_done(Code::protocol_error,
                         state_ == State::prepared ? "the branch is prepared already" : "the branch is not prepared");
}

Reply SqliteBranch::end() {
  if (auto refusal = refuse_verb(State::active)) return *refusal;
  return Reply::ok();
}

Reply SqliteBranch::set_deadline(std::optional<TimePoint> deadline) {
  if (auto refusal = refuse_verb(State::active)) return *refusal;
  deadline_ = deadline;
  session().interrupt_at(deadline);
  session().wait_for_locks_until(until());
  return Reply::ok();
}

/// Own statements follow, which no deadline cuts off and no hook forbids.
void SqliteBranch::stop_work() {
  session().interrupt_at(std::nullopt);
  session().forbid_commit(false);
  session().wait_for_locks_until(until());
}

void SqliteBranch::roll_back_open() {
  stop_work();
  if (session().in_transaction()) session().execute("ROLLBACK");
}

void SqliteBranch::give_back() {
  if (borrowed_) {
    borrowed_.reset();
    return;
  }
  if (!lease_) return;
  lease_->execute("PRAGMA query_only=0");
  if (lease_->is_clean()) {
    lease_.give_back();
  } else {
    lease_.discard();
  }
}

std::optional<Reply> SqliteBranch::check_still_ours() {
  Session& s = session();
  if (s.in_transaction()) {
    if (s.file().ends() == ends_at_start_) return std::nullopt;
    return Reply::not_done(Code::protocol_error,
                           "the open transaction is not the one that the branch began: the application ended that "
                           "itself, and its work was rolled back or committed without Assent");
  }
  // SQLite rolls the whole transaction back by itself at some errors (disk full, interrupt, I/O); the application can
  // have ended it too. Only a commit past the hook (a borrowed connection has none) leaves the row behind.
  Witness found = Witness::none;
  s.wait_for_locks_until(until());
  if (!read_only_ && read_witness(s, xid_, found) == SQLITE_OK && found == Witness::committed) {
    return Reply{Code::heuristic_commit, Certainty::done, "the application committed the branch itself"};
  }
  const bool late = deadline_ && std::chrono::steady_clock::now() >= *deadline_;
  return Reply::not_done(late ? Code::rb_timeout : Code::rb_rollback,
                         "the transaction is over before its end: rolled back by SQLite after an error, or by the "
                         "application's own COMMIT or ROLLBACK");
}

std::optional<Reply> SqliteBranch::refuse_to_end() {
  Session& s = session();
  if (s.has_running_statement()) {
    return Reply::not_done(Code::protocol_error,
                           "a statement of the application is still being stepped: reset or finalize it first");
  }
  for (int i = 2; const char* schema = sqlite3_db_name(&s.connection(), i); ++i) {
    if (sqlite3_txn_state(&s.connection(), schema) == SQLITE_TXN_WRITE) {
      return Reply::not_done(Code::resource_error, std::string("the branch wrote to the attached database '") + schema +
                                                       "', which would not be prepared: make it a resource of its own");
    }
  }
  if (auto refusal = s.check_durability()) return refusal;
  Witness found = Witness::none;
  if (const int code = read_witness(s, xid_, found); code != SQLITE_OK || found != Witness::committed) {
    return Reply::not_done(Code::protocol_error, "the branch's row in assent_witness was removed or changed");
  }
  return std::nullopt;
}

Reply SqliteBranch::end_read_only() {
  Session& s = session();
  if (s.has_running_statement()) {
    return Reply::not_done(Code::protocol_error,
                           "a statement of the application is still being stepped: reset or finalize it first");
  }
  if (sqlite3_txn_state(&s.connection(), nullptr) == SQLITE_TXN_WRITE) {
    return Reply::not_done(Code::protocol_error, "the branch was declared read-only and wrote");
  }
  roll_back_open();
  give_back();
  state_ = State::over;
  return {Code::read_only, Certainty::done, {}};
}

/// COMMIT was refused: the branch is rolled back, and the code says why.
Reply SqliteBranch::failed_to_end(int code) {
  std::string text = session().error();
  roll_back_open();
  const bool gone = !session().in_transaction();
  state_ = State::over;
  if (gone) {
    give_back();
  } else {
    lease_.discard();
  }
  switch (code & 0xff) {
    case SQLITE_CONSTRAINT:
      return Reply::not_done(Code::rb_integrity, std::move(text));
    case SQLITE_BUSY:
      return Reply::not_done(Code::rb_timeout, "readers of the file did not leave in time: " + text);
    default:
      return Reply::not_done(Code::rb_other, std::move(text));
  }
}

Reply SqliteBranch::prepare() {
  if (auto refusal = refuse_verb(State::active)) return *refusal;
  stop_work();
  auto refusal = check_still_ours();
  if (!refusal && read_only_) return end_read_only();
  if (!refusal) refusal = refuse_to_end();
  if (refusal) {
    if (is_rollback(refusal->code)) {
      give_back();
      state_ = State::over;
    }
    return *refusal;
  }
  Session& s = session();
  int code = SQLITE_OK;
  bool parked = false;
  Moved moved;
  {
    const ParkOnCommit park(s.file(), xid_);
    code = s.execute("COMMIT");
    parked = park.parked();
    moved = park.moved();
  }
  if (parked && (code == SQLITE_OK || holds_new_pages())) {
    state_ = State::prepared;
    return Reply::ok();
  }
  if (parked) {
    const Reply undone = finish_in_doubt(s, xid_, false);
    state_ = State::over;
    lease_.discard();
    borrowed_.reset();
    if (!undone.is_ok()) return Reply::unknown(Code::resource_failed, undone.text);
    return Reply::not_done(Code::rb_other, "SQLite rolled the transaction back at COMMIT");
  }
  if (code == SQLITE_OK) {
    state_ = State::over;
    lease_.discard();
    borrowed_.reset();
    return {Code::heuristic_commit, Certainty::done, "SQLite committed without deleting its journal"};
  }
  if (!moved.ok() && !moved.certain) {
    state_ = State::over;
    s.file().unlock(DatabaseFile::Hold::dead);
    lease_.discard();
    borrowed_.reset();
    return Reply::unknown(Code::resource_failed, moved.text());
  }
  Reply reply = failed_to_end(code);
  if (!moved.ok()) reply.text += " (" + moved.text() + ')';
  return reply;
}

/// Parked, yet COMMIT failed: did it fail after its commit point, or was a rollback's journal parked?
bool SqliteBranch::holds_new_pages() {
  Session& s = session();
  Witness found = Witness::none;
  s.file().set_hold(DatabaseFile::Hold::pass);
  {
    const LookPastGuard past(s.file());
    if (read_witness(s, xid_, found) != SQLITE_OK) found = Witness::none;
  }
  s.file().set_hold(DatabaseFile::Hold::refuse);
  return found == Witness::committed;
}

/// `decision` may be null.
Reply SqliteBranch::commit_alone(const std::string* decision) {
  if (decision != nullptr && (read_only_ || decision->size() > max_decision)) {
    return Reply::not_done(Code::protocol_error, "a read-only branch cannot decide");
  }
  if (auto refusal = refuse_verb(State::active)) return *refusal;
  stop_work();
  auto refusal = check_still_ours();
  if (!refusal && read_only_) {
    Reply reply = end_read_only();
    if (reply.code == Code::read_only) reply.code = Code::ok;
    return reply;
  }
  if (!refusal) refusal = refuse_to_end();
  if (refusal) {
    if (is_rollback(refusal->code)) {
      give_back();
      state_ = State::over;
    }
    return *refusal;
  }
  if (decision != nullptr) {
    if (const int code = keep_decision(session(), xid_, *decision); code != SQLITE_OK) return failed_to_end(code);
  }
  const DurableCommit durable(session().file());
  const int code = session().execute("COMMIT");
  if (code == SQLITE_OK) {
    give_back();
    state_ = State::over;
    return Reply::ok();
  }
  if ((code & 0xff) == SQLITE_IOERR && !session().in_transaction()) {
    // The deletion of the journal or its sync failed: the journal's name decides after the next start.
    std::string text = session().error();
    state_ = State::over;
    lease_.discard();
    borrowed_.reset();
    return Reply::unknown(Code::resource_failed, std::move(text));
  }
  return failed_to_end(code);
}

Reply SqliteBranch::commit() {
  if (auto refusal = refuse_verb(State::prepared)) return *refusal;
  const DatabasePlace& place = session().file().place();
  const auto seen = place.look();
  if (!seen) return seen.failure();
  Reply reply = seen->at_journal == AtJournal::guard ? finish_in_doubt(session(), xid_, true) : Reply::ok();
  if (seen->at_journal != AtJournal::guard) {
    // An earlier call removed the guard and could not sync that.
    if (const Moved moved = place.finish_commit(xid_); !moved.ok()) return failure_of(moved);
    session().file().unlock(DatabaseFile::Hold::none);
  }
  if (!reply.is_ok()) return reply;
  state_ = State::over;
  give_back();
  return reply;
}

Reply SqliteBranch::rollback() {
  if (auto refusal = refuse_verb(state_)) return *refusal;
  if (state_ == State::active) {
    auto lost = check_still_ours();
    roll_back_open();
    const bool done = !session().in_transaction();
    state_ = State::over;
    if (done) {
      give_back();
    } else {
      lease_.discard();
      borrowed_.reset();
    }
    if (lost && lost->code == Code::heuristic_commit) return *lost;
    return Reply::ok();
  }
  Reply reply = finish_in_doubt(session(), xid_, false);
  if (!reply.is_ok()) return reply;
  state_ = State::over;
  // A fresh connection has no page, schema or statement of the branch.
  lease_.discard();
  borrowed_.reset();
  return reply;
}

}  // namespace assent::sqlite
