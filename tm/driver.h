#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "assent/tm/engine.h"
#include "assent/tm/protocol/two_phase.h"
#include "assent/xa/machine.h"

namespace assent::detail {

/// Executes the effects of one transaction's state machine, so that a phase costs the slowest branch, not the sum, with
/// as few hand-overs between threads as it can: what can be sent ahead is sent first and its answer taken last; of the
/// verbs that block, the first is the caller's own and the others go to the executor; what answers at once needs
/// neither.
class Driver {
 public:
  Driver(Engine& engine, TransactionState& state);

  /// From commit or rollback to the end. The caller's thread blocks until no verb is under way.
  void run(bool commit);

  const two_phase::TwoPhaseCommit& machine() const { return machine_; }
  bool decided() const { return decided_; }
  /// Branch::evidence() of every branch, in their order; complete once the votes are in.
  const std::vector<std::string>& evidence() const { return evidence_; }

 private:
  void execute(const two_phase::Effects& effects);
  enum class Manner { at_once, ahead, blocking };
  Manner manner_of(const two_phase::Effect& effect) const;
  /// Executes one effect, and tells the observer before and after: in two halves, so that the second can wait.
  two_phase::Event perform(const two_phase::Effect& effect);
  void begin(const two_phase::Effect& effect);
  two_phase::Event finish(const two_phase::Effect& effect);
  two_phase::Event answer_to(const two_phase::Effect& effect);
  void tell(const two_phase::Effect& effect, bool done);
  two_phase::Event next();
  void post(two_phase::Event event);
  two_phase::ForceResult force();
  bool deadline_passed() const;

  Engine& engine_;
  TransactionState& state_;
  two_phase::TwoPhaseCommit machine_;
  std::vector<std::string> evidence_;
  std::vector<Reply> ended_;  ///< what end() answered
  bool decided_ = false;
  bool over_ = false;
  Mutex mutex_;
  Condition arrived_;
  std::deque<two_phase::Event> inbox_;
};

}  // namespace assent::detail
