#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "assent/xa/reply.h"
#include "assent/xa/resource_manager.h"

namespace assent::two_phase {

/// Two-phase commit with presumed abort, as a pure state machine: events in, effects out. No I/O, no clock, no thread.
///
///                         all voted, a branch to commit                 durable
///   active ──commit──▶ preparing ─────────────────────────▶ deciding ────────────▶ committing ──▶ over
///     │                    │  a vote is no, or the deadline     │ │ refused             (committed, heuristic)
///     │ rollback           ▼                                    │ ▼
///     └──────────────▶ rolling_back ◀───────────────────────────┼─┘
///     │                    └───────────────────▶ over           └─uncertain─▶ over
///     │ one branch to commit                  (rolled_back)                 (in_doubt)
///     └──▶ one_phase ──▶ [settling] ──▶ over (committed, rolled_back, in_doubt)
///
/// With a last resource, its branch is not prepared: where the others force the decision to the log, it commits in one
/// phase with the decision in its own transaction, and is settled when its answer is lost.
///
/// Invariants:
/// 1. `commit` is emitted only after log_forced{durable} came in, or the last resource's branch is committed.
/// 2. `rollback` is never emitted after `force` unless log_forced{refused} came in, nor after `decide` unless the last
///    resource's branch is known not to be committed.
/// 3. `force` or `decide` is emitted at most once, and never both, only when every vote is ok or read_only and at least
///    one is ok.
/// 4. Each branch has at most one verb under way.
/// 5. `over` is emitted once, last, and only when no verb is under way.
///
/// Sources: Mohan, Lindsay, Obermarck, "Transaction Management in the R* Distributed Database Management System"
/// (1986), section 3 (presumed abort); The XA Specification (C193), section 2.3.

using BranchIndex = std::size_t;

enum class ForceResult { durable, refused, uncertain };

// Events.
struct CommitRequested {};
struct RollbackRequested {
  std::string reason;
};
/// Takes effect only before the decision is being forced.
struct DeadlinePassed {};
struct Voted {
  BranchIndex branch;
  Reply reply;
};
struct LogForced {
  ForceResult result;
};
/// The answer to commit, rollback, commit_one_phase or commit_deciding of this branch.
struct BranchReplied {
  BranchIndex branch;
  Reply reply;
};
struct Settled {
  BranchIndex branch;
  Fate fate;
};
using Event =
    std::variant<CommitRequested, RollbackRequested, DeadlinePassed, Voted, LogForced, BranchReplied, Settled>;

// Effects.
struct Prepare {
  BranchIndex branch;
};
struct CommitOnePhase {
  BranchIndex branch;
};
/// Write the decision, with all branches that voted ok, durably.
struct Force {};
struct Commit {
  BranchIndex branch;
};
struct Rollback {
  BranchIndex branch;
};
/// Commit the last resource's branch with the decision in it, which has all branches that voted ok.
struct Decide {
  BranchIndex branch;
};
/// Make the fate of a one-phase commit, or of a decision, definite whose reply was lost.
struct Settle {
  BranchIndex branch;
};
struct Over {};
using Effect = std::variant<Prepare, CommitOnePhase, Force, Commit, Rollback, Settle, Decide, Over>;
using Effects = std::vector<Effect>;

/// What is known of one branch.
enum class BranchState {
  active,
  preparing,
  prepared,
  committing,
  committed,
  read_only,  ///< over, nothing to commit
  rolling_back,
  rolled_back,
  pending,      ///< decided, not yet done: recovery goes on
  unconfirmed,  ///< to be rolled back, not known to be: recovery goes on
  settling,
  in_doubt,
  heuristic,  ///< went the other way on its own account
};

std::string_view to_string(BranchState state);

enum class End { undecided, committed, rolled_back, in_doubt, heuristic };

struct BranchInfo {
  BranchInfo(bool declared_read_only) : read_only(declared_read_only) {}  // NOLINT(google-explicit-constructor)

  bool read_only;
  BranchState state = BranchState::active;
  Reply last;
};

class TwoPhaseCommit {
 public:
  /// Branches as they are declared. `last_resource`: the one that decides, a writer; without one, the log does.
  explicit TwoPhaseCommit(std::vector<BranchInfo> branches, std::optional<BranchIndex> last_resource = std::nullopt);

  /// An event that does not fit the state is a bug of the driver and ends the program (assert stays on). `spent`, whose
  /// effects are executed, lends its memory.
  Effects step(const Event& event, Effects spent = {});

  /// True while DeadlinePassed is allowed: before the decision is being forced, or the only branch is committing.
  bool can_time_out() const { return phase_ == Phase::active || phase_ == Phase::preparing; }
  /// True once a single branch commits without the log.
  bool is_one_phase() const { return one_phase_; }

  End end() const { return end_; }
  const std::vector<BranchInfo>& branches() const { return branches_; }
  /// Why it was rolled back or is in doubt, in one sentence; empty when committed.
  const std::string& reason() const { return reason_; }
  /// The reply that made it so; ok when there is none.
  const Reply& cause() const { return cause_; }

 private:
  enum class Phase { active, preparing, one_phase, deciding, committing, rolling_back, over };

  void on(const CommitRequested&, Effects& out);
  void on(const RollbackRequested& event, Effects& out);
  void on(const DeadlinePassed&, Effects& out);
  void on(const Voted& event, Effects& out);
  void on(const LogForced& event, Effects& out);
  void on(const BranchReplied& event, Effects& out);
  void on(const Settled& event, Effects& out);

  void vote_complete(Effects& out);
  void abort(std::string reason, Reply cause, Effects& out);
  void roll_back_idle(Effects& out);
  void one_phase(BranchIndex branch, Effects& out);
  void one_phase_replied(BranchIndex branch, const Reply& reply, Effects& out);
  void decided(Effects& out);
  void last_resource_replied(const Reply& reply, Effects& out);
  void undecided(std::string reason, Effects& out);
  void over_if_quiet(Effects& out);
  void over(End end, Effects& out);
  std::size_t count(BranchState state) const;

  std::vector<BranchInfo> branches_;
  const std::optional<BranchIndex> last_resource_;
  Phase phase_ = Phase::active;
  bool one_phase_ = false;
  End end_ = End::undecided;
  std::string reason_;
  Reply cause_;
};

}  // namespace assent::two_phase
