#include "assent/adapters/mysql/manager.h"

#include <charconv>
#include <utility>

#include "assent/adapters/mysql/sql_text.h"

namespace assent::mysql {
namespace {

constexpr std::size_t recovery_sessions = 8;
constexpr const char* lock_wait_s = "2";

// READ COMMITTED: looking for a row that is not there locks no gap. The waits of recovery are short and repeated. Of a
// join MariaDB demands a key for both sides where updates are "safe".
std::optional<Failure> set_for_recovery(Session& session) {
  return session
      .run({"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
            std::string("SET SESSION innodb_lock_wait_timeout=") + lock_wait_s + ",lock_wait_timeout=" + lock_wait_s +
                ",sql_safe_updates=0"})
      .failure;
}

/// The whole of the text; one text a number.
std::optional<std::int64_t> number(const std::string& text) {
  std::int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return std::to_string(value) == text ? std::optional(value) : std::nullopt;
}

Reply not_ours(const Xid& xid) {
  return Reply::not_done(Code::invalid, xid.text() + " is not one of Assent's branches, or its parts are too long");
}

}  // namespace

Manager::Manager(const ResourceSpec& spec)
    : settings_(Settings::from(spec)),
      witness_(settings_.schema),
      watchdog_([this](std::uint64_t id) {
        // Of its own: the pool may be exhausted by the very branch that is late.
        const auto session = connect();
        if (session) static_cast<void>(session.value()->run({"KILL QUERY " + std::to_string(id)}));
      }),
      pool_(
          {.max_sessions = spec.pool_size, .wait = std::chrono::milliseconds(spec.pool_wait_ms)},
          [this] { return connect(); }, [](Session& session) { return session.answers(); }),
      recovery_(
          {.max_sessions = recovery_sessions, .wait = std::chrono::milliseconds(30000)},
          [this] { return connect_for_recovery(); }, [](Session& session) { return session.answers(); }) {}

std::string Manager::evidence() const {
  const std::lock_guard lock(mutex_);
  return identity_.empty() ? "" : "my:" + identity_;
}

// Behind one address another server may answer tomorrow, or for the next connection: a failover, a balancer, a restored
// copy. There recovery would find no branch and no witness, and take both for a rollback.
std::optional<Reply> Manager::refuse_another_database(const std::string& id) {
  const std::string found = "mysql:" + id;
  const std::lock_guard lock(mutex_);
  if (identity_.empty()) identity_ = found;
  if (identity_ == found) return std::nullopt;
  return Reply::not_done(Code::resource_error, "another database answers at " + settings_.address + ": it was " +
                                                   identity_ + ", now it is " +
                                                   (id.empty() ? "one without Assent's identity" : found) +
                                                   "; point the URL to the first, or restart to be told what is left");
}

Result<std::unique_ptr<Session>> Manager::connect() {
  auto session = Session::open(settings_);
  if (!session) return session;
  std::string id = session.value()->facts().identity();
  if (id.empty() && evidence().empty()) {
    // Assent's first session on this MariaDB: its identity is made now.
    const Result<std::string> made = witness_.identity(*session.value());
    if (!made) return made.failure();
    id = *made;
  }
  if (const auto refusal = refuse_another_database(id)) return *refusal;
  return session;
}

Result<std::unique_ptr<Session>> Manager::connect_for_recovery() {
  auto session = connect();
  if (!session) return session;
  if (const auto failure = set_for_recovery(*session.value())) return refused(*failure);
  return session;
}

Result<Manager::SessionPool::Lease> Manager::recovery_session() {
  auto lease = recovery_.take();
  if (!lease) return lease;
  // A server that was restarted closed every idle session; what recovery does next must not fail for that.
  if (lease.value()->answers()) return lease;
  lease.value().discard();
  recovery_.clear();
  return recovery_.take();
}

Result<Probe> Manager::probe() {
  auto lease = recovery_session();
  if (!lease) return lease.failure();
  Session& session = *lease.value();
  const Result<std::string> kept = witness_.identity(session);
  if (!kept) {
    if (!session.lost()) lease->give_back();
    return kept.failure();
  }
  const Facts& facts = session.facts();
  const std::string id = facts.mariadb ? *kept : facts.server_uuid;
  if (const auto refusal = refuse_another_database(id)) return *refusal;
  Probe probe;
  probe.identity.system = "mysql:" + id;
  probe.identity.database = settings_.schema;
  probe.product = (facts.mariadb ? "MariaDB " : "MySQL ") + facts.version;
  probe.capabilities.two_phase = true;
  probe.capabilities.prepared_survives_disconnect = true;
  probe.capabilities.any_session_finishes_prepared = facts.detaches_on_prepare;
  probe.capabilities.settles_one_phase = true;
  probe.capabilities.decides = true;
  if (!facts.mariadb) {
    const Answer recover = session.run({"XA RECOVER CONVERT XID"});
    if (!recover.ok() && !recover.failure->lost) {
      // A prepared branch that recovery cannot see would be in doubt for ever.
      probe.capabilities.two_phase = false;
    }
  }
  if (!session.lost()) lease->give_back();
  return probe;
}

Result<std::unique_ptr<Branch>> Manager::start(const Xid& xid, const StartOptions& options) {
  if (!is_ours(xid)) return not_ours(xid);
  auto lease = pool_.take(options.deadline, options.place);
  if (!lease) return lease.failure();
  auto branch = start_branch(shared_from_this(), std::move(lease).value(), nullptr, xid, options);
  if (branch || branch.failure().code != Code::resource_failed) return branch;
  // An idle session that the server closed meanwhile: no other idle one is better, a new one may be.
  pool_.clear();
  lease = pool_.take(options.deadline, options.place);
  if (!lease) return lease.failure();
  return start_branch(shared_from_this(), std::move(lease).value(), nullptr, xid, options);
}

Result<std::unique_ptr<Branch>> Manager::adopt(sql::Connection& borrowed, const Xid& xid, const StartOptions& options) {
  if (!is_ours(xid)) return not_ours(xid);
  auto session = Session::borrow(borrowed, settings_.schema);
  if (!session) return session.failure();
  if (evidence().empty()) {
    // The resource is what its URL leads to, not what the caller brings.
    auto lease = recovery_session();
    if (!lease) return lease.failure();
    lease->give_back();
  }
  if (const auto refusal = refuse_another_database(session.value()->facts().identity())) return *refusal;
  return start_branch(shared_from_this(), SessionPool::Lease(), std::move(session).value(), xid, options);
}

std::optional<PreparedBranch> decode_recovered(const Row& row, bool mariadb) {
  if (row.size() != 4 || !row[0] || !row[1] || !row[2] || !row[3]) return std::nullopt;
  const auto format_id = number(*row[0]);
  const std::int64_t gtrid_length = number(*row[1]).value_or(-1);
  const std::int64_t bqual_length = number(*row[2]).value_or(-1);
  // Not FORMAT='SQL': that quotes printable names and writes others in hex, where the bytes themselves need no reading.
  std::optional<std::string> bytes;
  if (mariadb) {
    bytes = *row[3];
  } else if (row[3]->starts_with("0x")) {
    std::string hex = row[3]->substr(2);
    for (char& c : hex) {
      if (c >= 'A' && c <= 'F') c = static_cast<char>(c - 'A' + 'a');
    }
    bytes = from_hex(hex);
  }
  PreparedBranch out;
  const auto max_part = static_cast<std::int64_t>(Xid::max_part);
  if (!format_id || !bytes || gtrid_length < 1 || gtrid_length > max_part || bqual_length < 0 ||
      bqual_length > max_part || static_cast<std::int64_t>(bytes->size()) != gtrid_length + bqual_length) {
    out.xid.format_id = 0;
    out.raw = bytes ? binary_literal(*bytes) : *row[3];
    out.note = "not an Xid";
    return out;
  }
  out.xid.format_id = *format_id;
  out.xid.gtrid = bytes->substr(0, static_cast<std::size_t>(gtrid_length));
  out.xid.bqual = bytes->substr(static_cast<std::size_t>(gtrid_length));
  out.raw = xid_literal(out.xid);
  return out;
}

Result<std::vector<PreparedBranch>> Manager::list(Session& session) {
  const bool mariadb = session.facts().mariadb;
  const Answer answer = session.run({mariadb ? "XA RECOVER" : "XA RECOVER CONVERT XID"});
  if (!answer.ok()) {
    Reply reply = failed(*answer.failure);
    if (answer.failure->number == xaer_rmerr) {
      reply.code = Code::resource_error;
      reply.text = "the user may not list prepared branches; run: GRANT XA_RECOVER_ADMIN ON *.* TO '" + settings_.user +
                   "'@'%' (" + answer.failure->describe() + ")";
    }
    return reply;
  }
  std::vector<PreparedBranch> out;
  for (const Row& row : answer.rows[0]) {
    if (auto branch = decode_recovered(row, mariadb)) out.push_back(*std::move(branch));
  }
  return out;
}

Result<bool> Manager::listed(Session& session, const Xid& xid) {
  const auto branches = list(session);
  if (!branches) {
    if (branches.failure().code == Code::resource_error) return false;
    return branches.failure();
  }
  for (const PreparedBranch& branch : *branches) {
    if (branch.xid == xid) return true;
  }
  return false;
}

Result<std::vector<PreparedBranch>> Manager::recover() {
  auto lease = recovery_session();
  if (!lease) return lease.failure();
  Session& session = *lease.value();
  auto branches = list(session);
  if (!branches) {
    if (!session.lost()) lease->give_back();
    return branches;
  }
  // Who still carries them, in one more question: it explains why one cannot be finished yet, and a branch seen free
  // now needs no wait when it is finished a little later.
  std::vector<std::string> questions;
  std::vector<PreparedBranch*> asked;
  for (PreparedBranch& branch : *branches) {
    branch.ours_to_finish = is_ours(branch.xid);
    if (!branch.ours_to_finish) {
      branch.note += std::string(branch.note.empty() ? "" : "; ") + "another transaction manager's";
      continue;
    }
    questions.push_back("SELECT IS_USED_LOCK(" + carrier_lock(branch.xid) + ")");
    asked.push_back(&branch);
  }
  constexpr std::size_t batch = 200;
  for (std::size_t at = 0; at < questions.size(); at += batch) {
    const std::size_t end = std::min(questions.size(), at + batch);
    const Answer answer = session.run(
        {questions.begin() + static_cast<std::ptrdiff_t>(at), questions.begin() + static_cast<std::ptrdiff_t>(end)});
    if (!answer.ok()) return failed(*answer.failure);
    for (std::size_t i = at; i < end; ++i) {
      if (const auto holder = answer.value(i - at)) {
        asked[i]->note = "session " + *holder + " still carries it";
      } else {
        note_free(asked[i]->xid);
      }
    }
  }
  lease->give_back();
  return branches;
}

Result<Fate> Manager::fate(const Xid& xid, const std::string& evidence) {
  if (!is_ours(xid)) return Fate::unknown;
  const std::string here = this->evidence();
  // Another database's rows say nothing.
  if (!evidence.empty() && !here.empty() && evidence != here) return Fate::unknown;
  auto lease = recovery_session();
  if (!lease) return lease.failure();
  Session& session = *lease.value();
  auto answer = [&]() -> Result<Fate> {
    const auto row = witness_.look(session, xid);
    if (!row) return row.failure();
    if (*row == Witness::Row::committed) return witness_.committed_for_good(session);
    if (*row == Witness::Row::rolled_back) return Fate::rolled_back;
    if (*row == Witness::Row::locked) return Fate::in_progress;
    // The list after the row: a branch whose row is neither there nor locked has not begun, or is over. It would be in
    // the list only if its row was taken away by hand; then nothing is known.
    const auto prepared = listed(session, xid);
    if (!prepared) return prepared.failure();
    if (*prepared) return Fate::in_progress;
    // It may have been rolled back a moment ago.
    const Answer forced = force_rollback(session, xid);
    if (forced.ok()) return Fate::rolled_back;
    const int number = forced.failure->number;
    const bool again = number == dup_entry || number == lock_wait_timeout || number == lock_deadlock;
    return again ? Result<Fate>(Fate::in_progress) : failed(*forced.failure);
  }();
  if (!session.lost()) lease->give_back();
  return answer;
}

Answer Manager::force_rollback(Session& session, const Xid& xid) const {
  Answer answer = session.run(witness_.force_rollback(xid));
  if (!answer.ok() && !answer.failure->lost) static_cast<void>(session.run({"ROLLBACK"}));
  return answer;
}

Result<Fate> Manager::settle(const Xid& xid) {
  if (!is_ours(xid)) return not_ours(xid);
  auto lease = recovery_session();
  if (!lease) return lease.failure();
  auto answer = witness_.settle(*lease.value(), xid);
  if (!lease.value()->lost()) lease->give_back();
  return answer;
}

Result<std::vector<KeptDecision>> Manager::decisions() {
  auto lease = recovery_session();
  if (!lease) return lease.failure();
  auto found = witness_.decisions(*lease.value());
  if (!lease.value()->lost()) lease->give_back();
  return found;
}

Reply Manager::forget(const std::vector<Xid>& finished) {
  if (finished.empty()) return Reply::ok();
  auto lease = recovery_session();
  if (!lease) return lease.failure();
  Reply reply = witness_.forget(*lease.value(), finished);
  if (reply.is_ok()) lease->give_back();
  const std::lock_guard lock(mutex_);
  for (const Xid& xid : finished) free_since_.erase(xid);
  return reply;
}

Result<Impact> Manager::impact(const Xid& xid) {
  auto lease = recovery_session();
  if (!lease) return lease.failure();
  auto answer = measure_impact(*lease.value(), settings_, witness_, xid);
  if (!lease.value()->lost()) lease->give_back();
  return answer;
}

std::vector<Finding> Manager::examine() {
  auto session = Session::open(settings_);
  if (!session) {
    return {{Finding::Severity::problem, session.failure().text, "make the server reachable with this URL"}};
  }
  if (const auto failure = set_for_recovery(*session.value())) {
    return {{Finding::Severity::problem, failure->describe(), "make the server reachable with this URL"}};
  }
  return examine_server(*session.value(), settings_, witness_);
}

}  // namespace assent::mysql
