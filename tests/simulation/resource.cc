#include "assent/tests/simulation/resource.h"

#include <utility>

namespace assent::simulation {
namespace {

/// `what` and what it holds are the world's: a request outlives the process that sent it.
template <class Make>
std::uint64_t send(Database& database, std::uint64_t session, Make make, bool decides = false) {
  std::function<Answer()> request;
  {
    const InTheWorld world;
    request = make();
  }
  return database.send(session, std::move(request), decides);
}

class SimulatedBranch final : public Branch {
 public:
  SimulatedBranch(Database& database, std::uint64_t session, const Xid& xid)
      : database_(database), session_(session), xid_(xid) {}
  // A prepared branch stays prepared; an open one ends with its session.
  ~SimulatedBranch() override {
    if (sent_) static_cast<void>(database_.take(*sent_));
    database_.close_session(session_);
  }

  const Xid& xid() const override { return xid_; }
  Reply end() override { return Reply::ok(); }

  void send_ahead(Verb verb) override {
    if (lost_ || database_.kind() != Kind::postgres) return;
    asked_to_prepare_ = true;
    sent_ = verb == Verb::prepare ? send(prepare_at) : send(commit_at);
  }
  Reply prepare() override {
    asked_to_prepare_ = true;
    return ask(prepare_at);
  }
  Reply commit_one_phase() override {
    asked_to_prepare_ = true;
    return ask([](Database& database, const Xid& xid) { return database.commit_one_phase(xid); });
  }
  Reply commit_deciding(const std::string& decision) override {
    asked_to_prepare_ = true;
    if (lost_) return Reply::unknown(Code::resource_failed, "the session is lost");
    const auto request = [&] {
      return std::function<Answer()>([&database = database_, xid = Xid(xid_), bytes = std::string(decision)] {
        return database.commit_deciding(xid, bytes);
      });
    };
    return take(simulation::send(database_, session_, request, true));
  }
  Reply commit() override { return ask(commit_at); }
  Reply rollback() override {
    Reply reply = ask([](Database& database, const Xid& xid) { return database.finish_own(xid, false); });
    // A server that was never asked to prepare rolls back when it hears nothing more.
    return asked_to_prepare_ ? reply : Reply::ok();
  }
  Reply set_deadline(std::optional<std::chrono::steady_clock::time_point>) override { return Reply::ok(); }
  std::string evidence() const override { return "simulated"; }

 private:
  static Answer prepare_at(Database& database, const Xid& xid) { return database.prepare(xid); }
  static Answer commit_at(Database& database, const Xid& xid) { return database.finish_own(xid, true); }

  std::uint64_t send(Answer (*what)(Database&, const Xid&)) {
    return simulation::send(database_, session_, [&] {
      return std::function<Answer()>([&database = database_, what, xid = Xid(xid_)] { return what(database, xid); });
    });
  }
  Reply ask(Answer (*what)(Database&, const Xid&)) {
    if (lost_) return Reply::unknown(Code::resource_failed, "the session is lost");
    return take(sent_ ? *std::exchange(sent_, std::nullopt) : send(what));
  }
  Reply take(std::uint64_t call) {
    Answer answer = database_.take(call);
    lost_ = answer.reply.code == Code::resource_failed;
    return std::move(answer.reply);
  }

  Database& database_;
  const std::uint64_t session_;
  const Xid xid_;
  std::optional<std::uint64_t> sent_;  ///< the verb whose answer nobody took yet
  bool asked_to_prepare_ = false;
  bool lost_ = false;
};

}  // namespace

SimulatedResource::SimulatedResource(std::string name, Database& database, int node)
    : name_(std::move(name)), address_("simulated://" + name_), database_(database), node_(node) {}

Answer SimulatedResource::ask(const Xid& xid, Answer (*what)(Database&, const Xid&, int, bool), bool flag) {
  const std::uint64_t session = database_.open_session(node_);
  Answer answer = database_.take(send(database_, session, [&] {
    return std::function<Answer()>(
        [&database = database_, what, flag, node = node_, xid = Xid(xid)] { return what(database, xid, node, flag); });
  }));
  database_.close_session(session);
  return answer;
}

Result<Probe> SimulatedResource::probe() {
  const Answer answer = ask(
      {}, [](Database&, const Xid&, int, bool) { return Answer{}; }, false);
  if (!answer.reply.is_ok()) return answer.reply;
  return Probe{.identity = {.system = database_.identity(), .database = ""},
               .capabilities = {.two_phase = true,
                                .prepared_survives_disconnect = true,
                                .any_session_finishes_prepared = database_.kind() != Kind::mariadb,
                                .session_bound_to_thread = false,
                                .settles_one_phase = true,
                                .decides = true,
                                .answers_at_once = false,
                                .sends_ahead = database_.kind() == Kind::postgres},
               .product = std::string(to_string(database_.kind()))};
}

Result<std::unique_ptr<Branch>> SimulatedResource::start(const Xid& xid, const StartOptions& options) {
  const std::uint64_t session = database_.open_session(node_);
  const Answer answer = database_.take(send(database_, session, [&] {
    return std::function<Answer()>([&database = database_, session, read_only = options.read_only, xid = Xid(xid)] {
      return database.begin(xid, session, read_only);
    });
  }));
  if (!answer.reply.is_ok()) {
    database_.close_session(session);
    return Reply::not_done(answer.reply.code, answer.reply.text);
  }
  return std::unique_ptr<Branch>(std::make_unique<SimulatedBranch>(database_, session, xid));
}

Reply SimulatedResource::commit(const Xid& xid, const FinishOptions& options) {
  return ask(
             xid,
             [](Database& database, const Xid& which, int node, bool dead) {
               return database.finish(which, true, dead, node);
             },
             options.carrier_is_dead)
      .reply;
}

Reply SimulatedResource::rollback(const Xid& xid, const FinishOptions& options) {
  return ask(
             xid,
             [](Database& database, const Xid& which, int node, bool dead) {
               return database.finish(which, false, dead, node);
             },
             options.carrier_is_dead)
      .reply;
}

Result<std::vector<PreparedBranch>> SimulatedResource::recover() {
  Answer answer = ask(
      {}, [](Database& database, const Xid&, int, bool) { return database.list(); }, false);
  if (!answer.reply.is_ok()) return answer.reply;
  return std::move(answer.list);
}

Result<Fate> SimulatedResource::fate(const Xid& xid, const std::string& evidence) {
  const Answer answer = ask(
      xid,
      [](Database& database, const Xid& which, int, bool with_evidence) { return database.fate(which, with_evidence); },
      !evidence.empty());
  if (!answer.reply.is_ok()) return answer.reply;
  return answer.fate;
}

Result<Fate> SimulatedResource::settle(const Xid& xid) {
  const Answer answer = ask(
      xid, [](Database& database, const Xid& which, int, bool) { return database.settle(which); }, false);
  if (!answer.reply.is_ok()) return answer.reply;
  return answer.fate;
}

Result<std::vector<KeptDecision>> SimulatedResource::decisions() {
  Answer answer = ask(
      {}, [](Database& database, const Xid&, int, bool) { return database.decisions(); }, false);
  if (!answer.reply.is_ok()) return answer.reply;
  return std::move(answer.kept);
}

Result<bool> SimulatedResource::carrier_gone(const Xid& xid, const FinishOptions& options) {
  const Answer answer = ask(
      xid, [](Database& database, const Xid& which, int, bool dead) { return database.carrier_gone(which, dead); },
      options.carrier_is_dead);
  if (!answer.reply.is_ok()) return answer.reply;
  return answer.yes;
}

Reply SimulatedResource::forget(const std::vector<Xid>& finished) {
  const std::uint64_t session = database_.open_session(node_);
  const Answer answer = database_.take(send(database_, session, [&] {
    return std::function<Answer()>(
        [&database = database_, xids = std::vector<Xid>(finished)] { return database.forget(xids); });
  }));
  database_.close_session(session);
  return answer.reply;
}

}  // namespace assent::simulation
