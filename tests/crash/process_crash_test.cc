// kill -9 of the process at every effect of the protocol. Whatever a run without crash does is a place to die, so no
// effect can be forgotten; what must come of a death at each is known beforehand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>

#include "assent/tests/crash/world.h"

namespace assent::testing {
namespace {

/// Worlds that are hit at the same time: as many as the servers have room for.
constexpr std::size_t at_once = 8;

std::set<std::string> both_sides(const std::vector<std::string>& effects) {
  std::set<std::string> steps;
  for (const std::string& effect : effects) {
    steps.insert(effect + " before");
    steps.insert(effect + " after");
  }
  return steps;
}

/// What the log alone decides, or the last resource: committed from the moment the force, or its commit, has returned.
bool must_commit(const std::string& shape, const Point& point) {
  if (shape == "no" || shape == "undo") return false;
  if (point.verb == "force" || point.verb == "decide" || point.verb == "commit_one_phase") return point.executed;
  return point.verb == "commit";
}

/// The answer to the transfer before, and then to the one that is hit.
bool says_committed(const std::string& line) {
  return line.starts_with("outcome committed");
}

class ProcessCrash : public ::testing::TestWithParam<Server> {
 protected:
  void SetUp() override {
    if (!url(GetParam())) GTEST_SKIP() << no_mysql;
    bank_ = std::make_unique<Bank>(GetParam());
  }

  World& world() {
    worlds_.push_back(std::make_unique<World>(*bank_, static_cast<int>(worlds_.size()) + 1));
    return *worlds_.back();
  }

  using Recovery = std::function<void(const std::vector<World*>&)>;

  /// Dies at every point of a transfer of this shape, after one that was acknowledged; then recovers, and looks.
  void die_everywhere(const std::string& shape, const std::vector<std::string>& effects, const Recovery& recovery) {
    const std::set<std::string> steps = steps_of(world(), shape);
    ASSERT_EQ(steps, both_sides(effects));
    const std::vector<Point> points = points_of(steps, shape);
    for (std::size_t from = 0; from < points.size(); from += at_once) {
      std::vector<World*> hit;
      std::vector<std::unique_ptr<Process>> workers;
      for (std::size_t i = from; i < std::min(points.size(), from + at_once); ++i) {
        World& each = world();
        auto worker = each.start();
        ASSERT_EQ(kind_in(worker->ask("transfer all 100", "outcome")), "committed");
        each.expect(effect_of("all", 100));
        const std::string others = std::to_string(others_of(steps, points[i]));
        worker->say("at " + points[i].text() + ' ' + others + " die");
        worker->say("transfer " + shape + " 7");
        if (must_commit(shape, points[i])) each.expect(effect_of(shape, 7));
        hit.push_back(&each);
        workers.push_back(std::move(worker));
      }
      for (std::size_t i = 0; i < workers.size(); ++i) {
        workers[i]->wait();
        ASSERT_TRUE(workers[i]->was_killed()) << points[from + i].text();
        const bool acknowledged = std::ranges::count_if(workers[i]->heard(), says_committed) == 2;
        EXPECT_TRUE(!acknowledged || must_commit(shape, points[from + i])) << points[from + i].text();
      }
      recovery(hit);
      for (std::size_t i = 0; i < hit.size(); ++i) {
        SCOPED_TRACE(shape + ", killed at " + points[from + i].text());
        hit[i]->expect_all_is_over();
      }
      if (HasFailure()) return;
    }
  }

  std::unique_ptr<Bank> bank_;
  std::vector<std::unique_ptr<World>> worlds_;
};

/// The next process of the node finishes everything in the background, without anybody asking.
void open_again(const std::vector<World*>& worlds) {
  std::vector<std::unique_ptr<Process>> next;
  next.reserve(worlds.size());
  for (World* world : worlds) next.push_back(world->start());
  for (std::size_t i = 0; i < worlds.size(); ++i) {
    World& world = *worlds[i];
    EXPECT_TRUE(eventually([&] { return world.settled(); })) << world.describe();
    // Every row is free and as it should be before anything is asked of the new process.
    EXPECT_EQ(world.balances(), std::optional(world.expected())) << world.directory();
    next[i]->ask("recover", "recovered 0 0 0");
    EXPECT_EQ(kind_in(next[i]->ask("transfer all 1", "outcome")), "committed");
    world.expect(effect_of("all", 1));
  }
  for (auto& each : next) each->ask("quit", "closed");
}

/// No process of the application comes again: an operator's `assent resolve` finishes everything.
void resolve_by_tool(const std::vector<World*>& worlds) {
  for (World* world : worlds) {
    Process tool({ASSENT_TOOL, "--config", world->write_config(world->setting()), "resolve"});
    tool.hear_all();
    EXPECT_EQ(tool.wait(), 0) << world->describe() << ::testing::PrintToString(tool.heard());
  }
}

const std::vector<std::string> two_phase = {"prepare ledger", "prepare shop", "prepare local", "force -",
                                            "commit ledger",  "commit shop",  "commit local"};
std::vector<std::string> decided_by(const std::string& last) {
  std::vector<std::string> effects = {"decide " + last};
  for (const std::string other : {"ledger", "shop", "local"}) {
    if (other == last) continue;
    effects.push_back("prepare " + other);
    effects.push_back("commit " + other);
  }
  return effects;
}
const std::vector<std::string> no_vote = {"prepare ledger", "prepare shop", "prepare local", "rollback shop",
                                          "rollback local"};
const std::vector<std::string> rollback = {"rollback ledger", "rollback shop", "rollback local"};

TEST_P(ProcessCrash, a_commit_killed_at_any_effect_is_finished_by_the_next_open) {
  die_everywhere("all", two_phase, open_again);
}

TEST_P(ProcessCrash, a_commit_acknowledged_at_the_decision_and_killed_at_any_effect_is_finished_by_the_next_open) {
  die_everywhere("behind", two_phase, open_again);
}

TEST_P(ProcessCrash, a_commit_killed_at_any_effect_is_finished_by_assent_resolve) {
  die_everywhere("all", two_phase, resolve_by_tool);
}

TEST_P(ProcessCrash, a_commit_by_a_last_resource_killed_at_any_effect_is_finished_by_the_next_open) {
  for (const std::string last : {"ledger", "shop", "local"}) {
    die_everywhere("by-" + last, decided_by(last), open_again);
  }
}

TEST_P(ProcessCrash, a_commit_by_a_last_resource_killed_at_any_effect_is_finished_by_assent_resolve) {
  die_everywhere("by-shop", decided_by("shop"), resolve_by_tool);
}

TEST_P(ProcessCrash, a_vote_of_no_killed_at_any_effect_leaves_nothing) {
  die_everywhere("no", no_vote, open_again);
}

TEST_P(ProcessCrash, a_rollback_killed_at_any_effect_leaves_nothing) {
  die_everywhere("undo", rollback, open_again);
}

TEST_P(ProcessCrash, a_one_phase_commit_killed_at_its_effect_is_what_the_database_says) {
  for (const char* resource : {"ledger", "shop", "local"}) {
    die_everywhere(resource, {std::string("commit_one_phase ") + resource}, open_again);
  }
}

INSTANTIATE_TEST_SUITE_P(With, ProcessCrash, ::testing::Values(Server::mariadb, Server::mysql),
                         [](const auto& each) { return std::string(name(each.param)); });

}  // namespace
}  // namespace assent::testing
