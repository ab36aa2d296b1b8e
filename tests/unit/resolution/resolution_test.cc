#include "assent/recovery/resolution.h"

#include <gtest/gtest.h>

#include <functional>
#include <ostream>
#include <set>
#include <string>

namespace assent {

void PrintTo(const Evidence& e, std::ostream* out) {
  *out << "owner: " << to_string(e.owner) << "; log: " << to_string(e.log)
       << "; incarnation: " << to_string(e.incarnation) << "; engine: " << to_string(e.engine)
       << "; database: " << to_string(e.database) << "; identity: " << to_string(e.identity)
       << "; ours to finish: " << e.ours_to_finish << "; carrier gone: " << e.carrier_gone;
}

namespace {

constexpr Owner owners[] = {Owner::foreign, Owner::unknown_log, Owner::held_elsewhere, Owner::unheld_slot,
                            Owner::in_hand};
constexpr LogSays logs[] = {LogSays::nothing, LogSays::decided, LogSays::finished,
                            LogSays::barred,  LogSays::silent,  LogSays::missing};
constexpr IncarnationIs incarnations[] = {IncarnationIs::live, IncarnationIs::gone, IncarnationIs::gone_log_moved,
                                          IncarnationIs::gone_adopted, IncarnationIs::unknown};
constexpr EngineSays engines[] = {EngineSays::active, EngineSays::decided, EngineSays::in_doubt,
                                  EngineSays::rollback_unconfirmed, EngineSays::over};
constexpr DatabaseSays databases[] = {DatabaseSays::listed,      DatabaseSays::committed,   DatabaseSays::rolled_back,
                                      DatabaseSays::in_progress, DatabaseSays::no_evidence, DatabaseSays::unreachable};
constexpr IdentityIs identities[] = {IdentityIs::same, IdentityIs::changed, IdentityIs::shared,
                                     IdentityIs::not_recorded, IdentityIs::not_configured};

void for_every_combination(const std::function<void(const Evidence&, const Resolution&)>& check) {
  for (const Owner owner : owners)
    for (const LogSays log : logs)
      for (const IncarnationIs incarnation : incarnations)
        for (const EngineSays engine : engines)
          for (const DatabaseSays database : databases)
            for (const IdentityIs identity : identities)
              for (const bool ours_to_finish : {false, true})
                for (const bool carrier_gone : {false, true}) {
                  const Evidence evidence{owner,    log,      incarnation,    engine,
                                          database, identity, ours_to_finish, carrier_gone};
                  check(evidence, resolve(evidence));
                  if (testing::Test::HasFailure()) FAIL() << testing::PrintToString(evidence);
                }
}

/// A branch in an ordinary crash: its decider in hand, its incarnation gone, still prepared where it should be.
Evidence after_a_crash() {
  return {Owner::in_hand,
          LogSays::nothing,
          IncarnationIs::gone,
          EngineSays::over,
          DatabaseSays::listed,
          IdentityIs::same,
          true,
          false};
}

bool is_live(const Evidence& e) {
  return e.incarnation == IncarnationIs::live;
}

/// Opened by this log at its present place, or adopted by a person.
bool is_presumable(const Evidence& e) {
  return e.incarnation == IncarnationIs::gone || e.incarnation == IncarnationIs::gone_adopted;
}

TEST(resolution, every_combination_has_a_row_and_every_row_a_combination) {
  std::set<std::string> texts;
  for_every_combination([&](const Evidence&, const Resolution& said) {
    EXPECT_NE(said.rule, 0);
    texts.emplace(said.text);
  });
  EXPECT_EQ(texts.size(), 37U);
}

TEST(resolution, never_rolls_back_what_is_decided_or_finished_or_not_known_to_be_neither) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (e.log != LogSays::nothing && e.log != LogSays::barred) {
      EXPECT_NE(said.action, Action::roll_back);
    }
  });
}

TEST(resolution, never_commits_what_is_not_decided) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (e.log != LogSays::decided) {
      EXPECT_NE(said.action, Action::commit);
    }
  });
}

TEST(resolution, rule_1_waits_for_a_last_resource_and_asks_a_person_where_there_is_none) {
  Evidence e = after_a_crash();
  e.log = LogSays::silent;
  EXPECT_EQ(resolve(e).verdict, Verdict::wait);
  EXPECT_EQ(resolve(e).action, Action::none);
  e.log = LogSays::missing;
  EXPECT_EQ(resolve(e).verdict, Verdict::needs_person);
  e.log = LogSays::barred;
  EXPECT_EQ(resolve(e).action, Action::roll_back);
  EXPECT_EQ(resolve(e).rule, 1);
}

TEST(resolution, rule_1_touches_no_branch_of_another_decider) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (e.owner == Owner::in_hand) return;
    EXPECT_EQ(said.action, Action::none);
    EXPECT_EQ(said.verdict, Verdict::leave);
    EXPECT_FALSE(finish_options(e).carrier_is_dead);
  });
}

TEST(resolution, touches_no_transaction_that_the_engine_is_running) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (is_live(e) && e.engine == EngineSays::active) {
      EXPECT_EQ(said.action, Action::none);
    }
  });
}

TEST(resolution, rule_2_presumes_abort_only_for_incarnations_that_are_gone_under_this_very_log) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (said.action != Action::roll_back || is_live(e)) return;
    EXPECT_TRUE(is_presumable(e));
    EXPECT_EQ(e.owner, Owner::in_hand);
  });
}

TEST(resolution, rule_2_says_a_carrier_is_dead_only_of_incarnations_that_are_gone_for_certain) {
  for_every_combination([](const Evidence& e, const Resolution&) {
    EXPECT_EQ(finish_options(e).carrier_is_dead, e.owner == Owner::in_hand && is_presumable(e));
  });
}

TEST(resolution, rule_2_a_moved_log_still_finishes_its_recorded_commits) {
  Evidence e = after_a_crash();
  e.incarnation = IncarnationIs::gone_log_moved;
  EXPECT_EQ(resolve(e).verdict, Verdict::needs_person);
  EXPECT_EQ(resolve(e).action, Action::none);
  e.log = LogSays::decided;
  EXPECT_EQ(resolve(e).action, Action::commit);
}

TEST(resolution, rule_4_leaves_what_is_in_doubt_until_the_log_is_opened_again) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (is_live(e) && e.engine == EngineSays::in_doubt && e.owner == Owner::in_hand) {
      EXPECT_EQ(said.verdict, Verdict::wait);
      EXPECT_EQ(said.action, Action::none);
    }
  });
}

TEST(resolution, rule_5_shows_a_branch_below_the_mark_as_resurrected_and_does_nothing) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (e.owner != Owner::in_hand || e.log != LogSays::finished) return;
    EXPECT_EQ(said.action, Action::none);
    if (e.database == DatabaseSays::listed) {
      EXPECT_NE(said.verdict, Verdict::finished);
    }
  });
  Evidence e = after_a_crash();
  e.log = LogSays::finished;
  EXPECT_EQ(resolve(e).verdict, Verdict::resurrected);
  EXPECT_TRUE(resolve(e).needs_person());
}

TEST(resolution, rule_6_rolls_back_in_the_live_incarnation_only_what_the_engine_rolled_back) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (said.action == Action::roll_back && is_live(e)) {
      EXPECT_EQ(e.engine, EngineSays::rollback_unconfirmed);
    }
  });
}

TEST(resolution, rule_6_an_unconfirmed_rollback_is_over_only_when_its_carrier_is_proven_gone) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (is_live(e) && e.engine == EngineSays::rollback_unconfirmed && e.log == LogSays::nothing &&
        said.verdict == Verdict::finished) {
      EXPECT_TRUE(e.carrier_gone);
      EXPECT_NE(e.database, DatabaseSays::listed);
      EXPECT_NE(e.database, DatabaseSays::in_progress);
      EXPECT_NE(e.database, DatabaseSays::unreachable);
    }
  });
}

TEST(resolution, rule_6_an_empty_scan_finishes_no_presumed_abort) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (is_presumable(e) && e.log == LogSays::nothing) {
      EXPECT_NE(said.verdict, Verdict::finished);
    }
  });
}

TEST(resolution, rule_7_finishes_a_decision_only_on_the_witness_and_never_on_silence) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (e.log == LogSays::decided && said.verdict == Verdict::finished) {
      EXPECT_EQ(e.database, DatabaseSays::committed);
    }
  });
  Evidence e = after_a_crash();
  e.log = LogSays::decided;
  e.database = DatabaseSays::no_evidence;
  EXPECT_EQ(resolve(e).verdict, Verdict::needs_person);
  e.database = DatabaseSays::rolled_back;
  EXPECT_EQ(resolve(e).verdict, Verdict::heuristic);
  e.database = DatabaseSays::in_progress;
  EXPECT_EQ(resolve(e).verdict, Verdict::wait);
}

TEST(resolution, rule_7_an_absent_witness_proves_nothing_to_a_copy_also_when_it_was_adopted) {
  Evidence e = after_a_crash();
  e.log = LogSays::decided;
  e.database = DatabaseSays::rolled_back;
  for (const IncarnationIs copy : {IncarnationIs::gone_log_moved, IncarnationIs::gone_adopted}) {
    e.incarnation = copy;
    EXPECT_EQ(resolve(e).verdict, Verdict::needs_person);
  }
}

TEST(resolution, rule_7_calls_heuristic_what_left_no_decision_only_when_a_witness_says_committed) {
  Evidence e = after_a_crash();
  e.database = DatabaseSays::committed;
  EXPECT_EQ(resolve(e).verdict, Verdict::heuristic);
  e.database = DatabaseSays::rolled_back;
  EXPECT_EQ(resolve(e).verdict, Verdict::wait);
}

TEST(resolution, rule_8_acts_only_where_the_database_is_proven_to_be_the_one_in_the_log) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (said.action != Action::none) {
      EXPECT_EQ(e.identity, IdentityIs::same);
    }
  });
}

TEST(resolution, asks_for_nothing_of_a_database_that_cannot_be_reached) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (e.database == DatabaseSays::unreachable) {
      EXPECT_EQ(said.action, Action::none);
    }
  });
}

TEST(resolution, never_acts_on_what_the_database_lists_for_somebody_else) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (e.database == DatabaseSays::listed && !e.ours_to_finish) {
      EXPECT_EQ(said.action, Action::none);
    }
  });
}

TEST(resolution, rolls_back_only_what_is_listed) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    if (said.action == Action::roll_back) {
      EXPECT_EQ(e.database, DatabaseSays::listed);
    }
  });
}

TEST(resolution, does_settle_what_it_may) {
  for_every_combination([](const Evidence& e, const Resolution& said) {
    const bool reachable = e.owner == Owner::in_hand && e.identity == IdentityIs::same && e.ours_to_finish &&
                           e.database == DatabaseSays::listed;
    const bool idle = !is_live(e) || e.engine == EngineSays::decided || e.engine == EngineSays::over;
    if (reachable && idle && e.log == LogSays::decided) {
      EXPECT_EQ(said.verdict, Verdict::commit);
      EXPECT_EQ(said.action, Action::commit);
    }
    const bool aborted = is_presumable(e) || (is_live(e) && e.engine == EngineSays::rollback_unconfirmed);
    if (reachable && aborted && e.log == LogSays::nothing) {
      EXPECT_EQ(said.verdict, Verdict::roll_back);
      EXPECT_EQ(said.action, Action::roll_back);
    }
  });
}

}  // namespace
}  // namespace assent
