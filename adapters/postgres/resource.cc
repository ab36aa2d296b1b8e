#include "assent/adapters/postgres/resource.h"

#include <charconv>
#include <optional>
#include <utility>

#include "assent/adapters/postgres/carrier.h"
#include "assent/adapters/postgres/examine.h"
#include "assent/adapters/postgres/impact.h"
#include "assent/adapters/postgres/open_branch.h"
#include "assent/adapters/postgres/witness.h"

namespace assent::detail::postgres {
namespace {

Pool<Session>::Options pool_options(const ResourceSpec& spec, std::size_t most) {
  Pool<Session>::Options options;
  options.max_sessions = most;
  options.wait = std::chrono::milliseconds(spec.pool_wait_ms);
  return options;
}

bool still_good(Session& session) {
  return session.drain() && session.exec("SELECT 1").ok();
}

Reply forked() {
  return Reply::not_done(Code::protocol_error,
                         "the resource was opened before fork(): open the transaction manager again in the child");
}

std::optional<Reply> refuse_xid(const Xid& xid) {
  if (!xid.gtrid.empty() && xid.gtrid.size() <= Xid::max_part && xid.bqual.size() <= Xid::max_part) return std::nullopt;
  return Reply::not_done(Code::invalid, "gtrid must have 1 to 64 bytes and bqual at most 64");
}

Reply mute() {
  return Reply::not_done(Code::resource_error,
                         "what answers does not report a changed application_name, by which a branch is known: connect "
                         "to the server itself, or through a pooler that reports it");
}

bool session_died(const Reply& reply) {
  return reply.code == Code::resource_failed;
}

}  // namespace

Resource::Resource(const ResourceSpec& spec)
    : name_(spec.name),
      settings_(Settings::from(spec.url)),
      pool_size_(spec.pool_size),
      branches_(
          pool_options(spec, spec.pool_size), [this] { return connect_for_branches(); }, still_good),
      control_(
          pool_options(spec, control_sessions), [this] { return connect(); }, still_good) {}

Result<std::unique_ptr<Session>> Resource::connect() {
  Result<std::unique_ptr<Session>> session = Session::open(settings_);
  if (!session) return session;
  const std::lock_guard lock(identity_mutex_);
  if (identity_.system.empty()) identity_ = (*session)->identity();
  if (identity_ == (*session)->identity()) return session;
  return Reply::not_done(Code::resource_error, "another database answers at " + settings_.address + ": it was " +
                                                   identity_.text() + ", now it is " + (*session)->identity().text());
}

Result<std::unique_ptr<Session>> Resource::connect_for_branches() {
  Result<std::unique_ptr<Session>> session = connect();
  if (!session) return session;
  if (PQparameterStatus((*session)->raw(), "application_name") == nullptr) return mute();
  return session;
}

Reply Resource::with_session(const std::function<Reply(Session&)>& ask, bool again) {
  if (process_.in_child()) return forked();
  for (;;) {
    Result<Lease> lease = control_.take();
    if (!lease) return lease.failure();
    Session& session = **lease;
    Reply reply = ask(session);
    if (session.idle()) {
      lease->give_back();
    } else {
      lease->discard();
    }
    if (!session_died(reply) || !again) return reply;
    // The server went away under our idle sessions; one fresh session tells whether it is back.
    control_.clear();
    branches_.clear();
    again = false;
  }
}

Result<Probe> Resource::probe() {
  Probe probe;
  const Reply reply = with_session(
      [&](Session& session) {
        Answer answer = session.identify();
        if (!answer.ok()) return failure_of(answer);
        answer = session.exec(
            "SELECT current_setting('max_prepared_transactions')::int > 0 AND NOT pg_is_in_recovery(), "
            "current_setting('server_version'), pg_is_in_recovery()");
        if (!answer.ok()) return failure_of(answer);
        probe.identity = session.identity();
        probe.product = "PostgreSQL " + answer.field(0, 1);
        probe.capabilities.two_phase = answer.field(0, 0) == "t";
        probe.capabilities.prepared_survives_disconnect = true;
        probe.capabilities.any_session_finishes_prepared = true;
        probe.capabilities.sends_ahead = true;
        witness_ = witness_usable(session, answer.field(0, 2) == "f");
        probe.capabilities.settles_one_phase = witness_;
        probe.capabilities.decides = witness_;
        return Reply::ok();
      },
      true);
  if (!reply.is_ok()) return reply;
  return probe;
}

Result<std::unique_ptr<Branch>> Resource::start(const Xid& xid, const StartOptions& options) {
  if (process_.in_child()) return forked();
  if (auto refusal = refuse_xid(xid)) return *refusal;
  if (options.deadline && *options.deadline <= std::chrono::steady_clock::now()) {
    return Reply::not_done(Code::rb_timeout, "the deadline has passed");
  }
  for (bool again = true;; again = false) {
    Result<Lease> lease = branches_.take(options.deadline, options.place);
    if (!lease) return lease.failure();
    std::string why = "the session is closed";
    try {
      if ((*lease)->drain()) {
        return std::unique_ptr<Branch>(
            std::make_unique<OpenBranch>(std::move(*lease), xid, carrier_name(xid), options, witness_.load()));
      }
    } catch (const pqxx::broken_connection& failure) {
      why = one_line(failure.what());  // since drain() looked
    } catch (const std::exception& failure) {
      return Reply::not_done(Code::resource_error, one_line(failure.what()));
    }
    lease->discard();
    if (!again) return Reply::not_done(Code::resource_failed, why);
    branches_.clear();
    control_.clear();
  }
}

Result<std::unique_ptr<Branch>> Resource::adopt(NativeConnection& borrowed, const Xid& xid,
                                                const StartOptions& options) {
  if (process_.in_child()) return forked();
  if (auto refusal = refuse_xid(xid)) return *refusal;
  PGconn* const raw = Native::below(borrowed);
  if (raw == nullptr) return Reply::not_done(Code::resource_failed, "the connection to adopt is not open");
  auto session = Session::borrow(raw);
  if (!session->idle()) {
    return Reply::not_done(Code::outside, "the connection to adopt is not idle: end its transaction or query first");
  }
  Identity ours;
  const Reply known = with_session(
      [&](Session& own) {
        ours = own.identity();
        return Reply::ok();
      },
      false);
  if (!known.is_ok()) return known;
  const Answer who = session->identify();
  if (!who.ok()) return failure_of(who);
  if (session->identity() != ours) {
    return Reply::not_done(Code::invalid, "the connection to adopt leads to " + session->identity().text() +
                                              ", the resource " + name_ + " is " + ours.text());
  }
  const std::string mark = carrier_name(xid);
  const Answer answer = session->exec(begin_text(mark, options));
  if (!answer.ok() || !session->reports_name(mark)) {
    static_cast<void>(session->exec("ROLLBACK"));
    return answer.ok() ? mute() : failure_of(answer);
  }
  try {
    return std::unique_ptr<Branch>(
        std::make_unique<OpenBranch>(Session::borrow(raw), borrowed, xid, mark, options, witness_.load()));
  } catch (const std::exception& failure) {
    static_cast<void>(session->exec("ROLLBACK"));
    return Reply::not_done(Code::outside, "the connection to adopt is in use: " + one_line(failure.what()));
  }
}

Reply Resource::finish(const char* verb, const Xid& xid) {
  if (auto refusal = refuse_xid(xid)) return *refusal;
  const std::string sql = std::string(verb) + ' ' + text_literal(to_gid(xid));
  // Asking twice is safe: the second answer is then not_found, which claims nothing.
  return with_session([&](Session& session) { return finish_reply(session.exec(sql)); }, true);
}

Reply Resource::commit(const Xid& xid, const FinishOptions&) {
  return finish("COMMIT PREPARED", xid);
}

Reply Resource::rollback(const Xid& xid, const FinishOptions&) {
  return finish("ROLLBACK PREPARED", xid);
}

Result<std::vector<PreparedBranch>> Resource::recover() {
  std::vector<PreparedBranch> found;
  const Reply reply = with_session(
      [&](Session& session) {
        const Answer answer = session.exec(
            "SELECT gid, owner, database, extract(epoch FROM now() - prepared)::bigint, database = current_database(), "
            "owner = current_user OR current_setting('is_superuser') = 'on', current_user FROM pg_prepared_xacts "
            "ORDER BY prepared");
        if (!answer.ok()) return failure_of(answer);
        for (int row = 0; row < answer.rows(); ++row) {
          PreparedBranch branch;
          branch.raw = answer.field(row, 0);
          if (auto xid = from_gid(branch.raw)) {
            branch.xid = std::move(*xid);
          } else {
            branch.xid.format_id = 0;
          }
          branch.owner = answer.field(row, 1);
          branch.database = answer.field(row, 2);
          const std::string age = answer.field(row, 3);
          std::int64_t seconds = 0;
          std::from_chars(age.data(), age.data() + age.size(), seconds);
          branch.age = std::chrono::seconds(std::max<std::int64_t>(0, seconds));
          if (answer.field(row, 4) != "t") {
            branch.ours_to_finish = false;
            branch.note = "in database " + branch.database + ": only a session there can finish it";
          } else if (answer.field(row, 5) != "t") {
            branch.ours_to_finish = false;
            branch.note = "prepared by " + branch.owner + ": only that user or a superuser can finish it, not " +
                          answer.field(row, 6);
          }
          found.push_back(std::move(branch));
        }
        return Reply::ok();
      },
      true);
  if (!reply.is_ok()) return reply;
  return found;
}

namespace {

// Puts the value of a Result aside, so that a verb with a value can run where verbs with a Reply do.
template <class T>
Reply keep(Result<T> result, std::optional<T>& value) {
  if (!result) return result.failure();
  value = std::move(*result);
  return Reply::ok();
}

}  // namespace

Result<Fate> Resource::fate(const Xid& xid, const std::string& evidence) {
  if (evidence.size() > Branch::max_evidence) return Reply::not_done(Code::invalid, "the evidence is too long");
  std::optional<Fate> fate;
  const Reply reply = with_session(
      [&](Session& session) { return keep(postgres::fate(session, xid, evidence, witness_.load()), fate); }, true);
  if (!fate) return reply;
  return *fate;
}

Result<Fate> Resource::settle(const Xid& xid) {
  if (!witness_) return Reply::not_done(Code::resource_error, "Assent's witness table is missing: run assent doctor");
  std::optional<Fate> fate;
  const Reply reply = with_session([&](Session& session) { return keep(postgres::settle(session, xid), fate); }, true);
  if (!fate) return reply;
  return *fate;
}

Result<std::vector<KeptDecision>> Resource::decisions() {
  if (!witness_) return std::vector<KeptDecision>();
  std::optional<std::vector<KeptDecision>> found;
  const Reply reply = with_session([&](Session& session) { return keep(postgres::decisions(session), found); }, true);
  if (!found) return reply;
  return *std::move(found);
}

Result<bool> Resource::carrier_gone(const Xid& xid, const FinishOptions& options) {
  std::optional<bool> gone;
  const Reply reply =
      with_session([&](Session& session) { return keep(postgres::carrier_gone(session, xid, options), gone); }, true);
  if (!gone) return reply;
  return *gone;
}

Reply Resource::forget(const std::vector<Xid>& finished) {
  if (!witness_ || finished.empty()) return Reply::ok();
  return with_session([&](Session& session) { return postgres::forget(session, finished); }, true);
}

Result<Impact> Resource::impact(const Xid& xid) {
  std::optional<Impact> impact;
  const Reply reply = with_session([&](Session& session) { return keep(impact_of(session, xid), impact); }, true);
  if (!impact) return reply;
  return std::move(*impact);
}

std::vector<Finding> Resource::examine() {
  if (process_.in_child()) return {{Finding::Severity::problem, forked().text, "open it again in the child"}};
  return examine_server(settings_, pool_size_);
}

}  // namespace assent::detail::postgres
