#include "assent/tests/simulation/database.h"

#include <algorithm>
#include <utility>

namespace assent::simulation {
namespace {

constexpr Time round_trip_least = 50us;
constexpr Time round_trip_most = 1ms;
constexpr Time slow_least = 200ms;
constexpr Time slow_most = 4s;
/// How long a client waits for an answer that does not come.
constexpr Time patience = 1500ms;
/// How long what is not forced may take to be on disk.
constexpr Time unforced_for = 600ms;

Answer ok() {
  return {};
}
Answer says(Reply reply) {
  return {std::move(reply), Fate::unknown, false, {}, {}};
}
Answer lost() {
  return says(Reply::unknown(Code::resource_failed, "the connection was lost"));
}
Answer not_found() {
  return says(Reply::unknown(Code::not_found, "no such prepared branch"));
}

}  // namespace

std::string_view to_string(Kind kind) {
  switch (kind) {
    case Kind::postgres:
      return "PostgreSQL";
    case Kind::mysql:
      return "MySQL";
    case Kind::mariadb:
      return "MariaDB";
    case Kind::sqlite:
      return "SQLite";
  }
  return "?";
}

Database::Database(Scheduler& scheduler, Ledger& ledger, Trace& trace, Kind kind, std::string name)
    : scheduler_(scheduler),
      ledger_(ledger),
      trace_(trace),
      kind_(kind),
      name_(std::move(name)),
      identity_("id-" + name_) {}

void Database::say(const std::string& what) {
  trace_.say(scheduler_.now(), name_, what);
}

bool Database::goes_wrong(Mishap::Kind kind, std::uint64_t per_mille) {
  if (mishap.kind == kind && messages_ >= mishap.number) {
    mishap = {};
    return true;
  }
  return scheduler_.dice().happens(per_mille);
}

void Database::fault(const std::string& what) {
  ++faults_;
  say("FAULT " + what);
}

// The world's.

void Database::crash() {
  fault("the server is killed");
  up_ = false;
  for (auto& [id, session] : sessions_) session.gone = true;
  notice_all();
  for (auto& [xid, branch] : branches_) {
    branch.hidden = false;
    // PostgreSQL is not asked to force what it removes.
    if (kind_ == Kind::postgres && scheduler_.now() < branch.removed_at + unforced_for && branch.row.is_empty()) {
      branch.row = std::exchange(branch.removed, {});
      if (branch.row.bar || !branch.row.decision.empty()) fault("brings back the row of " + branch.xid.text());
    }
    if (branch.state != State::prepared || branch.bystander || !scheduler_.dice().happens(manners.loses_prepared))
      continue;
    fault("the crash lost the prepared " + branch.xid.text());
    if (const auto id = xid.transaction()) ledger_.excuse(*id, "a database lost its prepared branch");
    branch.state = State::rolled_back;
  }
}

void Database::start() {
  if (std::exchange(up_, true)) return;
  say("the server is up again");
}

void Database::cut(const Process& process) {
  std::vector<std::uint64_t> dead;
  for (const auto& [id, session] : sessions_) {
    if (session.pid == process.pid()) dead.push_back(id);
  }
  for (const std::uint64_t id : dead) lose(id);
}

void Database::client_died(const Process& process) {
  cut(process);
  std::erase_if(calls_, [&](const auto& each) { return each.second.pid == process.pid(); });
}

void Database::lose(std::uint64_t session) {
  const auto found = sessions_.find(session);
  if (found == sessions_.end() || found->second.gone) return;
  found->second.gone = true;
  Dice& dice = scheduler_.dice();
  Time until_noticed = dice.between(100us, 50ms);
  if (kind_ == Kind::sqlite) {
    until_noticed = 0ns;  // the session is the process
  } else if (dice.happens(200)) {
    until_noticed = dice.between(50ms, 6s);
  }
  until_noticed = std::max(until_noticed, found->second.hears_until - scheduler_.now());
  scheduler_.after(until_noticed, [this, session] { end_session(session); });
}

void Database::notice_all() {
  std::vector<std::uint64_t> gone;
  for (const auto& [id, session] : sessions_) {
    if (session.gone) gone.push_back(id);
  }
  for (const std::uint64_t id : gone) end_session(id);
}

void Database::end_session(std::uint64_t session) {
  if (sessions_.erase(session) == 0) return;
  for (auto& [xid, branch] : branches_) {
    if (branch.session != session) continue;
    branch.session = 0;
    branch.hidden = false;  // it comes with a start of the server
    if (branch.state != State::active) continue;
    say("rolls back the open " + branch.xid.text() + ": its session ended");
    end_branch(branch, false);
  }
}

void Database::end_branch(Branch& branch, bool commit) {
  branch.session = 0;
  if (branch.read_only) {  // leaves nothing behind, and no witness
    branch.state = commit ? State::committed : State::rolled_back;
    return;
  }
  // PostgreSQL keeps a row of what commits in one phase only; of the others its number tells.
  branch.row.witness = commit && (kind_ != Kind::postgres || branch.state == State::active);
  branch.state = commit ? State::committed : State::rolled_back;
  if (commit) {
    ledger_.committed(branch.xid, identity_);
  } else {
    ledger_.rolled_back(branch.xid);
  }
}

void Database::add_bystander(const Xid& xid) {
  Branch& branch = branches_[xid];
  branch.xid = xid;
  branch.state = State::prepared;
  branch.bystander = true;
}

bool Database::bystanders_untouched() const {
  return std::ranges::all_of(
      branches_, [](const auto& each) { return !each.second.bystander || each.second.state == State::prepared; });
}

void Database::remember() {
  remembered_ = branches_;
}

void Database::restore() {
  fault("a backup is restored");
  for (auto& [id, session] : sessions_) session.gone = true;
  notice_all();
  // What is not as it was then is out of the promises.
  for (const auto& [xid, branch] : branches_) {
    const auto then = remembered_.find(xid);
    const bool same = then != remembered_.end() && then->second.state == branch.state;
    if (const auto id = xid.transaction(); id && !same) ledger_.excuse(*id, "a backup without it was restored");
  }
  branches_ = remembered_;
  for (auto& [xid, branch] : branches_) {
    branch.session = 0;
    branch.hidden = false;  // it comes with a start of the server
    if (branch.state != State::active) continue;
    branch.state = State::rolled_back;
    if (const auto id = xid.transaction()) ledger_.excuse(*id, "a backup without it was restored");
  }
}

void Database::clone_from(const Database& other) {
  branches_ = other.branches_;
  for (auto& [xid, branch] : branches_) {
    branch.session = 0;
    branch.hidden = false;
    if (branch.state == State::active) branch.state = State::rolled_back;
  }
}

std::vector<Database::Left> Database::left() const {
  std::vector<Left> out;
  for (const auto& [xid, branch] : branches_) {
    if (branch.bystander || (branch.state != State::active && branch.state != State::prepared)) continue;
    out.push_back({branch.xid, branch.state == State::prepared});
  }
  return out;
}

std::size_t Database::rows() const {
  return static_cast<std::size_t>(std::ranges::count_if(
      branches_, [](const auto& each) { return each.second.row.bar || !each.second.row.decision.empty(); }));
}

// From a process.

std::uint64_t Database::open_session(int node) {
  const InTheWorld world;
  const std::uint64_t id = next_++;
  sessions_.emplace(id, Session{scheduler_.process().pid(), node, false, {}, false});
  return id;
}

void Database::close_session(std::uint64_t session) {
  const InTheWorld world;
  const auto found = sessions_.find(session);
  if (found == sessions_.end() || found->second.gone) return;
  found->second.gone = true;
  scheduler_.after(scheduler_.dice().between(10us, 2ms), [this, session] { end_session(session); });
}

std::uint64_t Database::send(std::uint64_t session, std::function<Answer()> at_server, bool decides) {
  const InTheWorld world;
  Dice& dice = scheduler_.dice();
  const std::uint64_t id = next_++;
  ++messages_;
  calls_.emplace(id, Call{scheduler_.ticket(), scheduler_.process().pid(), false, false, {}});
  const bool network = kind_ != Kind::sqlite;
  const bool slow = dice.happens(manners.is_slow);
  if (slow) fault("is slow");
  Time there = slow ? dice.between(slow_least, slow_most) : dice.between(round_trip_least, round_trip_most);
  if (const auto found = sessions_.find(session); network && decides && ambush_ && found != sessions_.end()) {
    fault("gets a decision late");
    there = dice.between(slow_least, 2 * slow_most);
    found->second.hears_until = scheduler_.now() + there + 1ms;
    found->second.stubborn = dice.happens(500);
    scheduler_.after(dice.between(0ms, 20ms),
                     [ambush = std::exchange(ambush_, {}), pid = scheduler_.process().pid()] { ambush(pid); });
  }
  if (network && goes_wrong(Mishap::Kind::loses_request, manners.loses_request)) {
    fault("never hears a request");
    lose(session);
    answer(id, lost(), patience);
  } else {
    // It travels on by itself: a process that dies meanwhile does not call it back.
    scheduler_.after(there, [this, id, session, network, what = std::move(at_server)] {
      const auto found = sessions_.find(session);
      if (!up_ || found == sessions_.end()) return answer(id, lost(), 1ms);
      delay_ = Time{0};
      Answer done = what();
      const Time delay = delay_;
      if (network && goes_wrong(Mishap::Kind::loses_reply, manners.loses_reply)) {
        fault("answers, and the answer is lost");
        lose(session);
        return answer(id, lost(), patience);
      }
      answer(id, std::move(done), delay + scheduler_.dice().between(round_trip_least, round_trip_most));
    });
  }
  return id;
}

Answer Database::take(std::uint64_t call) {
  // Woken for this only: elsewhere the thread may be waiting for something else.
  calls_.at(call).awaited = true;
  while (!calls_.at(call).answered) scheduler_.park();
  Answer mine = calls_.at(call).answer;  // a copy in this process's memory
  const InTheWorld world;
  calls_.erase(call);
  return mine;
}

void Database::answer(std::uint64_t call, Answer what, Time delay) {
  scheduler_.after(delay, [this, call, what = std::move(what)] {
    const auto found = calls_.find(call);
    if (found == calls_.end()) return;  // its process is dead
    found->second.answer = what;
    found->second.answered = true;
    if (found->second.awaited) scheduler_.wake(found->second.caller);
  });
}

// At the server.

Database::Branch* Database::find(const Xid& xid) {
  const auto found = branches_.find(xid.undecided());
  return found == branches_.end() ? nullptr : &found->second;
}

Database::Branch* Database::find_exactly(const Xid& xid) {
  Branch* const branch = find(xid);
  return branch != nullptr && branch->xid == xid ? branch : nullptr;
}

Answer Database::begin(const Xid& xid, std::uint64_t session, bool read_only) {
  if (find(xid) != nullptr) return says(Reply::not_done(Code::duplicate, "the branch is there already"));
  Branch& branch = branches_[xid.undecided()];
  branch.xid = xid;
  branch.session = session;
  branch.read_only = read_only;
  if (!read_only) ledger_.enlisted(xid, identity_);
  return ok();
}

Answer Database::prepare(const Xid& xid) {
  Branch* const branch = find(xid);
  if (branch == nullptr || branch->state != State::active) {
    return says(Reply::not_done(Code::rb_comm_fail, "the branch is gone"));
  }
  delay_ = pace.prepare;
  if (refuses || scheduler_.dice().happens(manners.refuses_prepare)) {
    fault("rolls back " + xid.text() + " instead of preparing it");
    end_branch(*branch, false);
    return says(Reply::not_done(scheduler_.dice().happens(500) ? Code::rb_integrity : Code::rb_deadlock, "refused"));
  }
  if (branch->read_only) {
    end_branch(*branch, true);
    return says({Code::read_only, Certainty::done, {}});
  }
  say("prepares " + xid.text());
  branch->state = State::prepared;
  return ok();
}

Answer Database::commit_alone(const Xid& xid, const std::string& decision) {
  Branch* const branch = find(xid);
  if (branch == nullptr || branch->state != State::active) {
    return says(Reply::not_done(Code::rb_comm_fail, "the branch is gone"));
  }
  if (branch->row.bar) {
    say("rolls back, barred, " + xid.text());
    end_branch(*branch, false);
    return says(Reply::not_done(Code::rb_integrity, "its row is there already"));
  }
  const bool refused = refuses || scheduler_.dice().happens(manners.refuses_prepare);
  const std::string how = decision.empty() ? "for one phase, " : "to decide, ";
  say((refused ? "rolls back, asked " : "commits, asked ") + how + xid.text());
  end_branch(*branch, !refused);
  if (!refused) branch->row.decision = decision;
  return refused ? says(Reply::not_done(Code::rb_deadlock, "refused")) : ok();
}

Answer Database::finish_own(const Xid& xid, bool commit) {
  Branch* const branch = find_exactly(xid);
  const bool open = branch != nullptr && !branch->hidden &&
                    (branch->state == State::prepared || (branch->state == State::active && !commit));
  if (!open) return not_found();
  delay_ = pace.finish;
  say((commit ? "commits " : "rolls back ") + xid.text());
  if (commit) ledger_.acted_on_decision(xid);
  end_branch(*branch, commit);
  return ok();
}

Answer Database::finish(const Xid& xid, bool commit, bool carrier_is_dead, int node) {
  ledger_.asked_to_finish(xid, node, identity_);
  Branch* const branch = find_exactly(xid);
  if (branch == nullptr || branch->hidden || branch->state != State::prepared) return not_found();
  if (goes_wrong(Mishap::Kind::denies_branch, manners.denies_branch)) {
    fault("denies that it knows " + xid.text());
    return not_found();
  }
  if (kind_ == Kind::mariadb && carried(*branch)) {
    if (!carrier_is_dead) return says(Reply::not_done(Code::retry, "its session still carries it"));
    end_session(branch->session);
    if (goes_wrong(Mishap::Kind::hides_branch, manners.hides_branch)) {
      fault("says it finished " + xid.text() + ", and hides it");
      branch->hidden = true;
      return says(Reply::unknown(Code::resource_failed, "finished, and its witness is locked"));
    }
  }
  say((commit ? "commits for recovery " : "rolls back for recovery ") + xid.text());
  if (commit) ledger_.acted_on_decision(xid);
  end_branch(*branch, commit);
  return ok();
}

Answer Database::list() {
  Answer answer;
  for (const auto& [xid, branch] : branches_) {
    if (branch.state != State::prepared || branch.hidden) continue;
    PreparedBranch each;
    each.xid = branch.xid;
    each.raw = branch.xid.text();
    answer.list.push_back(std::move(each));
  }
  return answer;
}

Answer Database::fate(const Xid& xid, bool with_evidence) {
  Answer answer;
  const Branch* const branch = find(xid);
  const bool by_row = kind_ != Kind::postgres;
  if (branch == nullptr) {
    answer.fate = by_row ? Fate::rolled_back : Fate::unknown;
  } else if (branch->state == State::prepared || (branch->state == State::active && (by_row || with_evidence))) {
    answer.fate = Fate::in_progress;
  } else if (branch->row.witness || (!by_row && with_evidence && branch->state == State::committed)) {
    answer.fate = Fate::committed;
  } else if (branch->row.bar || by_row || with_evidence) {
    answer.fate = Fate::rolled_back;
  }
  return answer;
}

Answer Database::settle(const Xid& xid) {
  Branch* branch = find(xid);
  const bool open = branch != nullptr && (branch->state == State::active || branch->state == State::prepared);
  // PostgreSQL's branch inserts its row with the commit, and until then nothing waits behind it.
  if (open && kind_ != Kind::postgres) return says(Reply::not_done(Code::retry, "the branch is still at work"));
  Answer answer;
  if (branch != nullptr && branch->row.witness) {
    answer.fate = Fate::committed;
    return answer;
  }
  if (branch == nullptr) {
    branch = &branches_[xid.undecided()];
    branch->xid = xid;
    branch->state = State::rolled_back;
  }
  // The opposite, under the same key.
  if (!branch->row.bar) say("bars " + xid.text());
  branch->row.bar = true;
  answer.fate = Fate::rolled_back;
  return answer;
}

Answer Database::decisions() {
  Answer answer;
  for (const auto& [xid, branch] : branches_) {
    const Row& row = branch.row;
    if (!row.decision.empty()) answer.kept.push_back({xid, Fate::committed, row.decision});
    if (row.bar) answer.kept.push_back({xid, Fate::rolled_back, {}});
  }
  return answer;
}

Answer Database::carrier_gone(const Xid& xid, bool carrier_is_dead) {
  Answer answer;
  const Branch* const branch = find(xid);
  answer.yes = branch == nullptr || !carried(*branch);
  if (answer.yes || !carrier_is_dead) return answer;
  const Session& session = sessions_.at(branch->session);
  if (session.stubborn) return answer;
  if (kind_ != Kind::sqlite && scheduler_.dice().happens(manners.ends_slowly)) {
    fault("is slow to end the session of " + branch->xid.text());
    scheduler_.after(scheduler_.dice().between(50ms, 6s), [this, id = branch->session] { end_session(id); });
    return answer;
  }
  end_session(branch->session);
  answer.yes = true;
  return answer;
}

Answer Database::forget(const std::vector<Xid>& xids) {
  for (const Xid& xid : xids) {
    Branch* const branch = find(xid);
    if (branch == nullptr) continue;
    if (branch->row.bar) say("removes the bar of " + branch->xid.text());
    branch->removed = std::exchange(branch->row, {});
    branch->removed_at = scheduler_.now();
  }
  return ok();
}

}  // namespace assent::simulation
