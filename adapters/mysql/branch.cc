// A branch's states, and the verbs that leave them:
//
//   active ──end()──> ended ──prepare()──> prepared ──commit(), rollback()──> over
//     └───────────────┴── rollback(), commit_one_phase(), prepare() of a read-only branch ──> over
//
// Invariants:
// - A writer's session holds the carrier's lock from before XA START until the branch is over, or the session is
// closed.
// - end() is only remembered: XA END goes with the verb that follows, in one round trip.
// - A session goes back to the pool only after a verb that finished the branch was answered well, with the statements
//   that reset it sent behind; it is used again only when those were, too. Every other end closes it.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <utility>

#include "assent/adapters/mysql/manager.h"
#include "assent/adapters/mysql/sql_text.h"
#include "assent/xa/error.h"

namespace assent::mysql {
namespace {

using TimePoint = std::chrono::steady_clock::time_point;
using Statements = std::vector<std::string>;

constexpr double longest_timeout_s = 86400;

std::string isolation_name(Isolation isolation) {
  switch (isolation) {
    case Isolation::read_committed:
      return "READ COMMITTED";
    case Isolation::repeatable_read:
      return "REPEATABLE READ";
    case Isolation::serializable:
      return "SERIALIZABLE";
    case Isolation::database_default:
      break;
  }
  return "";
}

/// Applies to the next transaction only, so nothing is left to restore.
Statements characteristics(const StartOptions& options, const Facts& facts) {
  std::string list;
  if (const std::string name = isolation_name(options.isolation); !name.empty()) list = "ISOLATION LEVEL " + name;
  // A session whose own default is READ ONLY could not insert the witness.
  if (options.read_only || facts.read_only_by_default) {
    list += (list.empty() ? "" : ", ") + std::string(options.read_only ? "READ ONLY" : "READ WRITE");
  }
  return list.empty() ? Statements{} : Statements{"SET TRANSACTION " + list};
}

std::string bound_statements(const Facts& facts, TimePoint deadline) {
  const double left = std::chrono::duration<double>(deadline - std::chrono::steady_clock::now()).count();
  // Never 0, which means for ever.
  const double seconds = std::clamp(left, 0.001, longest_timeout_s);
  char text[64];
  std::snprintf(text, sizeof text, facts.mariadb ? "max_statement_time=%.6f" : "max_execution_time=%.0f",
                facts.mariadb ? seconds : std::ceil(seconds * 1000));
  return std::string("SET SESSION ") + text +
         ",innodb_lock_wait_timeout=" + std::to_string(static_cast<long>(std::ceil(seconds)));
}

const char* time_limit(const Facts& facts) {
  return facts.mariadb ? "max_statement_time" : "max_execution_time";
}

/// What makes a pooled session like a new one, but for temporary tables and user variables. In few statements: the
/// server answers each by itself, and that is most of what they cost.
Statements reset(const Facts& facts, const Settings& settings) {
  std::string set = "SET @assent_released=RELEASE_ALL_LOCKS(),SESSION autocommit=1";
  for (const char* variable :
       {"sql_mode", "time_zone", "foreign_key_checks", "unique_checks", "sql_safe_updates", "sql_select_limit",
        "innodb_lock_wait_timeout", "lock_wait_timeout", time_limit(facts)}) {
    set += std::string(",") + variable + "=DEFAULT";
  }
  if (!facts.isolation_variable.empty()) set += "," + facts.isolation_variable + "=DEFAULT";
  if (!facts.read_only_variable.empty()) set += "," + facts.read_only_variable + "=0";
  return {set + ",NAMES utf8mb4", "USE " + identifier(settings.schema)};
}

class OpenBranch final : public Branch {
 public:
  OpenBranch(std::shared_ptr<Manager> manager, Manager::SessionPool::Lease lease, std::unique_ptr<Session> borrowed,
             Xid xid, const StartOptions& options)
      : manager_(std::move(manager)),
        lease_(std::move(lease)),
        borrowed_(std::move(borrowed)),
        xid_(std::move(xid)),
        options_(options) {}

  ~OpenBranch() override {
    if (state_ == State::over) return;
    if (state_ != State::prepared) {
      static_cast<void>(rollback());
      return;
    }
    unwatch();
    // A pooled session is closed with its lease: on MariaDB recovery can finish the branch only then. A borrowed one
    // keeps the carrier's lock where the server keeps the branch with it, so that recovery sees why it must wait.
    if (borrowed_ && session().facts().detaches_on_prepare) static_cast<void>(session().run(clean_up()));
  }

  /// Nothing is left behind when this fails, but possibly a closed session.
  std::optional<Reply> start();

  const Xid& xid() const override { return xid_; }
  Reply end() override;
  Reply prepare() override;
  Reply commit_one_phase() override { return commit_alone("commit_one_phase", {}); }
  Reply commit_deciding(const std::string& decision) override;
  Reply commit() override { return finish_prepared("XA COMMIT ", true); }
  Reply rollback() override;
  Reply set_deadline(std::optional<TimePoint> deadline) override;
  std::string evidence() const override { return options_.read_only ? "" : manager_->evidence(); }

  Session& session() { return borrowed_ ? *borrowed_ : *lease_; }

 private:
  enum class State { active, ended, prepared, over };

  std::string text(const char* verb, const char* option = "") const { return verb + xid_literal(xid_) + option; }
  std::string lock() const { return carrier_lock(xid_); }
  /// The verb that settles the branch's work, never cut off by the work's deadline: on MariaDB max_statement_time
  /// bounds every statement.
  std::string unbounded(const char* verb, const char* option = "") const;
  Statements clean_up();
  void watch();
  void unwatch();
  void over(bool session_is_clean);
  bool in_work() const { return state_ == State::active || state_ == State::ended; }
  Reply wrong_state(const char* verb) const;
  Reply abandon(const Failure& why, const char* verb);
  Reply commit_alone(const char* verb, Statements before);
  Reply finish_prepared(const char* verb, bool commit);

  std::shared_ptr<Manager> manager_;  // first: the lease goes back to its pool
  Manager::SessionPool::Lease lease_;
  std::unique_ptr<Session> borrowed_;
  const Xid xid_;
  StartOptions options_;
  State state_ = State::active;
  bool bounded_ = false;
  bool watched_ = false;
  int times_locked_ = 0;
  bool undone_ = false;  ///< abandon() rolled the branch back, for certain
  std::string restore_;  ///< a borrowed session's own limits, as a SET statement
};

Statements OpenBranch::clean_up() {
  if (!borrowed_) return reset(session().facts(), manager_->settings());
  Statements out;
  if (!restore_.empty()) out.push_back(restore_);
  for (int i = 0; i < times_locked_; ++i) out.push_back("DO RELEASE_LOCK(" + lock() + ")");
  return out;
}

std::string OpenBranch::unbounded(const char* verb, const char* option) const {
  const Facts& facts = borrowed_ ? borrowed_->facts() : lease_->facts();
  return (facts.mariadb ? "SET STATEMENT max_statement_time=0 FOR " : "") + text(verb, option);
}

void OpenBranch::watch() {
  if (session().facts().mariadb || !options_.deadline) return;
  manager_->watchdog().arm(session().facts().connection_id, *options_.deadline);
  watched_ = true;
}

void OpenBranch::unwatch() {
  if (!std::exchange(watched_, false)) return;
  const bool interrupted = manager_->watchdog().disarm(session().facts().connection_id);
  // An interrupt that came as a statement ended may still be waiting for the next one: this one.
  if (interrupted) static_cast<void>(session().run({"DO 0"}));
}

void OpenBranch::over(bool session_is_clean) {
  unwatch();
  state_ = State::over;
  if (borrowed_) return;
  if (session_is_clean && !lease_->lost()) {
    lease_.give_back();
  } else {
    lease_.discard();
  }
}

std::optional<Reply> OpenBranch::start() {
  const Facts& facts = session().facts();
  if (options_.deadline && *options_.deadline <= std::chrono::steady_clock::now()) {
    state_ = State::over;
    lease_.give_back();
    return Reply::not_done(Code::rb_timeout, "the deadline has passed before " + xid_.text() + " was started");
  }
  if (borrowed_ && options_.deadline) {
    const std::string limit = time_limit(facts);
    const Answer own = session().run({"SELECT @@" + limit + ",@@innodb_lock_wait_timeout"});
    if (!own.ok() || own.rows[0].empty() || own.rows[0][0].size() != 2) {
      state_ = State::over;
      return own.ok() ? Reply::not_done(Code::resource_error, "the connection does not tell its limits")
                      : refused(*own.failure);
    }
    restore_ = "SET SESSION " + limit + "=" + own.rows[0][0][0].value_or("0") +
               ",innodb_lock_wait_timeout=" + own.rows[0][0][1].value_or("50");
  }
  Statements statements;
  // What a reader does, nobody has to finish.
  if (!options_.read_only) statements.push_back(require(held(lock(), 0)));
  if (options_.deadline) statements.push_back(bound_statements(facts, *options_.deadline));
  for (std::string& each : characteristics(options_, facts)) statements.push_back(std::move(each));
  const std::size_t xa_start = statements.size();
  statements.push_back(text("XA START "));
  if (!options_.read_only) statements.push_back(manager_->witness().insert(xid_));
  bounded_ = options_.deadline.has_value();

  Answer answer = session().run(statements);
  if (!answer.ok() && answer.failure->number == no_such_table && answer.completed == xa_start + 1) {
    // Nobody called probe() on this schema yet.
    if (session().run({text("XA END "), text("XA ROLLBACK "), "DO RELEASE_LOCK(" + lock() + ")"}).ok() &&
        !manager_->witness().create(session())) {
      answer = session().run(statements);
    }
  }
  if (answer.completed > 0 && !options_.read_only) times_locked_ = 1;
  if (answer.ok()) {
    watch();
    return std::nullopt;
  }
  Reply reply = refused(*answer.failure);
  if (answer.completed == 0 && answer.failure->number == out_of_range) {
    reply = Reply::not_done(Code::duplicate, "another session carries " + xid_.text());
  } else if (answer.failure->number == dup_entry) {
    reply =
        Reply::not_done(Code::duplicate, xid_.text() + " was used or settled before: " + answer.failure->describe());
  }
  if (borrowed_ && !session().lost()) {
    if (answer.completed > xa_start) static_cast<void>(session().run({text("XA END "), text("XA ROLLBACK ")}));
    static_cast<void>(session().run(clean_up()));
  }
  over(false);
  return reply;
}

Reply OpenBranch::wrong_state(const char* verb) const {
  static constexpr const char* names[] = {"active", "ended", "prepared", "over"};
  return Reply::not_done(Code::protocol_error, std::string(verb) + ": the branch " + xid_.text() + " is " +
                                                   names[static_cast<std::size_t>(state_)]);
}

Reply OpenBranch::end() {
  if (state_ != State::active) return wrong_state("end");
  state_ = State::ended;
  return Reply::ok();
}

/// After a verb that was refused before anything was prepared or committed. Rolls back, and finds out whether there
/// still was the branch that start() began.
Reply OpenBranch::abandon(const Failure& why, const char* verb) {
  if (why.number == out_of_sync) {
    // The client library refused to send anything: not one statement of the verb reached the server. The session is
    // closed, and with it goes the branch.
    undone_ = true;
    over(false);
    return Reply::not_done(Code::rb_protocol, std::string(verb) + ' ' + xid_.text() +
                                                  ": the application left a result of its own unread, so the session "
                                                  "takes no more statements; rolled back");
  }
  if (why.lost) {
    over(false);
    return Reply::unknown(Code::resource_failed, std::string(verb) + ' ' + xid_.text() + ": " + why.describe());
  }
  // A deadlock's victim is in the state "rollback only". There MySQL answers XA END with 1614, MariaDB with 1399 and
  // the state's name, which it never translates; XA ROLLBACK then ends the branch, with or without an error of its own.
  const bool victim = why.number == xaer_rmfail && why.text.find("ROLLBACK ONLY") != std::string::npos;
  const Answer rolled_back = session().run({unbounded("XA ROLLBACK ")});
  const Code code = victim ? Code::rb_deadlock : code_of(why);
  if (rolled_back.ok() || tells_rollback(*rolled_back.failure)) {
    undone_ = true;
    over(session().run(clean_up()).ok());
    return Reply::not_done(code, why.describe() + "; rolled back");
  }
  const int number = rolled_back.failure->number;
  const bool gone = number == xaer_nota || number == xaer_rmfail || number == xaer_outside;
  if (borrowed_ && !session().lost()) static_cast<void>(session().run(clean_up()));
  over(false);
  if (gone) {
    return Reply::not_done(
        Code::protocol_error,
        std::string(verb) + ": " + xid_.text() +
            " is no longer open on its session: the server or the application itself ended it, or it "
            "reconnected (" +
            why.describe() + ")");
  }
  return Reply::unknown(Code::resource_failed, std::string(verb) + ' ' + xid_.text() + ": " + why.describe() +
                                                   "; then rolling back: " + rolled_back.failure->describe());
}

Reply OpenBranch::prepare() {
  if (!in_work()) return wrong_state("prepare");
  unwatch();
  if (options_.read_only) {
    // Nothing was written, so nothing is lost by rolling back, and nothing is forced.
    const Answer answer = session().run({text("XA END "), text("XA ROLLBACK ")}, clean_up());
    if (!answer.ok()) return abandon(*answer.failure, "prepare");
    over(true);
    return {Code::read_only, Certainty::done, ""};
  }
  const Answer answer = session().run(
      {// The application may have released all its locks, and with them the proof of who carries the branch.
       require(held(lock(), 0)),
       // Refused if another branch, or none, is open here: what is prepared is what start() began.
       text("XA END "), unbounded("XA PREPARE ")});
  if (answer.completed > 0) ++times_locked_;
  if (answer.ok()) {
    state_ = State::prepared;
    return Reply::ok();
  }
  // Only an ended branch can be rolled back.
  if (answer.completed == 0 && !answer.failure->lost) static_cast<void>(session().run({text("XA END ")}));
  Reply reply = abandon(*answer.failure, "prepare");
  if (undone_ && answer.completed == 0 && answer.failure->number == out_of_range) {
    // Recovery holds the lock and believes this branch to be without a session.
    reply =
        Reply::not_done(Code::rb_other, "the session gave up the lock of " + xid_.text() + ", and recovery took it");
  }
  return reply;
}

Reply OpenBranch::commit_deciding(const std::string& decision) {
  if (options_.read_only || decision.size() > max_decision) {
    return Reply::not_done(Code::protocol_error, "a read-only branch cannot decide");
  }
  return commit_alone("commit_deciding", manager_->witness().decide(xid_, decision));
}

Reply OpenBranch::commit_alone(const char* verb, Statements before) {
  if (!in_work()) return wrong_state(verb);
  unwatch();
  // On a session where the application ended the branch itself, what is before is a transaction of its own, or part of
  // another: it changes the branch's row only if that is there, and then the branch was committed.
  Statements statements = std::move(before);
  const std::size_t end_at = statements.size();
  statements.push_back(text("XA END "));
  statements.push_back(unbounded("XA COMMIT ", " ONE PHASE"));
  const Answer answer = session().run(statements, clean_up());
  if (answer.ok()) {
    over(true);
    return Reply::ok();
  }
  // Only an ended branch can be rolled back.
  if (answer.completed < end_at && !answer.failure->lost) static_cast<void>(session().run({text("XA END ")}));
  Reply reply = abandon(*answer.failure, verb);
  if (undone_ && answer.failure->number == out_of_range) {
    reply =
        Reply::not_done(Code::rb_other,
                        "a last resource must commit durably, and keep the branch's row in assent_witness: check "
                        "that innodb_flush_log_at_trx_commit is 1, and sync_binlog too where there is a binary log");
  }
  // An error to the commit leaves open what became of it: a server that was just made read-only rolls back, one that
  // failed between its binary log and its tables may not have, and the application may have committed by itself. Only a
  // branch that was still there to be rolled back was not committed; of all others settle() knows.
  if (!undone_) reply.certainty = Certainty::unknown;
  return reply;
}

Reply OpenBranch::finish_prepared(const char* verb, bool commit) {
  if (state_ != State::prepared) return wrong_state(commit ? "commit" : "rollback");
  Statements statements = {unbounded(verb)};
  if (!commit) {
    // The work's deadline must not cut these off either. What is set here, clean_up() sets back.
    if (session().facts().mariadb && (!borrowed_ || !restore_.empty()))
      statements.emplace_back("SET SESSION max_statement_time=0");
    for (std::string& each : manager_->witness().force_rollback(xid_)) statements.push_back(std::move(each));
  }
  const Answer answer = session().run(statements, clean_up());
  if (answer.ok()) {
    over(true);
    return Reply::ok();
  }
  if (answer.completed >= 1) {
    // Rolled back, and perhaps not for good: recovery finds out.
    const std::string undone = xid_.text() + " is rolled back, but not forced: " + answer.failure->describe();
    if (borrowed_ && !session().lost()) {
      static_cast<void>(session().run({"ROLLBACK"}));
      static_cast<void>(session().run(clean_up()));
    }
    over(false);
    return Reply::unknown(Code::resource_failed, undone);
  }
  const Failure& why = *answer.failure;
  const std::string text = std::string(verb) + xid_.text() + ": " + why.describe();
  if (why.lost) {
    over(false);
    return Reply::unknown(Code::resource_failed, text);
  }
  if (why.number == xaer_nota) {
    // On MySQL anybody may have finished it. Which way, the witness knows.
    over(false);
    return Reply::unknown(Code::not_found, text);
  }
  if (why.number == xa_rbrollback) {
    over(false);
    if (commit) return {Code::heuristic_rollback, Certainty::done, text};
    return Reply::ok();
  }
  // Still prepared, here: the caller may ask again, or leave it to recovery by destroying the branch.
  const Code code = code_of(why);
  return Reply::not_done(is_rollback(code) ? Code::retry : code, text);
}

Reply OpenBranch::rollback() {
  if (state_ == State::prepared) return finish_prepared("XA ROLLBACK ", false);
  if (!in_work()) return wrong_state("rollback");
  unwatch();
  const Answer answer = session().run({text("XA END "), unbounded("XA ROLLBACK ")}, clean_up());
  if (answer.ok()) {
    over(true);
    return Reply::ok();
  }
  if (answer.completed == 1 && tells_rollback(*answer.failure)) {
    over(session().run(clean_up()).ok());
    return Reply::ok();
  }
  const Reply reply = abandon(*answer.failure, "rollback");
  return undone_ ? Reply::ok() : reply;
}

Reply OpenBranch::set_deadline(std::optional<TimePoint> deadline) {
  if (state_ != State::active) return wrong_state("set_deadline");
  unwatch();
  options_.deadline = deadline;
  const Facts& facts = session().facts();
  std::string statement;
  if (deadline) {
    if (borrowed_ && restore_.empty()) {
      const Answer own = session().run({std::string("SELECT @@") + time_limit(facts) + ",@@innodb_lock_wait_timeout"});
      if (!own.ok()) return failed(*own.failure);
      if (own.rows[0].empty() || own.rows[0][0].size() != 2) {
        return Reply::not_done(Code::resource_error, "the connection does not tell its limits");
      }
      restore_ = std::string("SET SESSION ") + time_limit(facts) + "=" + own.rows[0][0][0].value_or("0") +
                 ",innodb_lock_wait_timeout=" + own.rows[0][0][1].value_or("50");
    }
    statement = bound_statements(facts, *deadline);
  } else if (!bounded_) {
    return Reply::ok();
  } else {
    statement = borrowed_
                    ? restore_
                    : std::string("SET SESSION ") + time_limit(facts) + "=DEFAULT,innodb_lock_wait_timeout=DEFAULT";
  }
  const Answer answer = session().run({statement});
  if (!answer.ok()) return failed(*answer.failure);
  bounded_ = bounded_ || deadline.has_value();
  watch();
  return Reply::ok();
}

}  // namespace

Result<std::unique_ptr<Branch>> start_branch(std::shared_ptr<Manager> manager, Manager::SessionPool::Lease lease,
                                             std::unique_ptr<Session> borrowed, const Xid& xid,
                                             const StartOptions& options) {
  auto branch = std::make_unique<OpenBranch>(std::move(manager), std::move(lease), std::move(borrowed), xid, options);
  if (std::optional<Reply> failure = branch->start()) return *std::move(failure);
  return std::unique_ptr<Branch>(std::move(branch));
}

Session& session_of(Branch& branch) {
  auto* const ours = dynamic_cast<OpenBranch*>(&branch);
  if (ours == nullptr) {
    throw Error(ErrorCode::misuse, "the branch " + branch.xid().text() + " is not on MySQL or MariaDB",
                "ask the adapter whose resource manager started it");
  }
  return ours->session();
}

}  // namespace assent::mysql
