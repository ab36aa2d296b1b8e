// What is wrong from outside: one clear sentence, what to do, the documented exit code, and nothing lost.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "assent/tests/integration/tool/tool.h"

namespace assent::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

void expect_refused(const Ran& ran, int exit, const std::string& what) {
  EXPECT_EQ(ran.exit, exit) << ran.out << ran.err;
  EXPECT_THAT(ran.err, AllOf(HasSubstr("assent: error: "), HasSubstr(what), HasSubstr("\n  hint: ")));
  EXPECT_EQ(std::count(ran.err.begin(), ran.err.end(), '\n'), 2) << ran.err;
}

TEST(Refusal, says_that_the_configuration_is_missing) {
  expect_refused(run_tool({"--config", "/nowhere/assent.toml", "list"}), 2, "/nowhere/assent.toml");
}

TEST(Refusal, of_a_malformed_url_names_the_line_and_never_the_password) {
  Node node;
  node.configure("[resources.north]\nurl = \"postgresql://app:hunter2@db:99999/bank\"\n");
  const Ran ran = node.run({"list"});
  expect_refused(ran, 2, "assent.toml:5: resource 'north': malformed resource URL: the port");
  EXPECT_THAT(ran.out + ran.err, Not(HasSubstr("hunter2")));
}

TEST(Refusal, of_an_unknown_scheme_says_which_there_are) {
  Node node;
  node.configure("[resources.north]\nurl = \"oracle://db/bank\"\n");
  const Ran ran = node.run({"list"});
  expect_refused(ran, 2, "oracle");
  EXPECT_THAT(ran.err, HasSubstr("postgresql"));
}

TEST(Refusal, of_an_unknown_key_names_the_line) {
  Node node;
  node.configure(node.north() + "colour = \"red\"\n");
  expect_refused(node.run({"list"}), 2, "assent.toml:6: unknown key 'resources.north.colour'");
}

TEST(Refusal, of_a_wrong_type_names_the_line) {
  Node node;
  node.configure(node.north() + "pool = \"many\"\n");
  expect_refused(node.run({"list"}), 2, "assent.toml:6: 'resources.north.pool' must be");
}

TEST(Refusal, of_a_resource_name_that_is_too_long) {
  Node node;
  node.configure("[resources." + std::string(65, 'n') + "]\nurl = \"sqlite:///x.db\"\n");
  expect_refused(node.run({"list"}), 2, "cannot be used");
}

TEST(Refusal, of_a_resource_name_that_stands_twice) {
  Node node;
  node.configure(node.north() + node.south() + "formerly = [\"north\"]\n");
  expect_refused(node.run({"list"}), 2, "stands twice");
  node.configure(node.north() + node.north());
  EXPECT_EQ(node.run({"list"}).exit, 2);
}

TEST(Refusal, of_two_resources_that_are_one_database_stops_both_and_loses_nothing) {
  Node node;
  node.crash_before("commit");
  node.configure(node.north() + node.south() + "[resources.again]\nurl = \"sqlite:///north.db\"\n");
  const Ran listed = node.run({"list"});
  EXPECT_EQ(listed.exit, 2);
  EXPECT_THAT(listed.out, AllOf(HasSubstr("are one database"), HasSubstr("->")));
  EXPECT_EQ(node.run({"resolve"}).exit, 2);
  node.configure(node.north() + node.south());
  EXPECT_EQ(node.run({"resolve"}).exit, 0);
  EXPECT_EQ(node.money_in_north(), 990);
  EXPECT_EQ(node.money_in_south(), 1010);
}

TEST(Refusal, of_another_nodes_log_directory) {
  Node node;
  node.crash_before("commit");
  node.write_config("node = \"there\"\nlog = \"log\"\n" + node.north() + node.south());
  expect_refused(node.run({"list"}), 6, "belongs to node 'here', not to 'there'");
  expect_refused(node.run({"resolve"}), 6, "belongs to node 'here', not to 'there'");
}

TEST(Refusal, of_a_damaged_transaction_id) {
  Node node;
  node.crash_before("commit");
  for (const std::string& damaged : {std::string("l-01234XYZ"), std::string("x"), std::string("l-01 23"),
                                     std::string(600, 'a'), std::string("abcdef-1/"), std::string("abcdef-1/a b")}) {
    expect_refused(node.run({"explain", damaged}), 2, "'");
    expect_refused(node.run({"force", damaged, "commit", "--yes"}), 2, "'");
  }
  expect_refused(node.run({"explain", "ffffffff-1"}), 2, "names no transaction that is in doubt");
}

TEST(Refusal, of_a_command_line_that_makes_no_sense) {
  expect_refused(run_tool({}), 2, "");
  expect_refused(run_tool({"dance"}), 2, "");
  expect_refused(run_tool({"force", "x/y", "maybe"}), 2, "");
  expect_refused(run_tool({"demo", "--over", "sqlite:///a.db"}), 2, "two databases");
}

TEST(Refusal, of_a_damaged_log_names_file_and_byte_and_changes_nothing) {
  Node node;
  node.crash_before("commit");
  std::string segment;
  for (const auto& [path, bytes] : bytes_below(node.path("log"))) {
    if (path.find("segment-") != std::string::npos) segment = path;
  }
  ASSERT_FALSE(segment.empty());
  {
    std::fstream file(segment, std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(512 + 40);
    file.put('\x55');
  }
  const auto before = bytes_below(node.path("log"));
  const Ran verified = node.run({"log", "verify"});
  EXPECT_EQ(verified.exit, 5);
  EXPECT_THAT(verified.out, AllOf(HasSubstr("DAMAGED"), HasSubstr(segment), HasSubstr("byte 512")));
  EXPECT_EQ(node.run({"list"}).exit, 5);
  EXPECT_EQ(node.run({"resolve"}).exit, 5);
  EXPECT_EQ(bytes_below(node.path("log")), before);
}

TEST(Refusal, of_a_database_file_that_is_not_there_says_how_to_go_on) {
  Node node;
  node.crash_before("commit");
  std::filesystem::rename(node.path("south.db"), node.path("elsewhere.db"));
  node.configure(node.north() + "[resources.south]\nurl = \"sqlite:///south.db\"\n");
  const Ran ran = node.run({"list"});
  EXPECT_EQ(ran.exit, 4);
  EXPECT_THAT(ran.out, AllOf(HasSubstr("unreachable"), HasSubstr("south"), HasSubstr("->")));
  std::filesystem::rename(node.path("elsewhere.db"), node.path("south.db"));
  EXPECT_EQ(node.run({"resolve"}).exit, 0);
  EXPECT_EQ(node.money_in_south(), 1010);
}

}  // namespace
}  // namespace assent::testing
