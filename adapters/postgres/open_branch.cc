#include "assent/adapters/postgres/open_branch.h"

#include <algorithm>
#include <exception>
#include <utility>

#include "assent/adapters/postgres/witness.h"
#include "assent/xa/error.h"

namespace assent::detail::postgres {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// How long past the deadline an idle session may hold its locks before the server ends it.
constexpr milliseconds idle_grace{1000};
// PostgreSQL's limit for a timeout setting, in milliseconds.
constexpr milliseconds longest{2147483647};

milliseconds left(steady_clock::time_point deadline) {
  const auto until = std::chrono::ceil<milliseconds>(deadline - steady_clock::now());
  return std::clamp(until, milliseconds(1), longest - idle_grace);
}

std::string timeouts(std::optional<steady_clock::time_point> deadline) {
  const auto setting = [](const char* name, milliseconds value) {
    return std::string("SET LOCAL ") + name + " = " + std::to_string(value.count());
  };
  if (!deadline) {
    return "SET LOCAL statement_timeout TO DEFAULT; SET LOCAL idle_in_transaction_session_timeout TO DEFAULT";
  }
  return setting("statement_timeout", left(*deadline)) + "; " +
         setting("idle_in_transaction_session_timeout", left(*deadline) + idle_grace);
}

const char* isolation_text(Isolation isolation) {
  switch (isolation) {
    case Isolation::database_default:
      return "";
    case Isolation::read_committed:
      return " ISOLATION LEVEL READ COMMITTED";
    case Isolation::repeatable_read:
      return " ISOLATION LEVEL REPEATABLE READ";
    case Isolation::serializable:
      return " ISOLATION LEVEL SERIALIZABLE";
  }
  return "";
}

// Fails where a reader may write, by casting this word to a number: the shortest way to an error in plain SQL. Not for
// a constant, which is cast before anything is executed.
constexpr std::string_view guard_word = "assent_guard:";
const std::string still_reads = "SELECT CASE WHEN current_setting('transaction_read_only') <> 'on' THEN ('" +
                                std::string(guard_word) + "' || current_setting('transaction_read_only'))::int END; ";

}  // namespace

std::string begin_text(const std::string& mark, const StartOptions& options) {
  std::string text = std::string("BEGIN") + isolation_text(options.isolation) +
                     (options.read_only ? " READ ONLY" : " READ WRITE") +
                     "; SET LOCAL application_name = " + text_literal(mark);
  if (options.deadline) text += "; " + timeouts(options.deadline);
  return text;
}

OpenBranch::OpenBranch(Lease lease, Xid xid, std::string mark, const StartOptions& options, bool witness)
    : xid_(std::move(xid)),
      mark_(std::move(mark)),
      isolation_(options.isolation),
      read_only_(options.read_only),
      witness_(witness),
      lease_(std::move(lease)),
      deadline_(options.deadline),
      native_(Native::over(lease_->raw(), opening_)) {
  renew_opening();
}

OpenBranch::OpenBranch(std::unique_ptr<Session> session, NativeConnection& borrowed, Xid xid, std::string mark,
                       const StartOptions& options, bool witness)
    : xid_(std::move(xid)),
      mark_(std::move(mark)),
      isolation_(options.isolation),
      read_only_(options.read_only),
      witness_(witness),
      borrowed_(std::move(session)),
      lender_(&borrowed),
      deadline_(options.deadline),
      opening_{"", true},
      native_(Native::over(borrowed)) {
  if (deadline_) granted_ = left(*deadline_);
}

OpenBranch::~OpenBranch() {
  if (process_.in_child()) {
    // The session is the parent's; the lease leaks it.
    static_cast<void>(native_.release());
    return;
  }
  // Nobody took the answer to a verb that is sent: it must not be mistaken for that of another.
  if ((borrowed_ || lease_) && session().awaits_answer())
    static_cast<void>(state_ == State::prepared ? commit() : prepare());
  if (state_ == State::active || state_ == State::ended) static_cast<void>(rollback());
  if (state_ == State::prepared) release_session();
}

Native& OpenBranch::native() {
  if (process_.in_child()) {
    throw Error(ErrorCode::misuse, "a forked child uses its parent's branch " + xid_.text(),
                "begin a transaction of its own in the child");
  }
  if (state_ != State::active || !native_) {
    throw Error(ErrorCode::misuse, "the branch " + xid_.text() + " takes no more work", "begin another transaction");
  }
  if (deadline_ && !opening_.said) renew_opening();
  // Statements are timed one by one. A quarter of the time gone is the most by which a late one may overstay.
  if (deadline_ && left(*deadline_) < granted_ * 3 / 4) static_cast<void>(set_deadline(deadline_));
  return *native_;
}

/// The time that is left is told in it.
void OpenBranch::renew_opening() {
  opening_.text = begin_text(mark_, {.deadline = deadline_, .isolation = isolation_, .read_only = read_only_});
  if (deadline_) granted_ = left(*deadline_);
}

std::optional<Reply> OpenBranch::refuse(bool allowed) {
  if (process_.in_child()) {
    return Reply::not_done(Code::protocol_error, "a forked child uses its parent's branch");
  }
  if (borrowed_ && Native::below(*lender_) != borrowed_->raw()) borrowed_->abandon();
  if (state_ == State::lost) return Reply::unknown(Code::resource_failed, "the session of the branch is lost");
  if (!allowed) return Reply::not_done(Code::protocol_error, "the branch is not in a state for this");
  return std::nullopt;
}

void OpenBranch::close_native() {
  if (native_ && !native_->intact()) session().abandon();
  native_.reset();
}

void OpenBranch::release_session() {
  close_native();
  if (borrowed_) {
    borrowed_.reset();
    return;
  }
  if (!lease_) return;
  if (lease_->idle() && lease_->begin_reset()) {
    lease_.give_back();
  } else {
    lease_.discard();
  }
}

// The branch is over, for certain; what is left of its transaction goes away with the session or by ROLLBACK.
Reply OpenBranch::finish(Reply reply) {
  const PGTransactionStatusType status = session().transaction_status();
  if (status == PQTRANS_INTRANS || status == PQTRANS_INERROR) static_cast<void>(session().exec("ROLLBACK"));
  state_ = reply.certainty == Certainty::unknown ? State::lost : State::over;
  release_session();
  return reply;
}

Reply OpenBranch::after_failure(const Answer& answer) {
  Reply reply = failure_of(answer);
  if (answer.sqlstate == "22P02" && answer.text.find(guard_word) != std::string::npos) {
    reply = Reply::not_done(Code::protocol_error,
                            "the application made a branch writable that it declared read-only: rolled back");
  }
  return finish(std::move(reply));
}

// PREPARE and COMMIT run deferred constraints and triggers out of reach of statement_timeout; asked for before them,
// they are statements like others.
std::string OpenBranch::timed_constraints() const {
  if (!deadline_) return {};
  return "SET LOCAL statement_timeout = " + std::to_string(left(*deadline_).count()) +
         "; SET CONSTRAINTS ALL IMMEDIATE; ";
}

// What the client side already knows about the transaction, before anything is sent.
std::optional<Reply> OpenBranch::check_before_end() {
  close_native();
  if (!std::exchange(opening_.said, true)) {
    const Answer answer = session().exec(opening_.text);
    // A BEGIN that failed leaves nothing behind.
    const bool refused = !answer.unsent && !answer.lost;
    if (!answer.ok()) return finish(Reply::not_done(refused ? Code::rb_other : Code::rb_comm_fail, answer.text));
  }
  switch (session().transaction_status()) {
    case PQTRANS_INTRANS:
      if (session().reports_name(mark_)) return std::nullopt;
      return finish(Reply::not_done(
          Code::protocol_error,
          "the branch's application_name, which its safety depends on, is not in effect any more: the application "
          "changed it, or it ended the branch's transaction itself and began another (or a pooler does not tell). What "
          "is open is rolled back; what the application committed itself stays"));
    case PQTRANS_INERROR:
      return finish(Reply::not_done(Code::rb_rollback, "a statement of the branch failed and was not undone"));
    case PQTRANS_IDLE:
      return finish(Reply::not_done(Code::protocol_error,
                                    "the application ended the branch's transaction itself: what it did before may be "
                                    "committed already"));
    case PQTRANS_ACTIVE:
      return finish(Reply::not_done(Code::protocol_error, "a command of the branch is not finished yet"));
    case PQTRANS_UNKNOWN:
      break;
  }
  return finish(Reply::not_done(Code::rb_comm_fail, "the session was lost before the branch was ended"));
}

Reply OpenBranch::end() {
  if (auto refusal = refuse(state_ == State::active)) return *refusal;
  close_native();
  state_ = State::ended;
  return Reply::ok();
}

std::string OpenBranch::prepare_text() const {
  // COMMIT, not ROLLBACK: only it says whether a serializable reader has seen what it must not.
  if (read_only_) return still_reads + "COMMIT";
  // The number is asked for, not looked up: PREPARE assigns one in any case. Outside of the branch's own transaction
  // this would prepare something else: check_before_end() looks.
  return "SELECT pg_current_xact_id(); " + timed_constraints() + "PREPARE TRANSACTION " + text_literal(to_gid(xid_));
}

std::string OpenBranch::commit_text() const {
  return "COMMIT PREPARED " + text_literal(to_gid(xid_));
}

void OpenBranch::send_ahead(Verb verb) {
  if (process_.in_child() || (borrowed_ && Native::below(*lender_) != borrowed_->raw())) return;
  const PGTransactionStatusType status = session().transaction_status();
  if (verb == Verb::prepare && state_ == State::ended && status == PQTRANS_INTRANS && session().reports_name(mark_)) {
    session().send(prepare_text());
  }
  if (verb == Verb::commit && state_ == State::prepared && status == PQTRANS_IDLE) session().send(commit_text());
}

Reply OpenBranch::prepare() {
  if (auto refusal = refuse(state_ == State::active || state_ == State::ended)) return *refusal;
  if (!session().awaits_answer()) {
    if (auto over = check_before_end()) return *over;
    session().send(prepare_text());
  }
  const Answer answer = session().take();
  if (!answer.ok()) return after_failure(answer);
  if (read_only_) {
    if (answer.tag() != "COMMIT")
      return finish(Reply::not_done(Code::rb_rollback, "the server rolled the branch back"));
    return finish({Code::read_only, Certainty::done, {}});
  }
  // A failed transaction is not refused by PREPARE but rolled back, with this tag and no error.
  if (answer.tag() != "PREPARE TRANSACTION") {
    return finish(Reply::not_done(Code::rb_rollback, "the server rolled the branch back instead of preparing it"));
  }
  // If we crash now, the branch is prepared and nobody's but recovery's.
  evidence_ = evidence_of(session().system_identifier(), answer.field(0, 0));
  state_ = State::prepared;
  return Reply::ok();
}

Reply OpenBranch::commit_one_phase() {
  return commit_with(!read_only_ && witness_ ? witness_insert(xid_) + "; " : std::string());
}

Reply OpenBranch::commit_deciding(const std::string& decision) {
  if (read_only_ || !witness_ || decision.size() > max_decision) {
    return Reply::not_done(Code::protocol_error, "a branch that is read-only, or without witness table, cannot decide");
  }
  return commit_with(decision_insert(xid_, decision) + "; ");
}

Reply OpenBranch::commit_with(const std::string& row) {
  if (auto refusal = refuse(state_ == State::active || state_ == State::ended)) return *refusal;
  if (auto over = check_before_end()) return *over;
  const std::string text = read_only_ ? still_reads : timed_constraints();
  // A row that cannot be inserted fails the transaction, and then COMMIT rolls it back.
  const Answer answer = session().exec(text + row + "COMMIT");
  if (!answer.ok()) return after_failure(answer);
  if (answer.tag() != "COMMIT") return finish(Reply::not_done(Code::rb_rollback, "the server rolled the branch back"));
  has_row_ = !read_only_;
  return finish(Reply::ok());
}

Reply OpenBranch::commit() {
  if (auto refusal = refuse(state_ == State::prepared)) return *refusal;
  if (!session().awaits_answer()) session().send(commit_text());
  return finish(finish_reply(session().take()));
}

Reply OpenBranch::rollback() {
  if (auto refusal = refuse(state_ == State::active || state_ == State::ended || state_ == State::prepared)) {
    return *refusal;
  }
  if (state_ == State::prepared) {
    return finish(finish_reply(session().exec("ROLLBACK PREPARED " + text_literal(to_gid(xid_)))));
  }
  close_native();
  if (!opening_.said) return finish(Reply::ok());
  const PGTransactionStatusType status = session().transaction_status();
  if (status == PQTRANS_IDLE || (status == PQTRANS_INTRANS && !session().reports_name(mark_))) {
    return finish(Reply::unknown(Code::heuristic_hazard,
                                 "the application ended the branch's transaction itself, or changed its "
                                 "application_name: what it did may be committed"));
  }
  // No PREPARE was ever sent on this session: whether the server hears ROLLBACK or only the end of the session, the
  // branch cannot be committed any more.
  return finish(Reply::ok());
}

Reply OpenBranch::set_deadline(std::optional<steady_clock::time_point> deadline) {
  if (auto refusal = refuse(state_ == State::active)) return *refusal;
  if (!opening_.said) {
    deadline_ = deadline;
    renew_opening();
    return Reply::ok();
  }
  if (session().transaction_status() != PQTRANS_INTRANS) {
    return Reply::not_done(Code::protocol_error, "the branch has a failed or unfinished statement");
  }
  const Answer answer = session().exec(timeouts(deadline));
  if (!answer.ok()) return failure_of(answer);
  deadline_ = deadline;
  if (deadline_) granted_ = left(*deadline_);
  return Reply::ok();
}

}  // namespace assent::detail::postgres
