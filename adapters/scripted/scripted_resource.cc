#include "assent/adapters/scripted/scripted_resource.h"

#include <algorithm>
#include <utility>

namespace assent {

std::string_view to_string(Verb verb) {
  switch (verb) {
    case Verb::start:
      return "start";
    case Verb::end:
      return "end";
    case Verb::prepare:
      return "prepare";
    case Verb::commit_one_phase:
      return "commit_one_phase";
    case Verb::commit_deciding:
      return "commit_deciding";
    case Verb::commit:
      return "commit";
    case Verb::rollback:
      return "rollback";
    case Verb::set_deadline:
      return "set_deadline";
    case Verb::send_ahead:
      return "send_ahead";
    case Verb::probe:
      return "probe";
    case Verb::finish_commit:
      return "finish_commit";
    case Verb::finish_rollback:
      return "finish_rollback";
    case Verb::recover:
      return "recover";
    case Verb::fate:
      return "fate";
    case Verb::settle:
      return "settle";
    case Verb::decisions:
      return "decisions";
    case Verb::carrier_gone:
      return "carrier_gone";
    case Verb::forget:
      return "forget";
  }
  return "?";
}

void Gate::wait_for_call() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return reached_; });
}

void Gate::open() {
  {
    const std::lock_guard lock(mutex_);
    open_ = true;
  }
  changed_.notify_all();
}

void Gate::pass() {
  std::unique_lock lock(mutex_);
  reached_ = true;
  changed_.notify_all();
  changed_.wait(lock, [this] { return open_; });
}

class ScriptedBranch : public Branch {
 public:
  ScriptedBranch(ScriptedResource& resource, Xid xid, bool read_only, std::string evidence,
                 Pool<ScriptedResource::Session>::Lease session)
      : resource_(resource),
        xid_(std::move(xid)),
        read_only_(read_only),
        evidence_(std::move(evidence)),
        session_(std::move(session)) {}
  ~ScriptedBranch() override {
    const std::lock_guard lock(resource_.mutex_);
    resource_.open_.erase(xid_);
  }

  const Xid& xid() const override { return xid_; }
  std::string evidence() const override { return evidence_; }
  void send_ahead(Branch::Verb) override {
    if (sends_ahead()) static_cast<void>(resource_.called(assent::Verb::send_ahead, xid_));
  }
  Reply end() override { return resource_.called(assent::Verb::end, xid_).reply; }
  Reply set_deadline(std::optional<std::chrono::steady_clock::time_point>) override {
    return resource_.called(assent::Verb::set_deadline, xid_).reply;
  }

  Reply prepare() override {
    const auto answer = resource_.called(assent::Verb::prepare, xid_);
    const std::lock_guard lock(resource_.mutex_);
    const bool over = read_only_ || answer.happens || is_rollback(answer.reply.code);
    if (!over || resource_.open_.erase(xid_) == 0) {
      return answer.happens ? Reply::not_done(Code::protocol_error, "prepare of a branch that is not open")
                            : answer.reply;
    }
    if (read_only_ && answer.reply.is_ok() && !resource_.prepares_readers_)
      return {Code::read_only, Certainty::done, ""};
    if (answer.happens && answer.reply.code != Code::read_only) resource_.prepared_.insert(xid_);
    return answer.reply;
  }

  Reply commit_one_phase() override { return commit_alone(assent::Verb::commit_one_phase, nullptr); }
  Reply commit_deciding(const std::string& decision) override {
    return commit_alone(assent::Verb::commit_deciding, &decision);
  }

  Reply commit() override {
    const auto answer = resource_.called(assent::Verb::commit, xid_);
    const std::lock_guard lock(resource_.mutex_);
    if (!answer.happens) return answer.reply;
    if (resource_.prepared_.erase(xid_) == 0) {
      return Reply::not_done(Code::protocol_error, "commit of a branch that is not prepared");
    }
    resource_.witness_[xid_] = Fate::committed;
    return answer.reply;
  }

  Reply rollback() override {
    const auto answer = resource_.called(assent::Verb::rollback, xid_);
    const std::lock_guard lock(resource_.mutex_);
    if (!answer.happens) return answer.reply;
    resource_.open_.erase(xid_);
    resource_.prepared_.erase(xid_);
    return answer.reply;
  }

 private:
  Reply commit_alone(assent::Verb verb, const std::string* decision) {
    const auto answer = resource_.called(verb, xid_);
    const std::lock_guard lock(resource_.mutex_);
    if (!answer.happens) return answer.reply;
    if (resource_.open_.erase(xid_) == 0) return Reply::not_done(Code::protocol_error, "one-phase commit out of turn");
    if (resource_.witness_.contains(xid_)) return Reply::not_done(Code::rb_integrity, "settled before");
    resource_.witness_[xid_] = Fate::committed;
    if (decision != nullptr) resource_.decisions_[xid_] = *decision;
    return answer.reply;
  }

  bool sends_ahead() const {
    const std::lock_guard lock(resource_.mutex_);
    return resource_.capabilities_.sends_ahead;
  }

  ScriptedResource& resource_;
  const Xid xid_;
  const bool read_only_;
  const std::string evidence_;
  const Pool<ScriptedResource::Session>::Lease session_;
};

ScriptedResource::ScriptedResource(std::string name, Identity identity)
    : name_(std::move(name)), address_("scripted://" + name_), identity_(std::move(identity)) {
  if (identity_.system.empty()) identity_ = {.system = "scripted:" + name_, .database = ""};
  capabilities_ = {.two_phase = true,
                   .prepared_survives_disconnect = true,
                   .any_session_finishes_prepared = true,
                   .session_bound_to_thread = false,
                   .settles_one_phase = true,
                   .decides = true};
}

void ScriptedResource::answer(Verb verb, Reply reply, Effect effect) {
  const std::lock_guard lock(mutex_);
  const bool happens = effect == Effect::happens || reply.certainty == Certainty::done;
  script_[verb].push_back({std::move(reply), happens});
}

void ScriptedResource::before(Verb verb, std::function<void(const Xid&)> what) {
  const std::lock_guard lock(mutex_);
  before_[verb] = std::move(what);
}

std::shared_ptr<Gate> ScriptedResource::block(Verb verb) {
  const std::lock_guard lock(mutex_);
  return gates_[verb] = std::make_shared<Gate>();
}

void ScriptedResource::set_down(bool down) {
  const std::lock_guard lock(mutex_);
  down_ = down;
}

void ScriptedResource::set_prepares_readers(bool prepares) {
  const std::lock_guard lock(mutex_);
  prepares_readers_ = prepares;
}

void ScriptedResource::set_identity(Identity identity) {
  const std::lock_guard lock(mutex_);
  identity_ = std::move(identity);
}

void ScriptedResource::set_capabilities(const Capabilities& capabilities) {
  const std::lock_guard lock(mutex_);
  capabilities_ = capabilities;
}

void ScriptedResource::set_sessions(std::size_t most) {
  sessions_ = std::make_unique<Pool<Session>>(
      Pool<Session>::Options{.max_sessions = most},
      []() -> Result<std::unique_ptr<Session>> { return std::make_unique<Session>(); }, [](Session&) { return true; });
}

void ScriptedResource::set_evidence(std::string evidence) {
  const std::lock_guard lock(mutex_);
  evidence_ = std::move(evidence);
}

void ScriptedResource::add_prepared(const Xid& xid) {
  const std::lock_guard lock(mutex_);
  prepared_.insert(xid);
}

void ScriptedResource::add_listed(PreparedBranch listed) {
  const std::lock_guard lock(mutex_);
  listed_only_.push_back(std::move(listed));
}

void ScriptedResource::lose(const Xid& xid) {
  const std::lock_guard lock(mutex_);
  prepared_.erase(xid);
}

void ScriptedResource::set_fate(const Xid& xid, Fate fate) {
  const std::lock_guard lock(mutex_);
  witness_[xid] = fate;
}

void ScriptedResource::keep_decision(const Xid& xid, std::string decision) {
  const std::lock_guard lock(mutex_);
  witness_[xid] = Fate::committed;
  decisions_[xid] = std::move(decision);
}

void ScriptedResource::set_carriers_linger(bool linger) {
  const std::lock_guard lock(mutex_);
  carriers_linger_ = linger;
}

void ScriptedResource::set_carrier(const Xid& xid, bool alive) {
  const std::lock_guard lock(mutex_);
  if (alive) {
    carriers_.insert(xid);
  } else {
    carriers_.erase(xid);
  }
}

std::vector<Call> ScriptedResource::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

std::size_t ScriptedResource::count(Verb verb) const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(std::ranges::count(calls_, verb, &Call::verb));
}

std::size_t ScriptedResource::count(Verb verb, const Xid& xid) const {
  const std::lock_guard lock(mutex_);
  return static_cast<std::size_t>(
      std::ranges::count_if(calls_, [&](const Call& call) { return call.verb == verb && call.xid == xid; }));
}

std::vector<std::string> ScriptedResource::transcript() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::string> lines;
  for (const Call& call : calls_) {
    if (call.verb == Verb::probe || call.verb == Verb::recover || call.verb == Verb::decisions ||
        call.verb == Verb::fate) {
      continue;
    }
    lines.push_back(std::string(to_string(call.verb)) + (call.xid.gtrid.empty() ? "" : ' ' + call.xid.text()));
  }
  return lines;
}

std::vector<Xid> ScriptedResource::prepared() const {
  const std::lock_guard lock(mutex_);
  return {prepared_.begin(), prepared_.end()};
}

std::optional<Fate> ScriptedResource::witness(const Xid& xid) const {
  const std::lock_guard lock(mutex_);
  const auto found = witness_.find(xid);
  return found == witness_.end() ? std::nullopt : std::optional(found->second);
}

std::size_t ScriptedResource::open_branches() const {
  const std::lock_guard lock(mutex_);
  return open_.size();
}

ScriptedResource::Answer ScriptedResource::called(Verb verb, const Xid& xid, const FinishOptions& options) {
  std::function<void(const Xid&)> hook;
  std::shared_ptr<Gate> gate;
  {
    const std::lock_guard lock(mutex_);
    calls_.push_back({verb, xid, options});
    if (const auto found = before_.find(verb); found != before_.end()) hook = found->second;
    if (const auto found = gates_.find(verb); found != gates_.end()) gate = found->second;
  }
  if (gate) gate->pass();
  if (hook) hook(xid);

  const std::lock_guard lock(mutex_);
  if (down_) return {Reply::unknown(Code::resource_failed, name_ + " is down"), false};
  auto& queue = script_[verb];
  if (queue.empty()) return {Reply::ok(), true};
  Answer answer = std::move(queue.front());
  queue.pop_front();
  return answer;
}

Result<Probe> ScriptedResource::probe() {
  const Answer answer = called(Verb::probe, {});
  if (!answer.reply.is_ok()) return answer.reply;
  const std::lock_guard lock(mutex_);
  return Probe{identity_, capabilities_, "Scripted"};
}

Result<std::unique_ptr<Branch>> ScriptedResource::start(const Xid& xid, const StartOptions& options) {
  const Answer answer = called(Verb::start, xid);
  if (!answer.reply.is_ok()) return answer.reply;
  Pool<Session>::Lease session;
  if (sessions_) {
    auto lease = sessions_->take(options.deadline, options.place);
    if (!lease) return lease.failure();
    session = std::move(lease).value();
  }
  const std::lock_guard lock(mutex_);
  if (prepared_.contains(xid) || !open_.insert(xid).second) return Reply::not_done(Code::duplicate, "duplicate xid");
  return std::unique_ptr<Branch>(
      std::make_unique<ScriptedBranch>(*this, xid, options.read_only, evidence_, std::move(session)));
}

std::optional<PlaceWait> ScriptedResource::await_place(const StartOptions& options, Placed then) {
  if (sessions_) return sessions_->await_place(options.deadline, std::move(then));
  return ResourceManager::await_place(options, std::move(then));
}

Reply ScriptedResource::finish(Verb verb, const Xid& xid, const FinishOptions& options, Fate fate) {
  const Answer answer = called(verb, xid, options);
  if (!answer.happens) return answer.reply;
  const std::lock_guard lock(mutex_);
  if (prepared_.erase(xid) == 0) return Reply::unknown(Code::not_found, "no such prepared branch");
  if (options.carrier_is_dead) carriers_.erase(xid);
  witness_[xid] = fate;
  return answer.reply;
}

Reply ScriptedResource::commit(const Xid& xid, const FinishOptions& options) {
  return finish(Verb::finish_commit, xid, options, Fate::committed);
}

Reply ScriptedResource::rollback(const Xid& xid, const FinishOptions& options) {
  return finish(Verb::finish_rollback, xid, options, Fate::rolled_back);
}

Result<std::vector<PreparedBranch>> ScriptedResource::recover() {
  const Answer answer = called(Verb::recover, {});
  if (!answer.reply.is_ok()) return answer.reply;
  const std::lock_guard lock(mutex_);
  std::vector<PreparedBranch> listed = listed_only_;
  for (const Xid& xid : prepared_) {
    PreparedBranch& each = listed.emplace_back();
    each.xid = xid;
    each.raw = xid.text();
  }
  return listed;
}

Result<Fate> ScriptedResource::fate(const Xid& xid, const std::string&) {
  const Answer answer = called(Verb::fate, xid);
  if (!answer.reply.is_ok()) return answer.reply;
  const std::lock_guard lock(mutex_);
  if (prepared_.contains(xid)) return Fate::in_progress;
  const auto found = witness_.find(xid);
  return found == witness_.end() ? Fate::unknown : found->second;
}

Result<Fate> ScriptedResource::settle(const Xid& xid) {
  const Answer answer = called(Verb::settle, xid);
  if (!answer.reply.is_ok()) return answer.reply;
  const std::lock_guard lock(mutex_);
  return witness_.try_emplace(xid, Fate::rolled_back).first->second;
}

Result<std::vector<KeptDecision>> ScriptedResource::decisions() {
  const Answer answer = called(Verb::decisions, {});
  if (!answer.reply.is_ok()) return answer.reply;
  const std::lock_guard lock(mutex_);
  std::vector<KeptDecision> kept;
  for (const auto& [xid, decision] : decisions_) kept.push_back({xid.undecided(), Fate::committed, decision});
  for (const auto& [xid, fate] : witness_) {
    if (fate == Fate::rolled_back) kept.push_back({xid.undecided(), Fate::rolled_back, {}});
  }
  return kept;
}

Result<bool> ScriptedResource::carrier_gone(const Xid& xid, const FinishOptions& options) {
  const Answer answer = called(Verb::carrier_gone, xid, options);
  if (!answer.reply.is_ok()) return answer.reply;
  const std::lock_guard lock(mutex_);
  if (options.carrier_is_dead && !carriers_linger_) carriers_.erase(xid);
  return !carriers_.contains(xid);
}

Reply ScriptedResource::forget(const std::vector<Xid>& finished) {
  for (const Xid& xid : finished) {
    const Answer answer = called(Verb::forget, xid);
    if (!answer.happens) return answer.reply;
    const std::lock_guard lock(mutex_);
    decisions_.erase(xid);
    if (witness_.erase(xid) != 0) continue;
    // Whoever decides: the row goes by the branch's other name.
    std::erase_if(witness_, [&](const auto& each) { return each.first.undecided() == xid.undecided(); });
    std::erase_if(decisions_, [&](const auto& each) { return each.first.undecided() == xid.undecided(); });
  }
  return Reply::ok();
}

Result<Impact> ScriptedResource::impact(const Xid&) {
  return Impact{};
}

}  // namespace assent
