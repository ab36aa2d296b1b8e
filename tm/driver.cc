#include "assent/tm/driver.h"

#include "assent/tm/transaction_state.h"
#include "assent/xa/planted_defect.h"

#include <optional>
#include <utility>
#include <variant>

namespace assent::detail {
namespace {

using namespace two_phase;

std::vector<BranchInfo> declared(const TransactionState& state) {
  std::vector<BranchInfo> branches;
  branches.reserve(state.branches.size());
  for (const Enlisted& each : state.branches) branches.emplace_back(each.read_only);
  return branches;
}

std::optional<BranchIndex> last_resource(const TransactionState& state) {
  if (state.last_resource == nullptr) return std::nullopt;
  for (BranchIndex i = 0; i < state.branches.size(); ++i) {
    if (state.branches[i].resource == state.last_resource) return i;
  }
  return std::nullopt;
}

/// Of every effect but Force and Over.
BranchIndex branch_of(const Effect& effect) {
  return std::visit(
      [](const auto& each) -> BranchIndex {
        if constexpr (requires { each.branch; }) return each.branch;
        return 0;
      },
      effect);
}

}  // namespace

std::shared_ptr<Driver> Driver::self() {
  return {state_.shared_from_this(), this};
}

Driver::Driver(Engine& engine, TransactionState& state)
    : engine_(engine), state_(state), machine_(declared(state), last_resource(state)) {}

Effects Driver::begin_with(bool commit) {
  if (!commit || state_.rollback_only) {
    return machine_.step(
        RollbackRequested{state_.rollback_only ? state_.rollback_reason : "the application rolled back"});
  }
  if (deadline_passed()) return machine_.step(DeadlinePassed{});
  return machine_.step(CommitRequested{});
}

bool Driver::run(bool commit, bool may_stop) {
  effects_ = begin_with(commit);
  execute(effects_);
  while (!over_) {
    if (!has_own()) await_events();
    step();
    if (may_stop && decided_) return false;
    execute(effects_);
  }
  return true;
}

void Driver::finish_behind() {
  may_stop_ = true;
  by_events_ = true;
  stepping_ = true;
  execute(effects_);
  go_on();
}

void Driver::run_by_events(bool commit, bool may_stop, std::function<void(Outcome)> then) {
  may_stop_ = may_stop;
  answer_ = std::move(then);
  by_events_ = true;
  stepping_ = true;
  effects_ = begin_with(commit);
  execute(effects_);
  go_on();
}

void Driver::answer(Outcome outcome) {
  if (const auto answer = std::exchange(answer_, nullptr)) answer(std::move(outcome));
}

bool Driver::deadline_passed() const {
  return state_.deadline.has_value() && steady_now() >= *state_.deadline;
}

void Driver::execute(const Effects& effects) {
  if (effects.empty()) return;
  Share mine;
  boost::container::small_vector<Effect, 2> at_once;
  for (const Effect& effect : effects) {
    if (std::holds_alternative<Over>(effect)) {
      over_ = true;
      continue;
    }
    switch (manner_of(effect)) {
      case Manner::at_once:
        at_once.push_back(effect);
        break;
      case Manner::ahead:
        mine.ahead.push_back(effect);
        break;
      case Manner::by_event:
        force_by_event();
        break;
      case Manner::blocking:
        if (!mine.blocking) {
          mine.blocking = effect;
          break;
        }
        pool_for(effect).post([self = self(), effect] { self->post(self->perform(effect)); });
    }
  }
  const bool nothing_blocks = mine.ahead.empty() && !mine.blocking;
  if (by_events_ && !nothing_blocks) {
    WorkerPool& pool = pool_for(mine.blocking ? *mine.blocking : mine.ahead.front());
    pool.post([self = self(), share = std::move(mine)] {
      self->begin(share);
      self->finish(share, [&](Event event) { self->post(std::move(event)); });
    });
    mine = {};
  }
  begin(mine);
  for (const Effect& effect : at_once) note(perform(effect));
  finish(mine, [this](Event event) { note(std::move(event)); });
}

void Driver::begin(const Share& share) {
  for (const Effect& each : share.ahead) begin(each);
}

template <class Tell>
void Driver::finish(const Share& share, const Tell& tell_event) {
  if (share.blocking) tell_event(perform(*share.blocking));
  for (const Effect& each : share.ahead) tell_event(finish(each));
}

/// Phase two never queues behind phase one: a prepare may wait for what another transaction's commit sets free.
WorkerPool& Driver::pool_for(const Effect& effect) const {
  const bool waits_for_none = std::holds_alternative<Commit>(effect) || std::holds_alternative<Rollback>(effect);
  return waits_for_none ? engine_.finisher() : engine_.executor();
}

Driver::Manner Driver::manner_of(const Effect& effect) const {
  if (std::holds_alternative<Force>(effect)) return by_events_ ? Manner::by_event : Manner::blocking;
  const Capabilities& can = *state_.branches[branch_of(effect)].resource->admitted;
  if (can.answers_at_once) return Manner::at_once;
  const bool can_wait = std::holds_alternative<Prepare>(effect) || std::holds_alternative<Commit>(effect);
  return can.sends_ahead && can_wait ? Manner::ahead : Manner::blocking;
}

Event Driver::perform(const Effect& effect) {
  begin(effect);
  return finish(effect);
}

void Driver::begin(const Effect& effect) {
  tell(effect, false);
  if (std::holds_alternative<Prepare>(effect)) {
    Enlisted& enlisted = state_.branches[branch_of(effect)];
    Reply ended = enlisted.branch->end();
    if (ended.is_ok()) {
      enlisted.branch->send_ahead(Branch::Verb::prepare);
    } else {
      enlisted.not_ended = std::make_unique<Reply>(std::move(ended));
    }
  } else if (std::holds_alternative<Commit>(effect)) {
    state_.branches[branch_of(effect)].branch->send_ahead(Branch::Verb::commit);
  }
}

Event Driver::finish(const Effect& effect) {
  Event event = answer_to(effect);
  tell(effect, true);
  return event;
}

Event Driver::answer_to(const Effect& effect) {
  if (std::holds_alternative<Force>(effect)) return LogForced{force()};
  const BranchIndex index = branch_of(effect);
  Enlisted& enlisted = state_.branches[index];
  if (std::holds_alternative<Prepare>(effect)) {
    if (enlisted.not_ended) return Voted{index, std::move(*enlisted.not_ended)};
    Reply reply = enlisted.branch->prepare();
    if (reply.is_ok()) enlisted.evidence = enlisted.branch->evidence();
    return Voted{index, std::move(reply)};
  }
  if (std::holds_alternative<Commit>(effect)) return BranchReplied{index, enlisted.branch->commit()};
  if (std::holds_alternative<Rollback>(effect)) return BranchReplied{index, enlisted.branch->rollback()};
  if (std::holds_alternative<CommitOnePhase>(effect)) {
    Reply reply = enlisted.branch->end();
    return BranchReplied{index, reply.is_ok() ? enlisted.branch->commit_one_phase() : std::move(reply)};
  }
  if (std::holds_alternative<Decide>(effect)) {
    Reply reply = enlisted.branch->end();
    // If we crash while it commits, recovery asks its row.
    if (reply.is_ok()) reply = enlisted.branch->commit_deciding(to_bytes(decision()));
    if (reply.is_ok() && reply.certainty == Certainty::done) note_decided();
    return BranchReplied{index, std::move(reply)};
  }
  const Xid xid = enlisted.branch->xid();
  // The session is of no more use, and while it lives it may hold what the witness waits for.
  enlisted.branch.reset();
  const Result<Fate> fate = enlisted.resource->manager->settle(xid);
  if (fate && *fate == Fate::committed && !machine_.is_one_phase()) note_decided();
  return Settled{index, fate ? *fate : Fate::unknown};
}

void Driver::tell(const Effect& effect, bool done) {
  if (!engine_.is_observed()) return;
  static constexpr std::string_view verbs[] = {"prepare",  "commit one phase", "force", "commit",
                                               "rollback", "settle",           "decide"};
  const std::string_view resource = std::holds_alternative<Force>(effect)
                                        ? std::string_view()
                                        : state_.branches[branch_of(effect)].resource->manager->name();
  engine_.observer().step({state_.id, verbs[effect.index()], resource, done});
}

ForceResult Driver::force() {
  return nobody_decides() ? ForceResult::refused : forced(engine_.log().force(decision()));
}

void Driver::force_by_event() {
  if (nobody_decides()) return note(LogForced{ForceResult::refused});
  tell(Force{}, false);
  engine_.log().force_then(
      decision(),
      [self = self()](Forced result) {
        const Event event = LogForced{self->forced(result)};
        self->tell(Force{}, true);
        self->post(event);
      },
      [&engine = engine_](std::function<void()> writer) { engine.async_threads().writer.post(std::move(writer)); });
}

/// Readers that prepared beside the only writer, and a last resource that took no part.
bool Driver::nobody_decides() const {
  return state_.last_resource != nullptr;
}

Decision Driver::decision() const {
  Decision decision;
  decision.id = state_.id;
  decision.label = state_.label;
  decision.decided_at_ms = unix_now_ms();
  decision.branches.reserve(state_.branches.size());
  for (BranchIndex i = 0; i < state_.branches.size(); ++i) {
    if (machine_.branches()[i].state != BranchState::prepared) continue;
    decision.branches.push_back({state_.branches[i].resource->manager->name(), state_.branches[i].evidence});
  }
  return decision;
}

void Driver::note_decided() {
  decided_ = true;
  engine_.observer().decided(state_.id);
}

ForceResult Driver::forced(Forced forced) {
  switch (forced) {
    case Forced::durable:
      note_decided();
      return ForceResult::durable;
    case Forced::refused:
      engine_.observer().log_stalled(engine_.log().poisoned().value_or("the log refused a decision"));
      return ForceResult::refused;
    case Forced::uncertain:
      if (planted(Defect::failed_force_is_abort)) return ForceResult::refused;
      engine_.observer().log_stalled(engine_.log().poisoned().value_or("a force was cut off"));
      return ForceResult::uncertain;
  }
  return ForceResult::uncertain;
}

/// Not while the decision is forced, nor after: then the deadline has ended.
void Driver::give_up_if_late() {
  if (machine_.can_time_out() && deadline_passed()) execute(machine_.step(DeadlinePassed{}));
}

void Driver::step() {
  give_up_if_late();
  effects_ = machine_.step(own_[next_++], std::move(effects_));
  if (!has_own()) {
    own_.clear();
    next_ = 0;
  }
}

void Driver::await_events() {
  std::unique_lock lock(mutex_);
  arrived_.wait(lock, [this] { return !inbox_.empty(); });
  take_inbox();
}

/// mutex_ is held.
void Driver::take_inbox() {
  for (Event& event : std::exchange(inbox_, {})) note(std::move(event));
}

void Driver::post(Event event) {
  {
    const std::lock_guard lock(mutex_);
    inbox_.push_back(std::move(event));
    if (!by_events_) {
      arrived_.notify_one();
      return;
    }
    if (std::exchange(stepping_, true)) return;
  }
  go_on();
}

void Driver::go_on() noexcept {
  while (!over_) {
    if (!has_own()) {
      const std::lock_guard lock(mutex_);
      if (inbox_.empty()) {
        stepping_ = false;
        return;
      }
      take_inbox();
    }
    step();
    if (may_stop_ && decided_ && answer_) engine_.decided_behind(*this);
    execute(effects_);
  }
  engine_.finished_behind(*this);
}

}  // namespace assent::detail
