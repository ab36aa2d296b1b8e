#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "assent/recovery/log_view.h"
#include "assent/recovery/recovery_report.h"
#include "assent/tools/assent/exit_code.h"
#include "assent/tools/assent/setup.h"
#include "assent/xa/error.h"

namespace assent::tool {

/// One log slot as seen from outside.
struct SlotSurvey {
  SlotState state;
  std::unique_ptr<LogView> log;  ///< nothing where there is none yet, or it cannot be read
  std::optional<Error> fault;    ///< why it cannot be read
};

/// What a branch asks of the operator.
enum class Standing {
  over,      ///< settled; only its log does not know yet
  in_doubt,  ///< `assent resolve` settles it, now or once its database is back
  needs_person,
  live,           ///< a live process settles it, and has not had it for long
  live_and_late,  ///< a live process should have settled it by now
  another_node,   ///< its decider is a log that is not on this node
  foreign,        ///< another transaction manager's
};
std::string_view to_string(Standing standing);
Standing standing_of(const BranchReport& branch);

/// Everything that is known, gathered without changing or locking anything.
struct Survey {
  std::vector<SlotSurvey> slots;
  RecoveryReport report;

  const SlotSurvey* slot_of(LogId log) const;
  /// Transactions with a branch that somebody may ask about, or a decision that is not finished.
  std::set<TransactionId> transactions() const;
  std::vector<const BranchReport*> branches_of(const TransactionId& id) const;
  std::optional<Decision> decision(const TransactionId& id) const;
  /// What asks for the operator's attention.
  Exit exit() const;
};

/// What one report says; slots apart.
Exit exit_of(const RecoveryReport& report);

/// Logs of live processes are read too, to tell what their branches are; nobody is disturbed.
Survey take_survey(const Setup& setup);

}  // namespace assent::tool
