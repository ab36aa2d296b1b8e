// What each reply makes of a branch: one row a reply, in each of the places where one can come in.
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <utility>
#include <vector>

#include "assent/tm/protocol/two_phase.h"

namespace assent::two_phase {
namespace {

Reply done(Code code) {
  return {code, Certainty::done, "said"};
}
Reply not_done(Code code) {
  return Reply::not_done(code, "said");
}
Reply lost(Code code) {
  return Reply::unknown(code, "said");
}

TwoPhaseCommit after(const std::vector<BranchInfo>& read_only, const std::vector<Event>& events) {
  TwoPhaseCommit machine(read_only);
  for (const Event& event : events) machine.step(event);
  return machine;
}

TwoPhaseCommit deciding() {
  return after({false, false}, {CommitRequested{}, Voted{0, Reply::ok()}, Voted{1, Reply::ok()}});
}

TEST(TwoPhaseReply, to_a_prepare_says_what_becomes_of_the_branch) {
  const std::vector<std::pair<Reply, BranchState>> rows = {
      {done(Code::ok), BranchState::rolling_back},  // prepared, and rolled back because the other one votes no
      {lost(Code::ok), BranchState::unconfirmed},
      {done(Code::read_only), BranchState::read_only},
      {lost(Code::resource_failed), BranchState::unconfirmed},
      {lost(Code::rb_deadlock), BranchState::unconfirmed},
      {not_done(Code::rb_deadlock), BranchState::rolled_back},
      {not_done(Code::resource_error), BranchState::rolling_back},
      {not_done(Code::ok), BranchState::rolling_back},
  };
  for (const auto& [reply, state] : rows) {
    TwoPhaseCommit machine = after({false, false}, {CommitRequested{}, Voted{0, reply}});
    if (machine.branches()[1].state == BranchState::preparing) machine.step(Voted{1, not_done(Code::rb_other)});
    EXPECT_EQ(machine.branches()[0].state, state) << describe(reply);
    EXPECT_EQ(machine.branches()[0].last.code, reply.code);
    EXPECT_EQ(machine.branches()[1].state, BranchState::rolled_back);
    EXPECT_EQ(machine.branches()[1].read_only, false);
  }
}

TEST(TwoPhaseReply, to_a_commit_after_the_decision_says_what_becomes_of_the_branch) {
  const std::vector<std::pair<Reply, BranchState>> rows = {
      {done(Code::ok), BranchState::committed},
      {lost(Code::ok), BranchState::pending},
      {done(Code::heuristic_commit), BranchState::committed},
      {done(Code::heuristic_rollback), BranchState::heuristic},
      {done(Code::heuristic_mixed), BranchState::heuristic},
      {done(Code::heuristic_hazard), BranchState::heuristic},
      {not_done(Code::rb_rollback), BranchState::heuristic},
      {lost(Code::not_found), BranchState::pending},
      {not_done(Code::retry), BranchState::pending},
  };
  for (const auto& [reply, state] : rows) {
    TwoPhaseCommit machine = deciding();
    machine.step(LogForced{ForceResult::durable});
    machine.step(BranchReplied{0, reply});
    EXPECT_EQ(machine.end(), End::undecided) << "before the second branch replied";
    machine.step(BranchReplied{1, Reply::ok()});
    const bool heuristic = state == BranchState::heuristic;
    EXPECT_EQ(machine.branches()[0].state, state) << describe(reply);
    EXPECT_EQ(machine.end(), heuristic ? End::heuristic : End::committed) << describe(reply);
    EXPECT_EQ(machine.cause().code, heuristic ? reply.code : Code::ok);
    EXPECT_EQ(machine.reason(), heuristic ? "a resource broke ranks after the decision to commit" : "");
    EXPECT_FALSE(machine.is_one_phase());
  }
}

TEST(TwoPhaseReply, to_a_rollback_says_what_becomes_of_the_branch) {
  const std::vector<std::pair<Reply, BranchState>> rows = {
      {done(Code::ok), BranchState::rolled_back},
      {lost(Code::ok), BranchState::unconfirmed},
      {not_done(Code::rb_timeout), BranchState::rolled_back},
      {done(Code::heuristic_rollback), BranchState::rolled_back},
      {done(Code::heuristic_commit), BranchState::heuristic},
      {done(Code::heuristic_mixed), BranchState::heuristic},
      {lost(Code::not_found), BranchState::unconfirmed},
      {lost(Code::resource_failed), BranchState::unconfirmed},
  };
  for (const auto& [reply, state] : rows) {
    TwoPhaseCommit machine = after({false, false}, {RollbackRequested{"asked"}, BranchReplied{0, reply}});
    EXPECT_EQ(machine.end(), End::undecided) << "before the second branch replied";
    machine.step(BranchReplied{1, Reply::ok()});
    const bool heuristic = state == BranchState::heuristic;
    EXPECT_EQ(machine.branches()[0].state, state) << describe(reply);
    EXPECT_EQ(machine.end(), heuristic ? End::heuristic : End::rolled_back) << describe(reply);
    EXPECT_EQ(machine.cause().code, heuristic ? reply.code : Code::ok);
    EXPECT_EQ(machine.reason(), heuristic ? "a resource broke ranks: it committed on its own account" : "asked");
  }
}

TEST(TwoPhaseReply, to_a_one_phase_commit_says_what_becomes_of_the_transaction) {
  struct Row {
    Reply reply;
    BranchState state;
    End end;
    std::string reason;
  };
  const std::vector<Row> rows = {
      {done(Code::ok), BranchState::committed, End::committed, ""},
      {done(Code::heuristic_commit), BranchState::committed, End::committed, ""},
      {done(Code::read_only), BranchState::read_only, End::committed, ""},
      {done(Code::heuristic_mixed), BranchState::heuristic, End::heuristic, "the only resource broke ranks"},
      {done(Code::heuristic_rollback), BranchState::rolling_back, End::undecided, "the only branch did not commit"},
      {not_done(Code::ok), BranchState::rolling_back, End::undecided, "the only branch did not commit"},
      {not_done(Code::rb_integrity), BranchState::rolled_back, End::rolled_back, "the only branch did not commit"},
      {not_done(Code::protocol_error), BranchState::rolling_back, End::undecided, "the only branch did not commit"},
      {lost(Code::resource_failed), BranchState::settling, End::undecided, ""},
      {lost(Code::ok), BranchState::settling, End::undecided, ""},
  };
  for (const Row& row : rows) {
    const TwoPhaseCommit machine = after({false}, {CommitRequested{}, BranchReplied{0, row.reply}});
    EXPECT_TRUE(machine.is_one_phase());
    EXPECT_EQ(machine.branches()[0].state, row.state) << describe(row.reply);
    EXPECT_EQ(machine.end(), row.end) << describe(row.reply);
    EXPECT_EQ(machine.reason(), row.reason) << describe(row.reply);
    EXPECT_EQ(machine.cause().code, row.reason.empty() ? Code::ok : row.reply.code);
  }
}

TEST(TwoPhaseReply, of_the_witness_makes_a_lost_one_phase_commit_definite_or_leaves_it_in_doubt) {
  struct Row {
    Fate fate;
    BranchState state;
    End end;
    std::string reason;
  };
  const std::string then = "the reply to the one-phase commit was lost, and the ";
  const std::vector<Row> rows = {
      {Fate::committed, BranchState::committed, End::committed, ""},
      {Fate::rolled_back, BranchState::rolled_back, End::rolled_back, then + "witness says it did not happen"},
      {Fate::in_progress, BranchState::in_doubt, End::in_doubt, then + "resource cannot yet say what became of it"},
      {Fate::unknown, BranchState::in_doubt, End::in_doubt, then + "resource cannot yet say what became of it"},
  };
  for (const Row& row : rows) {
    const TwoPhaseCommit machine =
        after({false}, {CommitRequested{}, BranchReplied{0, lost(Code::resource_failed)}, Settled{0, row.fate}});
    EXPECT_EQ(machine.branches()[0].state, row.state);
    EXPECT_EQ(machine.end(), row.end);
    EXPECT_EQ(machine.reason(), row.reason);
    EXPECT_EQ(machine.cause().code, row.reason.empty() ? Code::ok : Code::resource_failed);
  }
}

TEST(TwoPhaseReply, of_the_log_that_fails_names_the_reason_and_the_cause) {
  TwoPhaseCommit refused = deciding();
  refused.step(LogForced{ForceResult::refused});
  EXPECT_EQ(refused.reason(), "the decision could not be written to the log");
  EXPECT_EQ(refused.cause().code, Code::rb_other);
  TwoPhaseCommit uncertain = deciding();
  uncertain.step(LogForced{ForceResult::uncertain});
  EXPECT_EQ(uncertain.end(), End::in_doubt);
  EXPECT_EQ(uncertain.reason(), "the decision may or may not be in the log; opening the log again tells");
  for (const BranchInfo& branch : uncertain.branches()) EXPECT_EQ(branch.state, BranchState::in_doubt);
}

TEST(TwoPhaseReply, that_comes_after_the_deadline_still_counts) {
  TwoPhaseCommit machine = after({false, false}, {CommitRequested{}, Voted{0, Reply::ok()}, DeadlinePassed{}});
  EXPECT_EQ(machine.cause().code, Code::rb_timeout);
  EXPECT_EQ(machine.reason(), "the deadline passed before the decision");
  EXPECT_EQ(machine.branches()[0].state, BranchState::rolling_back);
  EXPECT_EQ(machine.branches()[1].state, BranchState::preparing) << "one verb at a time";
  machine.step(Voted{1, Reply::ok()});
  EXPECT_EQ(machine.branches()[1].state, BranchState::rolling_back);
  machine.step(BranchReplied{0, Reply::ok()});
  EXPECT_EQ(machine.end(), End::undecided);
  machine.step(BranchReplied{1, Reply::ok()});
  EXPECT_EQ(machine.end(), End::rolled_back);
}

TEST(TwoPhaseReply, no_names_the_branch_that_voted_so) {
  const TwoPhaseCommit machine =
      after({false, false}, {CommitRequested{}, Voted{0, Reply::ok()}, Voted{1, not_done(Code::rb_integrity)}});
  EXPECT_EQ(machine.reason(), "branch 1 voted no");
  EXPECT_EQ(machine.cause().code, Code::rb_integrity);
}

TEST(TwoPhaseReply, every_state_has_a_name_of_its_own) {
  const std::vector<std::pair<BranchState, std::string>> names = {
      {BranchState::active, "active"},
      {BranchState::preparing, "preparing"},
      {BranchState::prepared, "prepared"},
      {BranchState::committing, "committing"},
      {BranchState::committed, "committed"},
      {BranchState::read_only, "read only"},
      {BranchState::rolling_back, "rolling back"},
      {BranchState::rolled_back, "rolled back"},
      {BranchState::pending, "pending"},
      {BranchState::unconfirmed, "rollback unconfirmed"},
      {BranchState::settling, "settling"},
      {BranchState::in_doubt, "in doubt"},
      {BranchState::heuristic, "heuristic"},
  };
  for (const auto& [state, name] : names) EXPECT_EQ(to_string(state), name);
}

using TwoPhaseReplyDeathTest = testing::Test;

TEST(TwoPhaseReplyDeathTest, that_does_not_fit_the_phase_ends_the_program) {
  const Event voted = Voted{0, Reply::ok()};
  const Event replied = BranchReplied{0, Reply::ok()};
  const std::vector<Event> start = {CommitRequested{}};
  const auto dies = [](TwoPhaseCommit machine, const Event& event) { EXPECT_DEATH(machine.step(event), ""); };
  dies(after({false, false}, {}), voted);
  dies(after({false, false}, {}), replied);
  dies(after({false, false}, {}), Settled{0, Fate::committed});
  dies(after({false, false}, start), CommitRequested{});
  dies(after({false, false}, start), RollbackRequested{"late"});
  dies(after({false, false}, start), replied);
  dies(after({false, false}, {CommitRequested{}, voted}), voted);
  dies(after({false}, start), voted);
  dies(after({false}, start), DeadlinePassed{});
  dies(after({false}, start), Settled{0, Fate::committed});
  dies(after({false}, {CommitRequested{}, BranchReplied{0, lost(Code::resource_failed)}}), replied);
  dies(deciding(), DeadlinePassed{});
  dies(deciding(), voted);
  dies(deciding(), replied);
  dies(after({false}, {CommitRequested{}, replied}), replied);
  dies(after({}, start), DeadlinePassed{});
  TwoPhaseCommit settles({false, false}, 1);
  for (const Event& event : {start[0], voted, Event(BranchReplied{1, lost(Code::resource_failed)})})
    settles.step(event);
  dies(settles, BranchReplied{1, Reply::ok()});
}

}  // namespace
}  // namespace assent::two_phase
