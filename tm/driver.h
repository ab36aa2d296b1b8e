#pragma once

#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "assent/tm/engine.h"
#include "assent/tm/protocol/two_phase.h"
#include "assent/xa/machine.h"

namespace assent::detail {

/// Executes the effects of one transaction's state machine: the first branch's verbs in the caller's thread, the others
/// on the executor, so that a phase costs the slowest branch, not the sum. A resource that answers at once costs no
/// hand-over.
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
  bool answers_at_once(const two_phase::Effect& effect) const;
  /// Executes one effect, and tells the observer before and after.
  two_phase::Event perform(const two_phase::Effect& effect);
  template <class Verb>
  auto observed(std::string_view verb, std::string_view resource, Verb&& execute);
  two_phase::Event next();
  void post(two_phase::Event event);
  two_phase::ForceResult force();
  bool deadline_passed() const;

  Engine& engine_;
  TransactionState& state_;
  two_phase::TwoPhaseCommit machine_;
  std::vector<std::string> evidence_;
  bool decided_ = false;
  bool over_ = false;
  Mutex mutex_;
  Condition arrived_;
  std::deque<two_phase::Event> inbox_;
};

}  // namespace assent::detail
