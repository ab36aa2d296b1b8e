#pragma once

#include <boost/container/small_vector.hpp>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "assent/tm/engine.h"
#include "assent/tm/outcome.h"
#include "assent/tm/protocol/two_phase.h"
#include "assent/xa/machine.h"

namespace assent::detail {

/// Executes the effects of one transaction's state machine, so that a phase costs the slowest branch, not the sum, with
/// as few hand-overs between threads as it can: what can be sent ahead is sent first and its answer taken last; of the
/// verbs that block, the first is the caller's own and the others go to the executor; what answers at once needs
/// neither.
///
/// The machine is stepped by one thread at a time: by the caller's in run(), and after finish_behind() or
/// run_by_events() by whichever thread brings an event while none does, so that no thread waits; then every verb that
/// blocks goes to a pool of the engine's.
class Driver {
 public:
  Driver(Engine& engine, TransactionState& state);

  /// From commit or rollback to the end, when no verb is under way any more; the caller's thread blocks. False when it
  /// stopped at the durable decision, which it does only where it may: then nothing of phase two has begun.
  bool run(bool commit, bool may_stop);
  /// Goes on from there by events, and tells the engine at the end: Engine::finished_behind().
  void finish_behind();
  /// run() to the end without a thread that waits, then Engine::finished_behind(). Where it `may_stop` it does not, but
  /// says so: Engine::decided_behind().
  void run_by_events(bool commit, bool may_stop, std::function<void(Outcome)> then);
  /// Whoever waits for run_by_events() is told; once.
  void answer(Outcome outcome);
  /// A place among those behind is held for it (Engine::may_go_behind).
  bool has_place_behind() const { return may_stop_; }

  TransactionState& state() { return state_; }
  const two_phase::TwoPhaseCommit& machine() const { return machine_; }
  bool decided() const { return decided_; }

 private:
  /// For who goes on with it, perhaps when the Transaction is gone.
  std::shared_ptr<Driver> self();
  two_phase::Effects begin_with(bool commit);
  void execute(const two_phase::Effects& effects);
  enum class Manner { at_once, ahead, blocking, by_event };
  Manner manner_of(const two_phase::Effect& effect) const;
  /// What one thread executes, in one go.
  struct Share {
    two_phase::Effects ahead;
    std::optional<two_phase::Effect> blocking;
  };
  void begin(const Share& share);
  template <class Tell>
  void finish(const Share& share, const Tell& tell_event);
  WorkerPool& pool_for(const two_phase::Effect& effect) const;
  /// Executes one effect, and tells the observer before and after: in two halves, so that the second can wait.
  two_phase::Event perform(const two_phase::Effect& effect);
  void begin(const two_phase::Effect& effect);
  two_phase::Event finish(const two_phase::Effect& effect);
  two_phase::Event answer_to(const two_phase::Effect& effect);
  void tell(const two_phase::Effect& effect, bool done);
  /// Of the thread that steps the machine, and of any other.
  void note(two_phase::Event event) { own_.push_back(std::move(event)); }
  void post(two_phase::Event event);
  bool has_own() const { return next_ < own_.size(); }
  void await_events();
  void take_inbox();
  void step();
  void give_up_if_late();
  void go_on() noexcept;
  Decision decision() const;
  void note_decided();
  bool nobody_decides() const;
  two_phase::ForceResult force();
  void force_by_event();
  two_phase::ForceResult forced(Forced forced);
  bool deadline_passed() const;

  Engine& engine_;
  TransactionState& state_;  ///< which owns it
  two_phase::TwoPhaseCommit machine_;
  boost::container::small_vector<two_phase::Event, 2> own_;  ///< of the stepping thread, oldest first, from next_ on
  std::size_t next_ = 0;
  two_phase::Effects effects_;  ///< of the last step: to be executed, or, where run() stopped, not yet
  bool decided_ = false;
  bool over_ = false;
  bool may_stop_ = false;                ///< of what goes by events, as what follows
  std::function<void(Outcome)> answer_;  ///< until it is called
  Mutex mutex_;                          ///< of what follows
  Condition arrived_;
  std::vector<two_phase::Event> inbox_;  ///< oldest first; never more than one for each branch
  bool by_events_ = false;
  bool stepping_ = false;  ///< a thread is in go_on()
};

}  // namespace assent::detail
