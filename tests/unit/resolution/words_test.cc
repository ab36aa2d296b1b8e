// What recovery says to people: each word stands for one thing.
#include <gtest/gtest.h>

#include <initializer_list>
#include <set>
#include <string_view>

#include "assent/recovery/recovery_report.h"
#include "assent/recovery/resolution.h"

namespace assent {
namespace {

template <class Enum>
void expect_words_of_their_own(std::initializer_list<Enum> values) {
  std::set<std::string_view> words;
  for (const Enum value : values) {
    EXPECT_TRUE(words.insert(to_string(value)).second) << to_string(value);
    EXPECT_NE(to_string(value), "?");
  }
  EXPECT_EQ(to_string(static_cast<Enum>(99)), "?") << "a value that is none";
}

TEST(words, stand_for_one_thing_each) {
  expect_words_of_their_own(
      {Owner::foreign, Owner::unknown_log, Owner::held_elsewhere, Owner::unheld_slot, Owner::in_hand});
  expect_words_of_their_own(
      {LogSays::nothing, LogSays::decided, LogSays::finished, LogSays::barred, LogSays::silent, LogSays::missing});
  expect_words_of_their_own({IncarnationIs::live, IncarnationIs::gone, IncarnationIs::gone_adopted,
                             IncarnationIs::gone_log_moved, IncarnationIs::unknown});
  expect_words_of_their_own({EngineSays::active, EngineSays::decided, EngineSays::in_doubt,
                             EngineSays::rollback_unconfirmed, EngineSays::over});
  expect_words_of_their_own({DatabaseSays::listed, DatabaseSays::committed, DatabaseSays::rolled_back,
                             DatabaseSays::in_progress, DatabaseSays::no_evidence, DatabaseSays::unreachable});
  expect_words_of_their_own({IdentityIs::same, IdentityIs::changed, IdentityIs::shared, IdentityIs::not_recorded,
                             IdentityIs::not_configured});
  expect_words_of_their_own({Verdict::commit, Verdict::roll_back, Verdict::finished, Verdict::wait, Verdict::leave,
                             Verdict::heuristic, Verdict::resurrected, Verdict::needs_person});
  expect_words_of_their_own({Action::none, Action::commit, Action::roll_back});
  using Problem = ResourceReport::Problem;
  expect_words_of_their_own(
      {Problem::none, Problem::unreachable, Problem::identity_changed, Problem::identity_shared, Problem::renamed});
}

/// A report of one log and one branch of it that is done: clean.
RecoveryReport clean_report() {
  RecoveryReport report;
  BranchReport branch;
  branch.evidence.owner = Owner::in_hand;
  branch.transaction = TransactionId{DeciderKind::log, LogId{7}, Incarnation{1}, 1};
  branch.done = true;
  report.branches.push_back(branch);
  report.logs.push_back({.log = LogId{7}, .moved = false, .repaired = {}, .poisoned = {}, .unfinished = 0});
  report.resources.resize(1);
  report.resources[0].name = "ledger";
  return report;
}

TEST(report, is_clean_only_when_all_was_asked_and_nothing_of_that_log_is_left) {
  EXPECT_TRUE(clean_report().clean(LogId{7}));
  EXPECT_FALSE(clean_report().clean(LogId{8})) << "not in hand";
  RecoveryReport report = clean_report();
  report.branches[0].done = false;
  EXPECT_FALSE(report.clean(LogId{7}));
  report.branches[0].transaction->log = LogId{8};
  EXPECT_TRUE(report.clean(LogId{7})) << "another log's branch";
  report = clean_report();
  report.branches[0].done = false;
  report.branches[0].evidence.owner = Owner::foreign;
  EXPECT_TRUE(report.clean(LogId{7}));
  report = clean_report();
  report.logs[0].unfinished = 1;
  EXPECT_FALSE(report.clean(LogId{7}));
  report = clean_report();
  report.logs[0].poisoned = "the disk failed";
  EXPECT_FALSE(report.clean(LogId{7}));
  report = clean_report();
  report.resources[0].problem = ResourceReport::Problem::unreachable;
  EXPECT_FALSE(report.clean(LogId{7}));
}

TEST(report, finds_a_resource_by_its_name) {
  const RecoveryReport report = clean_report();
  EXPECT_EQ(report.resource("ledger"), report.resources.data());
  EXPECT_EQ(report.resource("shop"), nullptr);
}

}  // namespace
}  // namespace assent
