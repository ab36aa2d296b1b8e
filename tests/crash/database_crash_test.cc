// kill -9 of the databases at every effect of the protocol, one of them and both together. The process lives on: its
// own recovery finishes everything once they run again, without anybody asking, and what the application was told
// holds.
//
// Many processes are stopped at a point each, the servers killed under all of them at once: a kill costs seconds.
#include <gtest/gtest.h>

#include <algorithm>
#include <thread>

#include "assent/tests/crash/world.h"

namespace assent::testing {
namespace {

/// Of one kill: as many as the servers have connections for.
constexpr std::size_t at_once = 22;

struct Case {
  std::string shape;
  Point point;
};

class DatabaseCrash : public ::testing::TestWithParam<Server> {
 protected:
  void SetUp() override {
    if (!url(GetParam())) GTEST_SKIP() << no_mysql;
    bank_ = std::make_unique<Bank>(GetParam());
  }

  World& world() {
    worlds_.push_back(std::make_unique<World>(*bank_, static_cast<int>(worlds_.size()) + 1));
    return *worlds_.back();
  }

  std::vector<Case> cases(const std::vector<std::string>& shapes) {
    std::vector<Case> out;
    for (const std::string& shape : shapes) {
      const auto steps = steps_of(world(), shape);
      EXPECT_GE(steps.size(), 2U);
      steps_[shape] = steps;
      for (const Point& point : points_of(steps, shape)) out.push_back({shape, point});
    }
    return out;
  }

  void kill_under(const std::vector<Case>& all, const std::vector<Server>& servers) {
    for (std::size_t from = 0; from < all.size(); from += at_once) {
      const std::vector<Case> some(all.begin() + static_cast<std::ptrdiff_t>(from),
                                   all.begin() + static_cast<std::ptrdiff_t>(std::min(all.size(), from + at_once)));
      kill_once(some, servers);
      if (HasFailure()) return;
    }
  }

  void kill_once(const std::vector<Case>& cases, const std::vector<Server>& servers) {
    std::vector<World*> hit;
    std::vector<std::unique_ptr<Process>> workers;
    std::vector<std::string> ids;
    for (const Case& each : cases) {
      hit.push_back(&world());
      auto setting = hit.back()->setting();
      setting.recovery_interval_ms = 500;  // there are many of them, on few processors
      workers.push_back(hit.back()->start(setting));
      Process& worker = *workers.back();
      ASSERT_EQ(kind_in(worker.ask("transfer all 100", "outcome")), "committed");
      hit.back()->expect(effect_of("all", 100));
      const std::string others = std::to_string(others_of(steps_.at(each.shape), each.point));
      worker.say("at " + each.point.text() + ' ' + others + " stop");
      worker.say("transfer " + each.shape + " 7");
      ids.push_back(id_in(worker.hear("begun ")));
      worker.hear("at point");
    }
    std::vector<std::string> told;
    {
      std::vector<std::unique_ptr<RunsAgainAfter>> again;
      again.reserve(servers.size());
      for (const Server server : servers) again.push_back(std::make_unique<RunsAgainAfter>(server));
      on_each(servers, kill_9);
      for (auto& worker : workers) worker->say("go");
      for (auto& worker : workers) told.push_back(worker->hear("outcome"));
      on_each(servers, start);
    }
    for (std::size_t i = 0; i < cases.size(); ++i) {
      SCOPED_TRACE(cases[i].shape + ", servers killed at " + cases[i].point.text() + "; told: " + told[i]);
      expect_told_holds(*hit[i], *workers[i], cases[i], told[i], ids[i]);
    }
    for (std::size_t i = 0; i < cases.size(); ++i) {
      workers[i]->ask("quit", "closed");
      SCOPED_TRACE(cases[i].shape + ", servers killed at " + cases[i].point.text() + "; told: " + told[i]);
      hit[i]->expect_all_is_over();
    }
  }

  static void expect_told_holds(World& world, Process& worker, const Case& each, const std::string& told,
                                const std::string& id) {
    EXPECT_TRUE(eventually([&] { return world.settled(); })) << world.describe();
    // In doubt is an answer; but it must become another one by itself.
    std::string says;
    EXPECT_TRUE(eventually([&] {
      says = worker.ask("what " + id, "what");
      return !says.starts_with("what in_doubt") &&
             (!says.starts_with("what committed") || says.starts_with("what committed 0 "));
    })) << says;
    const std::string kind = kind_in(told) == "in_doubt" ? kind_in(says) : kind_in(told);
    ASSERT_TRUE(kind == "committed" || kind == "rolled_back") << kind;
    EXPECT_EQ(kind_in(says), kind);
    const bool decides = each.point.verb == "force" || each.point.verb == "decide";
    if (each.point.verb == "commit" || (decides && each.point.executed)) {
      EXPECT_EQ(kind, "committed");
    }
    if (kind == "committed") world.expect(effect_of(each.shape, 7));
    EXPECT_EQ(world.balances(), std::optional(world.expected()));
    worker.ask("recover", "recovered 0 0 0");
    EXPECT_EQ(kind_in(worker.ask("transfer all 1", "outcome")), "committed");
    world.expect(effect_of("all", 1));
  }

  static void on_each(const std::vector<Server>& servers, void (*deed)(Server)) {
    std::vector<std::thread> threads;
    std::vector<std::exception_ptr> failures(servers.size());
    for (std::size_t i = 0; i < servers.size(); ++i) {
      threads.emplace_back([&, i] {
        try {
          deed(servers[i]);
        } catch (...) {
          failures[i] = std::current_exception();
        }
      });
    }
    for (std::thread& thread : threads) thread.join();
    for (const auto& failure : failures) {
      if (failure) std::rethrow_exception(failure);
    }
  }

  std::unique_ptr<Bank> bank_;
  std::vector<std::unique_ptr<World>> worlds_;
  std::map<std::string, std::set<std::string>> steps_;
};

const std::vector<std::string> shapes = {"all", "no", "ledger", "shop"};
const std::vector<std::string> by_last_resource = {"by-ledger", "by-shop"};

TEST_P(DatabaseCrash, postgres_killed_at_any_effect_breaks_no_promise) {
  kill_under(cases(shapes), {Server::postgres});
}

TEST_P(DatabaseCrash, the_other_server_killed_at_any_effect_breaks_no_promise) {
  kill_under(cases(shapes), {GetParam()});
}

TEST_P(DatabaseCrash, both_servers_killed_at_any_effect_break_no_promise) {
  kill_under(cases(shapes), {Server::postgres, GetParam()});
}

TEST_P(DatabaseCrash, a_last_resource_killed_at_any_effect_breaks_no_promise) {
  kill_under(cases({"by-ledger"}), {Server::postgres});
  kill_under(cases({"by-shop"}), {GetParam()});
}

TEST_P(DatabaseCrash, both_servers_killed_at_any_effect_of_a_last_resource_break_no_promise) {
  kill_under(cases(by_last_resource), {Server::postgres, GetParam()});
}

INSTANTIATE_TEST_SUITE_P(With, DatabaseCrash, ::testing::Values(Server::mariadb, Server::mysql),
                         [](const auto& each) { return std::string(name(each.param)); });

}  // namespace
}  // namespace assent::testing
