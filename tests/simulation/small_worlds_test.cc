#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "assent/tests/simulation/world.h"

// Everything, not a sample: one transaction over one to three databases, with every single fault at every step.

namespace assent::simulation {
namespace {

using Fault = SmallPlan::Fault;
using Vote = SmallPlan::Vote;

std::string story(const SmallPlan& plan) {
  std::string out;
  for (const std::string& line : simulate(plan, true).trace) out += line + '\n';
  return out;
}

class SmallWorlds : public ::testing::Test {
 protected:
  void check(const SmallPlan& plan) {
    ++worlds_;
    const SmallReport report = simulate(plan, false);
    if (report.told) ++told_[static_cast<std::size_t>(*report.told)];
    ASSERT_EQ(report.violation, "") << story(plan);
  }

  /// Every fault of one kind, at each step there is without it.
  void at_every_step(SmallPlan plan, Fault fault, std::size_t where) {
    plan.fault = fault;
    plan.where = where;
    for (plan.at = 1; plan.at <= steps_ + after_the_end; ++plan.at) {
      check(plan);
      if (HasFatalFailure()) return;
    }
  }

  void every_fault(const SmallPlan& calm) {
    const SmallReport report = simulate(calm, false);
    ASSERT_EQ(report.violation, "") << story(calm);
    ASSERT_TRUE(report.told.has_value());
    steps_ = report.steps;
    for (const Fault fault : {Fault::kill_process, Fault::lose_power, Fault::stop_process}) {
      ASSERT_NO_FATAL_FAILURE(at_every_step(calm, fault, 0));
    }
    for (std::size_t i = 0; i < calm.sites.size(); ++i) {
      ASSERT_NO_FATAL_FAILURE(at_every_step(calm, Fault::crash_database, i));
      ASSERT_NO_FATAL_FAILURE(at_every_step(calm, Fault::cut_connections, i));
      for (const auto kind : {Mishap::Kind::loses_request, Mishap::Kind::loses_reply}) {
        for (std::uint64_t number = 1; number <= report.messages[i]; ++number) {
          SmallPlan plan = calm;
          plan.sites[i].mishap = {kind, number};
          ASSERT_NO_FATAL_FAILURE(check(plan));
        }
      }
    }
    SmallPlan failing = calm;
    failing.fault = Fault::fail_disk_call;
    for (failing.at = 1; failing.at <= report.disk_calls; ++failing.at) ASSERT_NO_FATAL_FAILURE(check(failing));
  }

  void TearDown() override {
    RecordProperty("worlds", static_cast<int>(worlds_));
    std::printf("%llu worlds; told committed %llu, rolled back %llu, in doubt %llu, heuristic %llu times\n",
                static_cast<unsigned long long>(worlds_), told_[0], told_[1], told_[2], told_[3]);
  }

  static constexpr std::uint64_t after_the_end = 40;
  std::uint64_t steps_ = 0;
  std::uint64_t worlds_ = 0;
  std::array<unsigned long long, 4> told_{};
};

TEST_F(SmallWorlds, every_single_fault_at_every_step_for_one_to_three_databases_of_every_kind) {
  for (std::uint64_t count = 1; count <= 3; ++count) {
    for (std::uint64_t kinds = 0; kinds < (1U << (2 * count)); ++kinds) {
      SmallPlan plan;
      for (std::uint64_t i = 0; i < count; ++i) {
        plan.sites.push_back({static_cast<Kind>(kinds >> (2 * i) & 3U), Vote::ok, {}, {}});
      }
      ASSERT_NO_FATAL_FAILURE(every_fault(plan));
    }
  }
  EXPECT_GT(told_[0], 1000U);
  EXPECT_GT(told_[1], 1000U);
  EXPECT_EQ(told_[3], 0U);
}

TEST_F(SmallWorlds, every_single_fault_at_every_step_where_a_last_resource_decides) {
  for (unsigned kinds = 0; kinds < 16; ++kinds) {
    SmallPlan plan;
    for (unsigned i = 0; i < 2; ++i) plan.sites.push_back({static_cast<Kind>(kinds >> (2 * i) & 3U), Vote::ok, {}, {}});
    plan.last_resource = 0;
    ASSERT_NO_FATAL_FAILURE(every_fault(plan));
    // Two others; and the one that decides has work of its own, or none.
    plan.sites.push_back({Kind::mariadb, Vote::ok, {}, {}});
    ASSERT_NO_FATAL_FAILURE(every_fault(plan));
    plan.sites[0].vote = Vote::idle;
    ASSERT_NO_FATAL_FAILURE(every_fault(plan));
    plan.sites[0].vote = Vote::refuse;
    ASSERT_NO_FATAL_FAILURE(every_fault(plan));
  }
  EXPECT_GT(told_[0], 1000U);
  EXPECT_GT(told_[1], 1000U);
  EXPECT_EQ(told_[3], 0U);
}

TEST_F(SmallWorlds, every_single_allocation_that_fails) {
  for (std::uint64_t count = 1; count <= 4; ++count) {
    SmallPlan plan;
    for (std::uint64_t i = 0; i < std::min<std::uint64_t>(count, 3); ++i) {
      plan.sites.push_back({static_cast<Kind>(i), Vote::ok, {}, {}});
    }
    if (count == 4) plan.last_resource = 0;
    const SmallReport calm = simulate(plan, false);
    ASSERT_EQ(calm.violation, "") << story(plan);
#ifndef __SANITIZE_ADDRESS__
    ASSERT_GT(calm.allocations, 100U);
#endif
    plan.fault = Fault::fail_allocation;
    for (plan.at = 1; plan.at <= calm.allocations + 200; ++plan.at) ASSERT_NO_FATAL_FAILURE(check(plan));
  }
}

TEST_F(SmallWorlds, every_order_of_the_replies_with_every_vote_and_a_crash_at_every_step) {
  std::array<int, 3> prepares = {1, 2, 3};
  do {
    std::array<int, 3> finishes = {1, 2, 3};
    do {
      for (int votes = 0; votes < 27; ++votes) {
        SmallPlan plan;
        int rest = votes;
        for (std::size_t i = 0; i < 3; ++i) {
          plan.sites.push_back(
              {static_cast<Kind>(i), static_cast<Vote>(rest % 3), {prepares[i] * 2ms, finishes[i] * 2ms}, {}});
          rest /= 3;
        }
        const SmallReport calm = simulate(plan, false);
        ASSERT_EQ(calm.violation, "") << story(plan);
        steps_ = calm.steps;
        ASSERT_NO_FATAL_FAILURE(at_every_step(plan, Fault::kill_process, 0));
      }
    } while (std::ranges::next_permutation(finishes).found);
  } while (std::ranges::next_permutation(prepares).found);
}

}  // namespace
}  // namespace assent::simulation
