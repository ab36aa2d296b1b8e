#include "assent/tm/protocol/two_phase.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace assent::two_phase {
namespace {

const Reply lost = Reply::unknown(Code::resource_failed, "connection lost");

/// One way through the protocol: what was emitted and what the world would look like.
struct World {
  TwoPhaseCommit machine;
  std::vector<Effect> under_way;
  bool forced = false;
  bool durable = false;
  bool refused = false;
  bool over = false;
  std::set<BranchIndex> prepared;       ///< when the decision was forced
  std::set<BranchIndex> ended_by_vote;  ///< over, with nothing left to do
  std::set<BranchIndex> told_to_commit;
  std::set<BranchIndex> told_to_roll_back;
  std::size_t one_phase = 0;
  int deadline_used = 0;

  std::optional<BranchIndex> last_resource;
  bool barred = false;  ///< the last resource is known not to have committed

  explicit World(const std::vector<BranchInfo>& read_only, std::optional<BranchIndex> last = std::nullopt)
      : machine(read_only, last), last_resource(last) {}

  void take(const Effects& effects) {
    for (const Effect& effect : effects) {
      ASSERT_FALSE(over) << "an effect after the end";
      const auto* decide = std::get_if<Decide>(&effect);
      if (std::holds_alternative<Force>(effect) || decide != nullptr) {
        ASSERT_FALSE(forced) << "decided twice";
        forced = true;
        ASSERT_EQ(decide != nullptr ? std::optional(decide->branch) : std::nullopt, last_resource);
        for (BranchIndex i = 0; i < machine.branches().size(); ++i) {
          if (i == last_resource) continue;
          const BranchState state = machine.branches()[i].state;
          ASSERT_TRUE(state == BranchState::prepared || state == BranchState::read_only);
          if (state == BranchState::prepared) prepared.insert(i);
        }
        ASSERT_FALSE(prepared.empty()) << "a decision over nothing";
      } else if (const auto* commit = std::get_if<Commit>(&effect)) {
        ASSERT_TRUE(durable) << "committed before the decision was durable";
        ASSERT_TRUE(prepared.contains(commit->branch)) << "committed what is not in the decision";
        ASSERT_TRUE(told_to_commit.insert(commit->branch).second);
      } else if (const auto* rollback = std::get_if<Rollback>(&effect)) {
        ASSERT_TRUE(!forced || refused || barred) << "rolled back over a decision that may be durable";
        ASSERT_FALSE(ended_by_vote.contains(rollback->branch)) << "rolled back what is over";
        ASSERT_TRUE(told_to_roll_back.insert(rollback->branch).second);
      } else if (const auto* prepare = std::get_if<Prepare>(&effect)) {
        ASSERT_NE(prepare->branch, last_resource) << "a last resource is never prepared";
      } else if (std::holds_alternative<CommitOnePhase>(effect)) {
        ASSERT_EQ(++one_phase, 1U);
        ASSERT_FALSE(forced);
      } else if (std::holds_alternative<Over>(effect)) {
        over = true;
        continue;
      }
      under_way.push_back(effect);
    }
    if (over) {
      ASSERT_TRUE(under_way.empty()) << "over while a verb is under way";
      check_end();
    } else {
      ASSERT_FALSE(under_way.empty()) << "waits for nothing";
    }
  }

  void check_end() const {
    const auto& branches = machine.branches();
    const auto any = [&](BranchState state) {
      return std::any_of(branches.begin(), branches.end(), [&](const BranchInfo& b) { return b.state == state; });
    };
    switch (machine.end()) {
      case End::committed:
        EXPECT_TRUE(told_to_roll_back.empty());
        EXPECT_EQ(told_to_commit, prepared) << "every prepared branch, and no other";
        EXPECT_FALSE(any(BranchState::rolled_back) || any(BranchState::unconfirmed) || any(BranchState::in_doubt));
        EXPECT_TRUE(machine.reason().empty());
        break;
      case End::rolled_back:
        EXPECT_TRUE(told_to_commit.empty());
        EXPECT_FALSE(durable);
        EXPECT_TRUE(!forced || refused || barred);
        EXPECT_FALSE(any(BranchState::committed) || any(BranchState::pending) || any(BranchState::prepared));
        EXPECT_FALSE(machine.reason().empty());
        break;
      case End::in_doubt:
        EXPECT_TRUE(any(BranchState::in_doubt));
        EXPECT_TRUE(told_to_commit.empty() && told_to_roll_back.empty());
        break;
      case End::heuristic:
        EXPECT_TRUE(any(BranchState::heuristic));
        break;
      case End::undecided:
        FAIL() << "over without an end";
    }
  }
};

std::vector<Event> answers(const Effect& effect) {
  std::vector<Event> out;
  if (const auto* prepare = std::get_if<Prepare>(&effect)) {
    for (const Reply& reply :
         {Reply::ok(), Reply{Code::read_only, Certainty::done, ""}, Reply::not_done(Code::rb_deadlock, ""),
          Reply::not_done(Code::resource_error, ""), lost}) {
      out.emplace_back(Voted{prepare->branch, reply});
    }
  } else if (std::holds_alternative<Force>(effect)) {
    for (const ForceResult result : {ForceResult::durable, ForceResult::refused, ForceResult::uncertain}) {
      out.emplace_back(LogForced{result});
    }
  } else if (const auto* commit = std::get_if<Commit>(&effect)) {
    for (const Reply& reply : {Reply::ok(), Reply::unknown(Code::not_found, ""), lost,
                               Reply{Code::heuristic_rollback, Certainty::done, ""}}) {
      out.emplace_back(BranchReplied{commit->branch, reply});
    }
  } else if (const auto* rollback = std::get_if<Rollback>(&effect)) {
    for (const Reply& reply : {Reply::ok(), Reply::not_done(Code::rb_rollback, ""), lost,
                               Reply{Code::heuristic_commit, Certainty::done, ""}}) {
      out.emplace_back(BranchReplied{rollback->branch, reply});
    }
  } else if (const auto* one = std::get_if<CommitOnePhase>(&effect)) {
    for (const Reply& reply :
         {Reply::ok(), Reply::not_done(Code::rb_integrity, ""), Reply::not_done(Code::protocol_error, ""), lost}) {
      out.emplace_back(BranchReplied{one->branch, reply});
    }
  } else if (const auto* decide = std::get_if<Decide>(&effect)) {
    for (const Reply& reply :
         {Reply::ok(), Reply::not_done(Code::rb_integrity, ""), Reply::not_done(Code::protocol_error, ""), lost,
          Reply::unknown(Code::rb_other, ""), Reply{Code::heuristic_commit, Certainty::done, ""}}) {
      out.emplace_back(BranchReplied{decide->branch, reply});
    }
  } else if (const auto* settle = std::get_if<Settle>(&effect)) {
    for (const Fate fate : {Fate::committed, Fate::rolled_back, Fate::in_progress, Fate::unknown}) {
      out.emplace_back(Settled{settle->branch, fate});
    }
  }
  return out;
}

void explore(const World& world, std::size_t& paths) {
  if (testing::Test::HasFatalFailure()) return;
  if (world.over) {
    ++paths;
    return;
  }
  for (std::size_t i = 0; i < world.under_way.size(); ++i) {
    for (const Event& event : answers(world.under_way[i])) {
      World next = world;
      next.under_way.erase(next.under_way.begin() + static_cast<std::ptrdiff_t>(i));
      if (const auto* log = std::get_if<LogForced>(&event)) {
        next.durable = log->result == ForceResult::durable;
        next.refused = log->result == ForceResult::refused;
      }
      if (const auto* replied = std::get_if<BranchReplied>(&event);
          replied != nullptr && std::holds_alternative<Decide>(world.under_way[i])) {
        next.durable = replied->reply.is_ok();
        next.barred = replied->reply.certainty == Certainty::not_done;
        if (is_rollback(replied->reply.code) && next.barred) next.ended_by_vote.insert(replied->branch);
      }
      if (const auto* settled = std::get_if<Settled>(&event); settled != nullptr && world.forced) {
        next.durable = settled->fate == Fate::committed;
        next.barred = settled->fate == Fate::rolled_back;
      }
      if (const auto* vote = std::get_if<Voted>(&event)) {
        const Reply& reply = vote->reply;
        if (reply.code == Code::read_only || (is_rollback(reply.code) && reply.certainty == Certainty::not_done)) {
          next.ended_by_vote.insert(vote->branch);
        }
      }
      next.take(next.machine.step(event));
      explore(next, paths);
    }
  }
  if (world.deadline_used == 0 && world.machine.can_time_out()) {
    World next = world;
    next.deadline_used = 1;
    next.take(next.machine.step(DeadlinePassed{}));
    explore(next, paths);
  }
}

TEST(TwoPhase, keeps_its_invariants_in_every_order_of_every_reply_for_up_to_three_branches) {
  std::size_t paths = 0;
  for (std::size_t n = 0; n <= 3; ++n) {
    for (std::size_t mask = 0; mask < (std::size_t{1} << n); ++mask) {
      std::vector<BranchInfo> read_only;
      for (std::size_t i = 0; i < n; ++i) read_only.push_back((mask >> i & 1) != 0);
      for (const Event& first :
           {Event{CommitRequested{}}, Event{RollbackRequested{"asked"}}, Event{DeadlinePassed{}}}) {
        World world(read_only);
        world.take(world.machine.step(first));
        explore(world, paths);
      }
    }
  }
  EXPECT_GT(paths, 10000U);
}

TEST(TwoPhase, keeps_its_invariants_with_every_branch_as_the_last_resource) {
  std::size_t paths = 0;
  for (std::size_t n = 1; n <= 3; ++n) {
    for (std::size_t mask = 0; mask < (std::size_t{1} << n); ++mask) {
      std::vector<BranchInfo> read_only;
      for (std::size_t i = 0; i < n; ++i) read_only.push_back((mask >> i & 1) != 0);
      for (BranchIndex last = 0; last < n; ++last) {
        if (read_only[last].read_only) continue;
        for (const Event& first :
             {Event{CommitRequested{}}, Event{RollbackRequested{"asked"}}, Event{DeadlinePassed{}}}) {
          World world(read_only, last);
          world.take(world.machine.step(first));
          explore(world, paths);
        }
      }
    }
  }
  EXPECT_GT(paths, 10000U);
}

std::string transcript(const std::vector<BranchInfo>& read_only, const std::vector<Event>& events,
                       std::optional<BranchIndex> last_resource = std::nullopt) {
  TwoPhaseCommit machine(read_only, last_resource);
  std::string out;
  const auto show = [&](const Effects& effects) {
    for (const Effect& effect : effects) {
      if (const auto* prepare = std::get_if<Prepare>(&effect)) out += "prepare " + std::to_string(prepare->branch);
      if (const auto* commit = std::get_if<Commit>(&effect)) out += "commit " + std::to_string(commit->branch);
      if (const auto* back = std::get_if<Rollback>(&effect)) out += "rollback " + std::to_string(back->branch);
      if (const auto* one = std::get_if<CommitOnePhase>(&effect)) out += "one-phase " + std::to_string(one->branch);
      if (const auto* settle = std::get_if<Settle>(&effect)) out += "settle " + std::to_string(settle->branch);
      if (const auto* decide = std::get_if<Decide>(&effect)) out += "decide " + std::to_string(decide->branch);
      if (std::holds_alternative<Force>(effect)) out += "force";
      if (std::holds_alternative<Over>(effect)) out += "over";
      out += "; ";
    }
    out += "| ";
  };
  for (const Event& event : events) show(machine.step(event));
  return out;
}

TEST(TwoPhase, commits_two_branches_after_the_decision_is_durable) {
  EXPECT_EQ(transcript({false, false},
                       {CommitRequested{}, Voted{0, Reply::ok()}, Voted{1, Reply::ok()},
                        LogForced{ForceResult::durable}, BranchReplied{1, Reply::ok()}, BranchReplied{0, Reply::ok()}}),
            "prepare 0; prepare 1; | | force; | commit 0; commit 1; | | over; | ");
}

TEST(TwoPhase, rolls_back_when_one_branch_votes_no) {
  EXPECT_EQ(
      transcript({false, false}, {CommitRequested{}, Voted{0, Reply::ok()},
                                  Voted{1, Reply::not_done(Code::rb_integrity, "")}, BranchReplied{0, Reply::ok()}}),
      "prepare 0; prepare 1; | | rollback 0; | over; | ");
}

TEST(TwoPhase, a_last_resource_commits_when_the_others_are_prepared_and_before_they_commit) {
  EXPECT_EQ(transcript({false, false, false},
                       {CommitRequested{}, Voted{0, Reply::ok()}, Voted{2, Reply::ok()}, BranchReplied{1, Reply::ok()},
                        BranchReplied{0, Reply::ok()}, BranchReplied{2, Reply::ok()}},
                       1),
            "prepare 0; prepare 2; | | decide 1; | commit 0; commit 2; | | over; | ");
}

TEST(TwoPhase, a_last_resource_that_votes_no_rolls_the_others_back) {
  EXPECT_EQ(transcript({false, false},
                       {CommitRequested{}, Voted{0, Reply::ok()}, BranchReplied{1, Reply::not_done(Code::rb_other, "")},
                        BranchReplied{0, Reply::ok()}},
                       1),
            "prepare 0; | decide 1; | rollback 0; | over; | ");
}

TEST(TwoPhase, a_last_resource_whose_answer_is_lost_is_settled_before_anything_else) {
  EXPECT_EQ(transcript({false, false},
                       {CommitRequested{}, Voted{0, Reply::ok()}, BranchReplied{1, lost}, Settled{1, Fate::committed},
                        BranchReplied{0, Reply::ok()}},
                       1),
            "prepare 0; | decide 1; | settle 1; | commit 0; | over; | ");
}

TEST(TwoPhase, a_last_resource_beside_readers_decides_nothing) {
  EXPECT_EQ(
      transcript(
          {true, false},
          {CommitRequested{}, Voted{0, Reply{Code::read_only, Certainty::done, ""}}, BranchReplied{1, Reply::ok()}}, 1),
      "prepare 0; | one-phase 1; | over; | ");
}

TEST(TwoPhase, one_resource_commits_in_one_phase_without_the_log) {
  EXPECT_EQ(transcript({false}, {CommitRequested{}, BranchReplied{0, Reply::ok()}}), "one-phase 0; | over; | ");
}

TEST(TwoPhase, a_single_writer_waits_for_the_readers_and_commits_in_one_phase) {
  EXPECT_EQ(transcript({true, false}, {CommitRequested{}, Voted{0, Reply{Code::read_only, Certainty::done, ""}},
                                       BranchReplied{1, Reply::ok()}}),
            "prepare 0; | one-phase 1; | over; | ");
}

TEST(TwoPhase, a_reader_that_prepared_all_the_same_makes_the_writer_prepare) {
  EXPECT_EQ(transcript({true, false}, {CommitRequested{}, Voted{0, Reply::ok()}, Voted{1, Reply::ok()},
                                       LogForced{ForceResult::durable}}),
            "prepare 0; | prepare 1; | force; | commit 0; commit 1; | ");
}

TEST(TwoPhase, readers_alone_write_no_decision) {
  const Reply read{Code::read_only, Certainty::done, ""};
  EXPECT_EQ(transcript({true, true}, {CommitRequested{}, Voted{1, read}, Voted{0, read}}),
            "prepare 0; prepare 1; | | over; | ");
}

TEST(TwoPhase, a_lost_vote_is_an_unconfirmed_rollback_and_never_a_clean_one) {
  TwoPhaseCommit machine({false, false});
  machine.step(CommitRequested{});
  machine.step(Voted{0, lost});
  machine.step(Voted{1, Reply::ok()});
  machine.step(BranchReplied{1, Reply::ok()});
  EXPECT_EQ(machine.end(), End::rolled_back);
  EXPECT_EQ(machine.branches()[0].state, BranchState::unconfirmed);
  EXPECT_EQ(machine.branches()[1].state, BranchState::rolled_back);
}

TEST(TwoPhase, not_found_after_the_decision_is_pending_and_never_success) {
  TwoPhaseCommit machine({false, false});
  machine.step(CommitRequested{});
  machine.step(Voted{0, Reply::ok()});
  machine.step(Voted{1, Reply::ok()});
  machine.step(LogForced{ForceResult::durable});
  machine.step(BranchReplied{0, Reply::unknown(Code::not_found, "")});
  machine.step(BranchReplied{1, Reply::ok()});
  EXPECT_EQ(machine.end(), End::committed);
  EXPECT_EQ(machine.branches()[0].state, BranchState::pending);
}

TEST(TwoPhase, rule_4_a_failed_force_leaves_the_branches_prepared) {
  EXPECT_EQ(transcript({false, false}, {CommitRequested{}, Voted{0, Reply::ok()}, Voted{1, Reply::ok()},
                                        LogForced{ForceResult::uncertain}}),
            "prepare 0; prepare 1; | | force; | over; | ");
}

TEST(TwoPhase, rule_4_rolls_back_when_no_byte_of_the_decision_was_written) {
  EXPECT_EQ(transcript({false, false},
                       {CommitRequested{}, Voted{0, Reply::ok()}, Voted{1, Reply::ok()},
                        LogForced{ForceResult::refused}, BranchReplied{0, Reply::ok()}, BranchReplied{1, Reply::ok()}}),
            "prepare 0; prepare 1; | | force; | rollback 0; rollback 1; | | over; | ");
}

TEST(TwoPhase, the_deadline_ends_when_the_decision_is_being_forced) {
  TwoPhaseCommit machine({false, false});
  EXPECT_TRUE(machine.can_time_out());
  machine.step(CommitRequested{});
  EXPECT_TRUE(machine.can_time_out());
  machine.step(Voted{0, Reply::ok()});
  machine.step(Voted{1, Reply::ok()});
  EXPECT_FALSE(machine.can_time_out());
}

TEST(TwoPhase, a_lost_one_phase_reply_is_settled_by_the_witness) {
  EXPECT_EQ(transcript({false}, {CommitRequested{}, BranchReplied{0, lost}, Settled{0, Fate::rolled_back}}),
            "one-phase 0; | settle 0; | over; | ");
}

using TwoPhaseDeathTest = testing::Test;

TEST(TwoPhaseDeathTest, an_event_that_does_not_fit_ends_the_program) {
  TwoPhaseCommit machine({false, false});
  EXPECT_DEATH(machine.step(LogForced{ForceResult::durable}), "");
  EXPECT_DEATH(machine.step(Voted{0, Reply::ok()}), "") << "nobody asked for a vote";
  EXPECT_DEATH(machine.step(Settled{0, Fate::committed}), "") << "nothing is to be settled";
  machine.step(CommitRequested{});
  machine.step(Voted{0, Reply::ok()});
  machine.step(Voted{1, Reply::ok()});
  EXPECT_DEATH(machine.step(Voted{1, Reply::ok()}), "") << "the votes are over";
  machine.step(LogForced{ForceResult::durable});
  machine.step(BranchReplied{0, Reply::ok()});
  machine.step(BranchReplied{1, Reply::ok()});
  EXPECT_DEATH(machine.step(BranchReplied{1, Reply::ok()}), "") << "the transaction is over";
}

}  // namespace
}  // namespace assent::two_phase
