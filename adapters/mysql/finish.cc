// Finishing a prepared branch from outside of its session.
//
// MySQL with xa_detach_on_prepare: any session may, at once. MariaDB (and MySQL without it): nobody may while the owner
// is connected (1397), and an XA COMMIT that meets the owner just leaving can be answered OK and do nothing. The server
// lets go of the owner's user locks first and detaches the branch in the storage engine a moment later (THD::cleanup(),
// then ha_close_connection()); nothing tells an unprivileged user when that moment is over. Hence: see the carrier's
// lock free, wait a grace more, then finish, then believe the witness only.

#include <thread>

#include "assent/adapters/mysql/manager.h"
#include "assent/adapters/mysql/sql_text.h"

namespace assent::mysql {
namespace {

/// Between the owner's lock and the end of its session in the storage engine lie microseconds of the server's own work,
/// or a few scheduler ticks on a busy machine.
constexpr std::chrono::milliseconds grace{100};
/// The bound of what is remembered between recover() and commit(); forgetting costs one grace.
constexpr std::size_t max_free_since = 100'000;
constexpr int looks = 3;

constexpr const char* end_of_turn = "SET @assent_released=RELEASE_ALL_LOCKS(),SESSION wait_timeout=DEFAULT";

}  // namespace

void Manager::note_free(const Xid& xid) {
  const std::lock_guard lock(mutex_);
  if (free_since_.size() >= max_free_since) free_since_.clear();
  free_since_.try_emplace(xid, std::chrono::steady_clock::now());
}

bool Manager::free_long_enough(const Xid& xid) {
  const std::lock_guard lock(mutex_);
  const auto found = free_since_.find(xid);
  return found != free_since_.end() && std::chrono::steady_clock::now() - found->second >= grace;
}

/// One at a time finishes this branch: the second must find what the first did, and never take it for the branch's
/// owner.
Result<Manager::Turn> Manager::take_turn(Session& session, const Xid& xid) const {
  const std::string wait = std::to_string(settings_.recovery_wait_s);
  // And so long the server waits for the next word of the session that has the turn. One whose machine died says no
  // more, and nothing else would tell the server for hours.
  const Answer turn =
      session.run({"SET SESSION wait_timeout=" + wait, "SELECT GET_LOCK(" + recovery_lock(xid) + "," + wait + ")",
                   "SELECT IS_USED_LOCK(" + carrier_lock(xid) + ")"});
  if (!turn.ok()) return Reply::not_done(code_of(*turn.failure), turn.failure->describe());
  return Turn{turn.value(1) == "1", turn.value(2)};
}

/// The carrier's lock, too: a session that keeps one would look like an owner. False: the session is of no more use.
bool Manager::end_turn(Session& session) {
  return session.run({end_of_turn}).ok();
}

/// Returns when the owner has been gone for long enough, or says why not. Whoever goes on holds the carrier's lock
/// first, which nobody has now but perhaps `session` itself.
Reply Manager::await_owner(Session& session, const Xid& xid, const std::optional<std::string>& owner,
                           const FinishOptions& options) {
  if (!owner && free_long_enough(xid)) return Reply::ok();
  const std::string lock = carrier_lock(xid);
  bool denied = false;
  if (!owner) {
    // What is not even listed needs no wait: the server would answer the same.
    const auto prepared = listed(session, xid);
    if (prepared && !*prepared) {
      return Reply::unknown(Code::not_found, xid.text() + ": the server lists no such prepared branch");
    }
  }
  if (owner) {
    if (!options.carrier_is_dead) {
      return Reply::not_done(Code::retry, xid.text() + ": session " + *owner +
                                              " still carries it, and only that session can finish it; ask again when "
                                              "it has ended");
    }
    const Answer killed = session.run({"KILL CONNECTION " + *owner});
    if (!killed.ok() && killed.failure->number != unknown_thread && killed.failure->number != kill_denied) {
      return Reply::not_done(code_of(*killed.failure), killed.failure->describe());
    }
    // MariaDB also denies it (1095) for a session of our own that is just ending; so the lock decides.
    denied = !killed.ok() && killed.failure->number == kill_denied;
  }
  const Answer taken = session.run({"SELECT GET_LOCK(" + lock + "," + std::to_string(settings_.recovery_wait_s) + ")"});
  if (!taken.ok()) return Reply::not_done(code_of(*taken.failure), taken.failure->describe());
  if (taken.value(0) != "1" && denied) {
    return Reply::not_done(Code::resource_error,
                           xid.text() + ": session " + *owner +
                               " of another user still carries it and may not be ended by this user; run, with a user "
                               "who may: KILL CONNECTION " +
                               *owner);
  }
  if (taken.value(0) != "1") {
    return Reply::not_done(Code::retry, xid.text() + ": session " + owner.value_or("?") + " has not ended yet");
  }
  // Nothing that this user may ask tells when the engine has let go of the branch, too: see the top of this file.
  std::this_thread::sleep_for(grace);
  note_free(xid);
  return Reply::ok();
}

/// What the witness says of an OK that may be a lie; nothing while it is locked.
std::optional<Reply> Manager::verdict_of(Witness::Row row, const Xid& xid, Verb verb) {
  switch (row) {
    case Witness::Row::committed:
      if (verb == Verb::commit) return Reply::ok();
      return Reply{Code::heuristic_commit, Certainty::done,
                   xid.text() + " was committed before it could be rolled back"};
    case Witness::Row::absent:
    case Witness::Row::rolled_back:
      if (verb == Verb::rollback) return Reply::ok();
      return Reply{Code::heuristic_rollback, Certainty::done,
                   xid.text() + " was rolled back before it could be committed"};
    case Witness::Row::locked:
      break;
  }
  return std::nullopt;
}

Reply Manager::check_finished(Session& session, const Xid& xid, Verb verb) {
  for (int look = 0; look < looks; ++look) {
    const auto row = witness_.look(session, xid);
    if (!row)
      return Reply::unknown(row.failure().code, "finished, but its witness cannot be read: " + row.failure().text);
    if (auto verdict = verdict_of(*row, xid, verb)) return *std::move(verdict);
    // The server tells nobody when it lets go of a row that it hides; or somebody settles at this moment.
    std::this_thread::sleep_for(grace);
  }
  return Reply::unknown(Code::resource_failed,
                        xid.text() +
                            ": the server answered OK, but holds the branch still, hidden from XA RECOVER; it "
                            "lists it again after a restart, and only then can it be finished");
}

/// The branch is rolled back; whether for good must not be left to the server's next second.
Reply Manager::forced(Session& session, const Xid& xid) const {
  const Answer answer = force_rollback(session, xid);
  if (answer.ok()) return Reply::ok();
  return Reply::unknown(Code::resource_failed,
                        xid.text() + " is rolled back, but not forced: " + answer.failure->describe());
}

Reply Manager::finish_in_turn(Session& session, const Xid& xid, Verb verb, const std::optional<std::string>& owner,
                              const FinishOptions& options) {
  const std::string statement = (verb == Verb::commit ? "XA COMMIT " : "XA ROLLBACK ") + xid_literal(xid);
  bool waits = !session.facts().detaches_on_prepare;
  while (true) {
    std::vector<std::string> statements;
    if (waits) {
      Reply owner_gone = await_owner(session, xid, owner, options);
      if (!owner_gone.is_ok()) return owner_gone;
      statements.push_back(require(held(carrier_lock(xid), settings_.recovery_wait_s)));
    }
    const std::size_t verb_at = statements.size();
    statements.push_back(statement);
    if (waits) statements.push_back(witness_.question(session, xid));
    if (verb == Verb::rollback) {
      for (std::string& each : witness_.force_rollback(xid)) statements.push_back(std::move(each));
    }
    const Answer answer = session.run(statements);
    const std::string about = statement.substr(0, statement.find('0')) + xid.text() + ": ";
    if (answer.completed > verb_at) return after_finish(session, xid, verb, answer, waits ? verb_at + 1 : 0);
    const Failure& why = *answer.failure;
    const std::string text = about + why.describe();
    if (why.lost) return Reply::unknown(Code::resource_failed, text);
    if (answer.completed < verb_at) {
      if (why.number != out_of_range) return Reply::not_done(code_of(why), text);
      return Reply::not_done(Code::retry, xid.text() + ": a session has taken the lock of its carrier again");
    }
    if (why.number == xa_rbrollback) {
      if (verb == Verb::commit) return {Code::heuristic_rollback, Certainty::done, text};
      Reply done = check_finished(session, xid, verb);
      return done.is_ok() ? forced(session, xid) : done;
    }
    if (why.number != xaer_nota) {
      const Code code = code_of(why);
      return Reply::not_done(is_rollback(code) ? Code::retry : code, text);
    }
    const auto still_listed = listed(session, xid);
    if (!still_listed) return Reply::unknown(Code::resource_failed, text + "; then: " + still_listed.failure().text);
    if (!*still_listed) return Reply::unknown(Code::not_found, text);
    // On MySQL: prepared by a session that does not detach.
    if (waits) return Reply::not_done(Code::retry, text + ", though the server lists it: a session still carries it");
    waits = true;
  }
}

/// The verb was answered OK, and perhaps what came behind it in the same round trip: the witness at `witness_at` (0:
/// not asked, where OK is no lie), and what forces a rollback.
Reply Manager::after_finish(Session& session, const Xid& xid, Verb verb, const Answer& answer, std::size_t witness_at) {
  Reply done = Reply::ok();
  if (witness_at != 0) {
    const bool told = answer.completed > witness_at;
    const auto verdict = told ? verdict_of(Witness::row_of(answer.value(witness_at)), xid, verb) : std::nullopt;
    done = verdict ? *verdict : check_finished(session, xid, verb);
  }
  if (verb == Verb::commit || answer.ok()) return done;
  if (!session.lost()) static_cast<void>(session.run({"ROLLBACK"}));
  return done.is_ok() ? forced(session, xid) : done;
}

/// The usual case in one round trip: nobody is in the way, and the owner has been gone for long enough. Nothing when it
/// is another. `clean`: the session holds nothing any more.
std::optional<Reply> Manager::finish_at_once(Session& session, const Xid& xid, Verb verb, bool& clean) {
  const bool waits = !session.facts().detaches_on_prepare;
  if (waits && !free_long_enough(xid)) return std::nullopt;
  std::string turn = held(recovery_lock(xid), 0);
  if (waits) turn += " AND " + held(carrier_lock(xid), 0);
  std::vector<std::string> statements = {require(turn) +
                                         ",SESSION wait_timeout=" + std::to_string(settings_.recovery_wait_s)};
  const std::size_t verb_at = statements.size();
  statements.push_back((verb == Verb::commit ? "XA COMMIT " : "XA ROLLBACK ") + xid_literal(xid));
  if (waits) statements.push_back(witness_.question(session, xid));
  if (verb == Verb::rollback) {
    for (std::string& each : witness_.force_rollback(xid)) statements.push_back(std::move(each));
  }
  statements.emplace_back(end_of_turn);
  const Answer answer = session.run(statements);
  std::optional<Reply> reply;
  if (answer.completed > verb_at) reply = after_finish(session, xid, verb, answer, waits ? verb_at + 1 : 0);
  clean = answer.ok() || end_turn(session);
  return reply;
}

Reply Manager::finish(const Xid& xid, Verb verb, const FinishOptions& options) {
  if (!is_ours(xid)) {
    return Reply::not_done(Code::invalid, xid.text() + " is another transaction manager's branch, and left alone");
  }
  for (bool again : {false, true}) {
    auto lease = recovery_.take();
    if (!lease) return Reply::not_done(lease.failure().code, lease.failure().text);
    Session& session = *lease.value();
    bool clean = true;
    if (std::optional<Reply> done = finish_at_once(session, xid, verb, clean)) {
      if (clean) lease->give_back();
      return *std::move(done);
    }
    const Result<Turn> turn = take_turn(session, xid);
    if (!turn && session.lost() && !again) {
      // A server that was restarted closed every idle session; what recovery does next must not fail for that.
      lease.value().discard();
      recovery_.clear();
      continue;
    }
    if (!turn) return turn.failure();
    Reply reply = turn->mine ? finish_in_turn(session, xid, verb, turn->owner, options)
                             : Reply::not_done(Code::retry, xid.text() + ": another recovery is finishing it");
    if (end_turn(session)) lease->give_back();
    return reply;
  }
  return Reply::not_done(Code::resource_failed, settings_.address + " closes every session");
}

Reply Manager::commit(const Xid& xid, const FinishOptions& options) {
  return finish(xid, Verb::commit, options);
}

Reply Manager::rollback(const Xid& xid, const FinishOptions& options) {
  return finish(xid, Verb::rollback, options);
}

Result<bool> Manager::carrier_gone(const Xid& xid, const FinishOptions& options) {
  auto lease = recovery_session();
  if (!lease) return lease.failure();
  Session& session = *lease.value();
  const Answer asked = session.run({"SELECT IS_USED_LOCK(" + carrier_lock(xid) + ")"});
  if (!asked.ok()) return failed(*asked.failure);
  // The server gives up a session's locks after its open branch was rolled back or its prepared one detached.
  bool gone = !asked.value(0);
  if (!gone && options.carrier_is_dead) {
    const Result<Turn> turn = take_turn(session, xid);
    if (turn && turn->mine) {
      const Reply ended = await_owner(session, xid, turn->owner, options);
      if (!ended.is_ok() && ended.code != Code::retry && ended.code != Code::not_found) return ended;
      gone = ended.code != Code::retry;
    }
  }
  if (end_turn(session)) lease->give_back();
  return gone;
}

}  // namespace assent::mysql
