#include "assent/tm/protocol/two_phase.h"

#include <cstdlib>
#include <utility>

namespace assent::two_phase {
namespace {

void require(bool condition) {
  // Going on after a bug of the driver could commit one branch and roll back another; a crash is recoverable.
  if (!condition) std::abort();
}

}  // namespace

std::string_view to_string(BranchState state) {
  switch (state) {
    case BranchState::active:
      return "active";
    case BranchState::preparing:
      return "preparing";
    case BranchState::prepared:
      return "prepared";
    case BranchState::committing:
      return "committing";
    case BranchState::committed:
      return "committed";
    case BranchState::read_only:
      return "read only";
    case BranchState::rolling_back:
      return "rolling back";
    case BranchState::rolled_back:
      return "rolled back";
    case BranchState::pending:
      return "pending";
    case BranchState::unconfirmed:
      return "rollback unconfirmed";
    case BranchState::settling:
      return "settling";
    case BranchState::in_doubt:
      return "in doubt";
    case BranchState::heuristic:
      return "heuristic";
  }
  return "unknown";
}

TwoPhaseCommit::TwoPhaseCommit(std::vector<BranchInfo> branches, std::optional<BranchIndex> last_resource)
    : branches_(std::move(branches)), last_resource_(last_resource) {
  require(!last_resource_ || !branches_.at(*last_resource_).read_only);
}

Effects TwoPhaseCommit::step(const Event& event, Effects spent) {
  require(phase_ != Phase::over);
  Effects out = std::move(spent);
  out.clear();
  std::visit([&](const auto& each) { on(each, out); }, event);
  return out;
}

std::size_t TwoPhaseCommit::count(BranchState state) const {
  std::size_t n = 0;
  for (const BranchInfo& branch : branches_) n += branch.state == state ? 1 : 0;
  return n;
}

void TwoPhaseCommit::on(const CommitRequested&, Effects& out) {
  require(phase_ == Phase::active);
  std::size_t writers = 0;
  BranchIndex writer = 0;
  for (BranchIndex i = 0; i < branches_.size(); ++i) {
    if (branches_[i].read_only) continue;
    ++writers;
    writer = i;
  }
  phase_ = Phase::preparing;
  if (branches_.empty()) return over(End::committed, out);
  if (writers == 1 && branches_.size() == 1) return one_phase(writer, out);
  out.reserve(branches_.size());
  for (BranchIndex i = 0; i < branches_.size(); ++i) {
    // A single writer waits for the readers' votes and then commits in one phase, without the log; the last resource
    // waits for all votes.
    if ((writers == 1 && i == writer) || i == last_resource_) continue;
    branches_[i].state = BranchState::preparing;
    out.push_back(Prepare{i});
  }
}

void TwoPhaseCommit::on(const RollbackRequested& event, Effects& out) {
  require(phase_ == Phase::active);
  abort(event.reason, Reply::ok(), out);
}

void TwoPhaseCommit::on(const DeadlinePassed&, Effects& out) {
  require(phase_ == Phase::active || phase_ == Phase::preparing);
  abort("the deadline passed before the decision", Reply::not_done(Code::rb_timeout, "deadline passed"), out);
}

void TwoPhaseCommit::on(const Voted& event, Effects& out) {
  require(phase_ == Phase::preparing || phase_ == Phase::rolling_back);
  BranchInfo& branch = branches_.at(event.branch);
  require(branch.state == BranchState::preparing);
  branch.last = event.reply;
  const Reply& reply = event.reply;
  if (reply.code == Code::ok && reply.certainty == Certainty::done) {
    branch.state = BranchState::prepared;
  } else if (reply.code == Code::read_only) {
    branch.state = BranchState::read_only;
  } else if (reply.certainty == Certainty::unknown) {
    // The prepare may have happened, or may happen yet: nothing this session says would prove the rollback.
    branch.state = BranchState::unconfirmed;
  } else if (is_rollback(reply.code)) {
    branch.state = BranchState::rolled_back;
  } else {
    branch.state = BranchState::active;
  }
  const bool voted_yes = branch.state == BranchState::prepared || branch.state == BranchState::read_only;
  if (phase_ == Phase::rolling_back) {
    roll_back_idle(out);
    return over_if_quiet(out);
  }
  if (!voted_yes) return abort("branch " + std::to_string(event.branch) + " voted no", reply, out);
  vote_complete(out);
}

void TwoPhaseCommit::vote_complete(Effects& out) {
  if (count(BranchState::preparing) > 0) return;
  for (BranchIndex i = 0; i < branches_.size(); ++i) {
    if (branches_[i].state != BranchState::active) continue;
    if (count(BranchState::prepared) == 0) return one_phase(i, out);
    if (i == last_resource_) {
      phase_ = Phase::deciding;
      branches_[i].state = BranchState::committing;
      // A crash from here until its commit leaves prepared branches without a decision: recovery bars the last
      // resource's branch, and then rolls them back.
      out.push_back(Decide{i});
      return;
    }
    // A reader that prepared all the same has to be finished like a writer, so the writer must be prepared too.
    branches_[i].state = BranchState::preparing;
    out.push_back(Prepare{i});
    return;
  }
  if (count(BranchState::prepared) == 0) return over(End::committed, out);
  phase_ = Phase::deciding;
  // A crash from here until the force is durable leaves prepared branches without a decision: presumed aborted.
  out.push_back(Force{});
}

void TwoPhaseCommit::on(const LogForced& event, Effects& out) {
  require(phase_ == Phase::deciding);
  switch (event.result) {
    case ForceResult::durable:
      return decided(out);
    case ForceResult::refused:
      return abort("the decision could not be written to the log",
                   Reply::not_done(Code::rb_other, "the log refused the decision"), out);
    case ForceResult::uncertain:
      return undecided("the decision may or may not be in the log; opening the log again tells", out);
  }
}

void TwoPhaseCommit::decided(Effects& out) {
  phase_ = Phase::committing;
  out.reserve(branches_.size());
  for (BranchIndex i = 0; i < branches_.size(); ++i) {
    if (branches_[i].state != BranchState::prepared) continue;
    branches_[i].state = BranchState::committing;
    out.push_back(Commit{i});
  }
}

void TwoPhaseCommit::undecided(std::string reason, Effects& out) {
  for (BranchInfo& branch : branches_) {
    if (branch.state == BranchState::prepared) branch.state = BranchState::in_doubt;
  }
  reason_ = std::move(reason);
  over(End::in_doubt, out);
}

void TwoPhaseCommit::on(const BranchReplied& event, Effects& out) {
  BranchInfo& branch = branches_.at(event.branch);
  const Reply& reply = event.reply;
  branch.last = reply;
  if (phase_ == Phase::one_phase) return one_phase_replied(event.branch, reply, out);
  if (phase_ == Phase::deciding) {
    require(event.branch == last_resource_);
    return last_resource_replied(reply, out);
  }
  const bool done = reply.code == Code::ok && reply.certainty == Certainty::done;
  if (branch.state == BranchState::committing) {
    if (done || reply.code == Code::heuristic_commit) {
      branch.state = BranchState::committed;
    } else if (is_heuristic(reply.code) || is_rollback(reply.code)) {
      branch.state = BranchState::heuristic;
      reason_ = "a resource broke ranks after the decision to commit";
      cause_ = reply;
    } else {
      // Also not_found: it is no proof of either; recovery asks the witness.
      branch.state = BranchState::pending;
    }
  } else {
    require(branch.state == BranchState::rolling_back);
    if (done || is_rollback(reply.code) || reply.code == Code::heuristic_rollback) {
      branch.state = BranchState::rolled_back;
    } else if (is_heuristic(reply.code)) {
      branch.state = BranchState::heuristic;
      reason_ = "a resource broke ranks: it committed on its own account";
      cause_ = reply;
    } else {
      branch.state = BranchState::unconfirmed;
    }
  }
  over_if_quiet(out);
}

void TwoPhaseCommit::one_phase(BranchIndex branch, Effects& out) {
  phase_ = Phase::one_phase;
  one_phase_ = true;
  branches_[branch].state = BranchState::committing;
  out.push_back(CommitOnePhase{branch});
}

void TwoPhaseCommit::one_phase_replied(BranchIndex index, const Reply& reply, Effects& out) {
  BranchInfo& branch = branches_[index];
  require(branch.state == BranchState::committing);
  if (reply.certainty == Certainty::unknown) {
    branch.state = BranchState::settling;
    out.push_back(Settle{index});
    return;
  }
  if (reply.certainty == Certainty::done && (reply.code == Code::ok || reply.code == Code::heuristic_commit)) {
    branch.state = BranchState::committed;
    return over(End::committed, out);
  }
  if (reply.code == Code::read_only) {
    branch.state = BranchState::read_only;
    return over(End::committed, out);
  }
  if (is_heuristic(reply.code) && reply.code != Code::heuristic_rollback) {
    branch.state = BranchState::heuristic;
    cause_ = reply;
    reason_ = "the only resource broke ranks";
    return over(End::heuristic, out);
  }
  branch.state = is_rollback(reply.code) ? BranchState::rolled_back : BranchState::active;
  abort("the only branch did not commit", reply, out);
}

void TwoPhaseCommit::last_resource_replied(const Reply& reply, Effects& out) {
  BranchInfo& branch = branches_[*last_resource_];
  require(branch.state == BranchState::committing);
  if (reply.is_ok() && reply.certainty == Certainty::done) {
    branch.state = BranchState::committed;
    return decided(out);
  }
  if (reply.certainty == Certainty::not_done) {
    branch.state = is_rollback(reply.code) ? BranchState::rolled_back : BranchState::active;
    return abort("the last resource did not commit", reply, out);
  }
  // Lost, or a word of its own: its row tells.
  branch.state = BranchState::settling;
  out.push_back(Settle{*last_resource_});
}

void TwoPhaseCommit::on(const Settled& event, Effects& out) {
  require(phase_ == Phase::one_phase || phase_ == Phase::deciding);
  BranchInfo& branch = branches_.at(event.branch);
  require(branch.state == BranchState::settling);
  if (phase_ == Phase::deciding) {
    if (event.fate == Fate::committed) {
      branch.state = BranchState::committed;
      return decided(out);
    }
    if (event.fate == Fate::rolled_back) {
      branch.state = BranchState::rolled_back;
      return abort("the last resource's answer was lost, and its row says that it did not commit", branch.last, out);
    }
    branch.state = BranchState::in_doubt;
    cause_ = branch.last;
    return undecided("the last resource's answer was lost, and it cannot yet say whether it committed", out);
  }
  if (event.fate == Fate::committed) {
    branch.state = BranchState::committed;
    return over(End::committed, out);
  }
  cause_ = branch.last;
  if (event.fate == Fate::rolled_back) {
    branch.state = BranchState::rolled_back;
    reason_ = "the reply to the one-phase commit was lost, and the witness says it did not happen";
    return over(End::rolled_back, out);
  }
  branch.state = BranchState::in_doubt;
  reason_ = "the reply to the one-phase commit was lost, and the resource cannot yet say what became of it";
  over(End::in_doubt, out);
}

void TwoPhaseCommit::abort(std::string reason, Reply cause, Effects& out) {
  phase_ = Phase::rolling_back;
  reason_ = std::move(reason);
  cause_ = std::move(cause);
  roll_back_idle(out);
  over_if_quiet(out);
}

void TwoPhaseCommit::roll_back_idle(Effects& out) {
  for (BranchIndex i = 0; i < branches_.size(); ++i) {
    BranchInfo& branch = branches_[i];
    if (branch.state != BranchState::active && branch.state != BranchState::prepared) continue;
    branch.state = BranchState::rolling_back;
    out.push_back(Rollback{i});
  }
}

void TwoPhaseCommit::over_if_quiet(Effects& out) {
  bool heuristic = false;
  for (const BranchInfo& branch : branches_) {
    const BranchState is = branch.state;
    if (is == BranchState::preparing || is == BranchState::committing || is == BranchState::rolling_back) return;
    heuristic = heuristic || is == BranchState::heuristic;
  }
  if (heuristic) return over(End::heuristic, out);
  over(phase_ == Phase::committing ? End::committed : End::rolled_back, out);
}

void TwoPhaseCommit::over(End end, Effects& out) {
  phase_ = Phase::over;
  end_ = end;
  out.push_back(Over{});
}

}  // namespace assent::two_phase
