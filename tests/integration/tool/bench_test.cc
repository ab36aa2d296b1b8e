// `assent bench` without any database. Nothing here looks at a time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <thread>

#include "assent/tests/integration/tool/tool.h"

namespace assent::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Bench, measures_assent_alone_and_leaves_nothing_behind) {
  Node node;
  std::filesystem::create_directory(node.path("logs"));
  const Ran ran = run_tool({"bench", "--seconds", "0.02", "--json", "--log", node.path("logs")});
  ASSERT_EQ(ran.exit, 0) << ran.err;
  const json printed = json::parse(ran.out);
  EXPECT_EQ(printed.at("format"), 1);
  EXPECT_EQ(printed.at("exit_code"), 0);
  EXPECT_FALSE(printed.at("machine").get<std::string>().empty());
  EXPECT_FALSE(printed.at("log_volume").get<std::string>().empty());
  EXPECT_TRUE(printed.at("settings").empty());
  EXPECT_TRUE(printed.at("recoveries").empty());
  EXPECT_TRUE(printed.at("openings").empty());
  std::vector<std::string> workloads;
  for (const json& result : printed.at("results")) {
    workloads.push_back(result.at("workload"));
    EXPECT_GT(result.at("assent").at("transactions"), 0);
    for (const char* key : {"per_s", "p50_ms", "p99_ms", "p999_ms", "cpu_us"}) {
      EXPECT_TRUE(result.at("assent").at(key).is_number()) << key;
    }
    const bool compared = result.at("workload") != "protocol" && result.at("workload") != "in-memory";
    EXPECT_EQ(result.at("ratio").is_number(), compared);
    EXPECT_EQ(result.at("floor").is_object(), compared);
    EXPECT_EQ(result.at("ratios").size(), compared ? 3U : 0U);
    for (const char* key : {"databases", "clients", "floor_is", "round_ms", "decisions_a_sync"}) {
      EXPECT_TRUE(result.contains(key)) << key;
    }
    for (const char* key : {"floor_cost", "assent_cost"}) EXPECT_TRUE(result.at(key).is_null()) << key;
  }
  EXPECT_EQ(workloads, (std::vector<std::string>{"null", "null-400", "asynchronous", "in-memory", "protocol"}));
  EXPECT_TRUE(std::filesystem::is_empty(node.path("logs")));
}

TEST(Bench, prints_a_table_for_people) {
  const Ran ran = run_tool({"bench", "--workload", "protocol", "--seconds", "0.02"});
  EXPECT_EQ(ran.exit, 0) << ran.err;
  EXPECT_THAT(ran.out, AllOf(HasSubstr("protocol: two null resources, 1 client"), HasSubstr("Assent "),
                             HasSubstr("p99"), Not(HasSubstr("floor "))));
}

TEST(Bench, that_is_interrupted_ends_well_and_leaves_nothing_behind) {
  Node node;
  std::filesystem::create_directory(node.path("logs"));
  RunningTool running({"bench", "--workload", "null", "--seconds", "3600", "--log", node.path("logs")});
  while (std::filesystem::is_empty(node.path("logs"))) std::this_thread::yield();
  EXPECT_EQ(running.interrupt(), 0);
  EXPECT_TRUE(std::filesystem::is_empty(node.path("logs")));
}

TEST(Bench, refuses_what_makes_no_sense_with_a_hint) {
  for (const std::vector<std::string>& arguments : std::vector<std::vector<std::string>>{
           {"--workload", "tpcc"},
           {"--workload", "transfer"},
           {"--over", "sqlite:///a.db"},
           {"--over", "nonsense"},
           {"--clients", "0"},
           {"--clients", "many"},
           {"--clients", "1,2000"},
           {"--seconds", "0"},
           {"--seconds", "-1"},
           {"--frequency", "3"},
       }) {
    std::vector<std::string> words{"bench"};
    words.insert(words.end(), arguments.begin(), arguments.end());
    const Ran ran = run_tool(words);
    EXPECT_EQ(ran.exit, 2) << arguments.back() << ran.err;
    EXPECT_THAT(ran.err, AllOf(HasSubstr("assent: error: "), HasSubstr("\n  hint: "))) << arguments.back();
  }
  EXPECT_EQ(run_tool({"bench", "--log", "/nowhere/at/all"}).exit, 9);
  const Ran away = run_tool({"bench", "--over", "postgresql://app:hunter2@127.0.0.1:1/bank"});
  EXPECT_EQ(away.exit, 4) << away.err;
  EXPECT_THAT(away.err, Not(HasSubstr("hunter2")));
}

}  // namespace
}  // namespace assent::testing
