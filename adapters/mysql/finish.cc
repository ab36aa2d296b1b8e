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
constexpr const char* lock_wait_s = "5";
/// What the server waits for the next word of a session that has the turn. One whose machine died says no more, and
/// nothing else would tell the server for hours.
constexpr const char* silence_s = "5";
/// The bound of what is remembered between recover() and commit(); forgetting costs one grace.
constexpr std::size_t max_free_since = 100'000;
constexpr int looks = 3;

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

/// True: the session has the turn to finish this branch. One at a time: the second must find what the first did, and
/// never take it for the branch's owner.
Result<bool> Manager::take_turn(Session& session, const Xid& xid) {
  const Answer turn = session.run({std::string("SET SESSION wait_timeout=") + silence_s,
                                   "SELECT GET_LOCK(" + recovery_lock(xid) + "," + lock_wait_s + ")"});
  if (!turn.ok()) return Reply::not_done(code_of(*turn.failure), turn.failure->describe());
  return turn.value(1) == "1";
}

/// The carrier's lock, too: a session that keeps one would look like an owner. False: the session is of no more use.
bool Manager::end_turn(Session& session) {
  return session.run({"DO RELEASE_ALL_LOCKS()", "SET SESSION wait_timeout=DEFAULT"}).ok();
}

/// Returns with the carrier's lock held by `session` and the owner gone for long enough, or says why not.
Reply Manager::await_owner(Session& session, const Xid& xid, const FinishOptions& options) {
  const std::string lock = carrier_lock(xid);
  const Answer asked = session.run({"SELECT IS_USED_LOCK(" + lock + ")"});
  if (!asked.ok()) return Reply::not_done(code_of(*asked.failure), asked.failure->describe());
  const auto owner = asked.value(0);
  const bool was_free = !owner;
  bool denied = false;
  if (was_free && !free_long_enough(xid)) {
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
  const Answer taken = session.run({"SELECT GET_LOCK(" + lock + "," + lock_wait_s + ")"});
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
  if (!was_free || !free_long_enough(xid)) std::this_thread::sleep_for(grace);
  note_free(xid);
  return Reply::ok();
}

/// After an OK that may be a lie.
Reply Manager::check_finished(Session& session, const Xid& xid, Verb verb) {
  for (int look = 0; look < looks; ++look) {
    const auto row = witness_.look(session, xid);
    if (!row)
      return Reply::unknown(row.failure().code, "finished, but its witness cannot be read: " + row.failure().text);
    switch (*row) {
      case Witness::Row::committed:
        if (verb == Verb::commit) return Reply::ok();
        return {Code::heuristic_commit, Certainty::done, xid.text() + " was committed before it could be rolled back"};
      case Witness::Row::absent:
      case Witness::Row::rolled_back:
        if (verb == Verb::rollback) return Reply::ok();
        return {Code::heuristic_rollback, Certainty::done,
                xid.text() + " was rolled back before it could be committed"};
      case Witness::Row::locked:
        // Or somebody settles at this moment.
        std::this_thread::sleep_for(grace);
        break;
    }
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

Reply Manager::finish_locked(Session& session, const Xid& xid, Verb verb, const FinishOptions& options) {
  const std::string statement = (verb == Verb::commit ? "XA COMMIT " : "XA ROLLBACK ") + xid_literal(xid);
  bool waited = false;
  while (true) {
    if (!session.facts().detaches_on_prepare || waited) {
      Reply owner_gone = await_owner(session, xid, options);
      if (!owner_gone.is_ok()) return owner_gone;
      waited = true;
    }
    const Answer answer = session.run({statement});
    if (answer.ok()) {
      Reply done = session.facts().detaches_on_prepare && !waited ? Reply::ok() : check_finished(session, xid, verb);
      return done.is_ok() && verb == Verb::rollback ? forced(session, xid) : done;
    }
    const Failure& why = *answer.failure;
    const std::string text = statement.substr(0, statement.find('0')) + xid.text() + ": " + why.describe();
    if (why.lost) return Reply::unknown(Code::resource_failed, text);
    if (why.number == xa_rbrollback) {
      if (verb == Verb::rollback) {
        Reply done = check_finished(session, xid, verb);
        return done.is_ok() ? forced(session, xid) : done;
      }
      return {Code::heuristic_rollback, Certainty::done, text};
    }
    if (why.number != xaer_nota) {
      const Code code = code_of(why);
      return Reply::not_done(is_rollback(code) ? Code::retry : code, text);
    }
    const auto still_listed = listed(session, xid);
    if (!still_listed) return Reply::unknown(Code::resource_failed, text + "; then: " + still_listed.failure().text);
    if (!*still_listed) return Reply::unknown(Code::not_found, text);
    // On MySQL: prepared by a session that does not detach.
    if (waited) return Reply::not_done(Code::retry, text + ", though the server lists it: a session still carries it");
    waited = true;
  }
}

Reply Manager::finish(const Xid& xid, Verb verb, const FinishOptions& options) {
  if (!is_ours(xid)) {
    return Reply::not_done(Code::invalid, xid.text() + " is another transaction manager's branch, and left alone");
  }
  auto lease = recovery_session();
  if (!lease) return Reply::not_done(lease.failure().code, lease.failure().text);
  Session& session = *lease.value();
  const Result<bool> turn = take_turn(session, xid);
  if (!turn) return turn.failure();
  Reply reply = *turn ? finish_locked(session, xid, verb, options)
                      : Reply::not_done(Code::retry, xid.text() + ": another recovery is finishing it");
  if (end_turn(session)) lease->give_back();
  return reply;
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
  const std::string lock = carrier_lock(xid);
  const Answer asked = session.run({"SELECT IS_USED_LOCK(" + lock + ")"});
  if (!asked.ok()) return failed(*asked.failure);
  const auto owner = asked.value(0);
  // The server gives up a session's locks after its open branch was rolled back or its prepared one detached.
  bool gone = !owner;
  if (owner && options.carrier_is_dead) {
    const Result<bool> turn = take_turn(session, xid);
    if (turn && *turn) {
      const Reply ended = await_owner(session, xid, options);
      if (!ended.is_ok() && ended.code != Code::retry && ended.code != Code::not_found) return ended;
      gone = ended.code != Code::retry;
    }
  }
  if (end_turn(session)) lease->give_back();
  return gone;
}

}  // namespace assent::mysql
