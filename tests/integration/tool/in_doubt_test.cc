// What a crash left, seen and settled by the tool.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "assent/recovery/node_directory.h"
#include "assent/tests/integration/tool/tool.h"

namespace assent::testing {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST(Tool, says_that_nothing_is_in_doubt) {
  Node node;
  const Ran ran = node.run({"list"});
  EXPECT_EQ(ran.exit, 0) << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("Nothing is in doubt."));
  EXPECT_FALSE(std::filesystem::exists(node.path("log"))) << "a listing makes no log";
}

TEST(Tool, lists_explains_and_commits_what_was_decided) {
  Node node;
  node.crash_before("commit");
  const Ran listed = node.run({"list"});
  EXPECT_EQ(listed.exit, 1);
  EXPECT_THAT(listed.out,
              AllOf(HasSubstr("transfer 1: 10 from north to south"), HasSubstr("north"), HasSubstr("prepared"),
                    HasSubstr("commit"), HasSubstr("2 branches of 1 transaction are in doubt.")));
  const Ran explained = node.run({"explain", node.only_transaction()});
  EXPECT_EQ(explained.exit, 1);
  EXPECT_THAT(explained.out, AllOf(HasSubstr("the decision to commit is recorded"), HasSubstr("Evidence"),
                                   HasSubstr("What to do"), HasSubstr(" resolve\n")));
  const Ran resolved = node.run({"resolve"});
  EXPECT_EQ(resolved.exit, 0) << resolved.out << resolved.err;
  EXPECT_THAT(resolved.out, AllOf(HasSubstr("committed"), HasSubstr("Nothing is in doubt.")));
  EXPECT_EQ(node.money_in_north(), 990);
  EXPECT_EQ(node.money_in_south(), 1010);
  EXPECT_EQ(node.run({"list"}).exit, 0);
}

TEST(Tool, rolls_back_what_was_not_decided) {
  Node node;
  node.crash_before("force");
  EXPECT_THAT(node.run({"list"}).out, HasSubstr("roll back"));
  const Ran resolved = node.run({"resolve"});
  EXPECT_EQ(resolved.exit, 0) << resolved.out << resolved.err;
  EXPECT_EQ(node.money_in_north(), 1000);
  EXPECT_EQ(node.money_in_south(), 1000);
}

TEST(Tool, changes_no_byte_when_it_only_reads) {
  Node node;
  node.crash_before("commit");
  const std::string id = node.only_transaction();
  const auto before = bytes_below(node.path(""));
  EXPECT_EQ(node.run({"list"}).exit, 1);
  EXPECT_EQ(node.run({"explain", id}).exit, 1);
  const Ran dry = node.run({"resolve", "--dry-run"});
  EXPECT_EQ(dry.exit, 1);
  EXPECT_THAT(dry.out, AllOf(HasSubstr("would commit"), HasSubstr("Nothing was changed.")));
  EXPECT_EQ(node.run({"log", "verify"}).exit, 0);
  EXPECT_EQ(node.run({"log", "dump"}).exit, 0);
  EXPECT_EQ(bytes_below(node.path("")), before);
}

TEST(Tool, takes_every_form_of_a_transactions_name) {
  Node node;
  node.crash_before("commit");
  const json listed = json::parse(node.run({"list", "--json"}).out);
  const json& transaction = listed.at("transactions").at(0);
  const std::string id = transaction.at("id");
  const std::string branch = transaction.at("branches").at(0).at("xid");
  for (const std::string& name : {id, id.substr(0, 12), transaction.at("short").get<std::string>(), branch}) {
    const Ran ran = node.run({"explain", name});
    EXPECT_EQ(ran.exit, 1) << name << ran.err;
    EXPECT_THAT(ran.out, HasSubstr("Transaction " + id));
  }
}

TEST(Tool, adopts_only_what_a_dead_process_left_and_names_the_living) {
  Node node;
  node.crash_before("commit");
  auto directory = NodeDirectory::open(FileSystem::real(), node.path("log"), "here");
  const auto held = directory->adopt(0);
  ASSERT_NE(held, nullptr);
  const Ran listed = node.run({"list"});
  EXPECT_EQ(listed.exit, 0) << "a live process settles it: " << listed.out;
  EXPECT_THAT(listed.out, AllOf(HasSubstr("pid " + std::to_string(::getpid())), HasSubstr("its process")));
  const Ran resolved = node.run({"resolve"});
  EXPECT_THAT(resolved.out, HasSubstr("slot 0 is held by process " + std::to_string(::getpid())));
  EXPECT_THAT(node.run({"list"}).out, HasSubstr("prepared")) << "it was left alone";
  const Ran forced = node.run({"force", node.only_transaction() + "/north", "commit", "--yes"});
  EXPECT_EQ(forced.exit, 6);
  EXPECT_THAT(forced.err, HasSubstr("held by process " + std::to_string(::getpid())));
}

TEST(Tool, watches_and_settles_what_is_left_while_it_watches) {
  Node node;
  RunningTool watching({"--config", node.config(), "resolve", "--watch", "--interval", "1"});
  ASSERT_TRUE(watching.prints("nothing is in doubt"));
  node.crash_before("commit");
  ASSERT_TRUE(watching.prints("committed"));
  ASSERT_TRUE(watching.prints("committed"));
  EXPECT_EQ(watching.interrupt(), 0);
  EXPECT_EQ(node.money_in_north() + node.money_in_south(), 2000);
  EXPECT_EQ(node.money_in_south(), 1010);
}

TEST(Tool, keeps_what_a_resource_needs_that_the_configuration_names_no_more) {
  Node node;
  node.crash_before("commit");
  node.configure(node.north());
  const Ran listed = node.run({"list"});
  EXPECT_EQ(listed.exit, 3);
  EXPECT_THAT(listed.out, AllOf(HasSubstr("not configured"), HasSubstr("south"), HasSubstr("formerly")));
  EXPECT_EQ(node.run({"resolve"}).exit, 3);
  EXPECT_EQ(node.money_in_north(), 990) << "what could be settled was";
  const Ran forgotten = node.run({"forget", node.only_transaction(), "--yes"});
  EXPECT_EQ(forgotten.exit, 8) << forgotten.out;
  node.configure(node.north() + node.south());
  EXPECT_EQ(node.run({"resolve"}).exit, 0);
  EXPECT_EQ(node.money_in_south(), 1010);
}

TEST(Tool, finds_its_branches_after_the_connection_string_changed) {
  Node node;
  node.crash_before("commit");
  std::filesystem::create_directory_symlink(node.path(""), node.path("link"));
  node.configure(node.north() + "[resources.south]\nurl = \"sqlite:///" + node.path("link/south.db") + "?mode=rw\"\n");
  const Ran resolved = node.run({"resolve"});
  EXPECT_EQ(resolved.exit, 0) << resolved.out << resolved.err;
  EXPECT_EQ(node.money_in_south(), 1010);
}

TEST(Tool, presumes_no_abort_from_a_copied_log_until_it_is_adopted) {
  Node node;
  node.crash_before("force");
  std::filesystem::copy(node.path("log"), node.path("copy"), std::filesystem::copy_options::recursive);
  node.write_config("node = \"here\"\nlog = \"copy\"\n" + node.north() + node.south());
  const Ran resolved = node.run({"resolve"});
  EXPECT_EQ(resolved.exit, 3) << resolved.out;
  EXPECT_THAT(resolved.out, AllOf(HasSubstr("was copied or restored"), HasSubstr("log adopt")));
  EXPECT_EQ(node.run({"log", "adopt"}).exit, 8) << "it must be confirmed";
  EXPECT_EQ(node.run({"log", "adopt", "--yes"}).exit, 0);
  EXPECT_EQ(node.run({"resolve"}).exit, 0);
  EXPECT_EQ(node.money_in_north(), 1000);
}

TEST(Force, against_the_decision_is_refused_unless_said_so_and_leaves_a_note) {
  Node node;
  node.crash_before("commit");
  const std::string id = node.only_transaction();
  const std::string full_id = json::parse(node.run({"list", "--json"}).out).at("transactions").at(0).at("id");
  const Ran refused = node.run({"force", id + "/south", "rollback", "--yes"});
  EXPECT_EQ(refused.exit, 8);
  EXPECT_THAT(refused.err, HasSubstr("decision to COMMIT"));
  EXPECT_EQ(node.run({"force", id + "/south", "rollback", "--against-the-decision"}).exit, 8) << "nobody confirmed it";
  EXPECT_THAT(node.run({"list"}).out, HasSubstr("2 branches of 1 transaction are in doubt"));

  const Ran forced = node.run({"force", id + "/south", "rollback", "--against-the-decision", "--yes"});
  EXPECT_EQ(forced.exit, 0) << forced.err;
  EXPECT_THAT(forced.err, HasSubstr("warning"));
  EXPECT_EQ(node.money_in_south(), 1000);
  EXPECT_THAT(node.run({"log", "dump"}).out,
              AllOf(HasSubstr("person"), HasSubstr("force rollback, against the evidence")));

  const Ran resolved = node.run({"resolve"});
  EXPECT_EQ(resolved.exit, 3) << "the other branch commits, and a person must repair";
  EXPECT_THAT(resolved.out, AllOf(HasSubstr("needs a person"), Not(HasSubstr("prepared"))));
  EXPECT_EQ(node.money_in_north(), 990);
  const Ran explained = node.run({"explain", id});
  EXPECT_THAT(explained.out, AllOf(HasSubstr("By hand"), HasSubstr("forget")));
  EXPECT_EQ(node.run({"forget", id, "--yes"}).exit, 0);
  EXPECT_EQ(node.run({"list"}).exit, 0);
  EXPECT_THAT(node.run({"log", "dump"}).out, AllOf(HasSubstr("given up by a person"), Not(HasSubstr("recovered"))));
  EXPECT_THAT(node.run({"explain", full_id}).out, AllOf(HasSubstr("By hand"), HasSubstr("a person made the log forget"),
                                                        Not(HasSubstr("committed every"))));
}

TEST(Force, with_the_decision_settles_one_branch_and_leaves_the_rest_to_resolve) {
  Node node;
  node.crash_before("commit");
  EXPECT_EQ(node.run({"force", node.only_transaction() + "/south", "commit", "--yes"}).exit, 0);
  EXPECT_EQ(node.money_in_south(), 1010);
  EXPECT_EQ(node.run({"resolve"}).exit, 0);
  EXPECT_EQ(node.money_in_north(), 990);
}

TEST(Force, to_commit_what_was_never_decided_is_refused) {
  Node node;
  node.crash_before("force");
  const Ran ran = node.run({"force", node.only_transaction() + "/south", "commit", "--yes"});
  EXPECT_EQ(ran.exit, 8);
  EXPECT_THAT(ran.err, HasSubstr("NO decision"));
}

TEST(Forget, is_refused_while_a_branch_is_still_prepared) {
  Node node;
  node.crash_before("commit");
  const Ran ran = node.run({"forget", node.only_transaction(), "--yes"});
  EXPECT_EQ(ran.exit, 8);
  EXPECT_THAT(ran.err, HasSubstr("still prepared"));
  EXPECT_EQ(node.run({"resolve"}).exit, 0);
}

TEST(Forget, is_refused_of_what_is_committed_everywhere) {
  Node node;
  node.crash_before("commit");
  const std::string id = node.only_transaction();
  for (const char* branch : {"/north", "/south"}) {
    ASSERT_EQ(node.run({"force", id + branch, "commit", "--yes"}).exit, 0);
  }
  const Ran ran = node.run({"forget", id, "--yes"});
  EXPECT_EQ(ran.exit, 8) << ran.out;
  EXPECT_THAT(ran.err, HasSubstr("nothing is given up"));
  EXPECT_EQ(node.run({"resolve"}).exit, 0);
}

/// North decides by a row of its own.
class LastResource : public ::testing::Test {
 protected:
  LastResource() { configure(node_.north() + node_.south()); }
  void configure(const std::string& resources) { node_.configure("last_resource = \"north\"\n" + resources); }
  std::string explained() { return node_.run({"explain", node_.only_transaction()}).out; }

  Node node_;
};

TEST_F(LastResource, that_committed_has_decided) {
  node_.crash_before("commit");
  EXPECT_EQ(node_.money_in_north(), 990);
  EXPECT_THAT(node_.run({"list"}).out, AllOf(HasSubstr("transfer 1: 10 from north to south"), HasSubstr("commit"),
                                             HasSubstr("1 branch of 1 transaction is in doubt.")));
  EXPECT_THAT(explained(), AllOf(HasSubstr("the decision to commit is recorded"), HasSubstr("last resource north")));
  EXPECT_EQ(node_.run({"resolve"}).exit, 0);
  EXPECT_EQ(node_.money_in_south(), 1010);
  EXPECT_EQ(node_.run({"list"}).exit, 0);
}

TEST_F(LastResource, that_did_not_commit_is_barred_and_the_rest_rolled_back) {
  node_.crash_before("decide");
  EXPECT_THAT(explained(), HasSubstr("Its last resource, north, has no decision"));
  EXPECT_THAT(node_.run({"resolve", "--dry-run"}).out, HasSubstr("roll back"));
  const Ran ran = node_.run({"force", node_.only_transaction() + "/south", "commit", "--yes"});
  EXPECT_EQ(ran.exit, 8);
  EXPECT_THAT(ran.err, HasSubstr("NO decision"));
  EXPECT_EQ(node_.run({"force", node_.only_transaction() + "/south", "rollback", "--yes"}).exit, 8)
      << "north could still commit";
  EXPECT_EQ(node_.run({"resolve"}).exit, 0);
  EXPECT_EQ(node_.money_in_north() + node_.money_in_south(), 2000);
  EXPECT_EQ(node_.money_in_south(), 1000);
}

TEST_F(LastResource, that_is_not_configured_any_more_is_asked_for) {
  node_.crash_before("commit");
  node_.configure(node_.south());
  EXPECT_EQ(node_.run({"resolve"}).exit, 3);
  EXPECT_THAT(explained(), AllOf(HasSubstr("north, and that is not configured here"), HasSubstr("Put resource north")));
  configure(node_.north() + node_.south());
  EXPECT_EQ(node_.run({"resolve"}).exit, 0);
  EXPECT_EQ(node_.money_in_south(), 1010);
}

TEST_F(LastResource, whose_decision_a_person_gives_up_keeps_no_row_of_it) {
  node_.crash_before("commit");
  const std::string id = node_.only_transaction();
  EXPECT_EQ(node_.run({"forget", id, "--yes"}).exit, 8) << "south is still prepared";
  EXPECT_EQ(node_.run({"force", id + "/south", "rollback", "--against-the-decision", "--yes"}).exit, 0);
  EXPECT_EQ(node_.run({"resolve"}).exit, 3);
  EXPECT_EQ(node_.run({"forget", id, "--yes"}).exit, 0);
  EXPECT_EQ(node_.run({"list"}).exit, 0);
  EXPECT_EQ(node_.run({"resolve"}).exit, 0);
  EXPECT_EQ(node_.run({"resolve"}).exit, 0);
  EXPECT_THAT(node_.run({"log", "dump"}).out, HasSubstr("given up by a person"));
}

TEST(Json, is_printed_by_every_reading_command) {
  Node node;
  node.crash_before("commit");
  const std::string id = node.only_transaction();
  for (const std::vector<std::string>& command : std::vector<std::vector<std::string>>{{"list"},
                                                                                       {"explain", id},
                                                                                       {"resolve", "--dry-run"},
                                                                                       {"doctor"},
                                                                                       {"log", "dump"},
                                                                                       {"log", "verify"},
                                                                                       {"resolve"}}) {
    std::vector<std::string> arguments = command;
    arguments.emplace_back("--json");
    const Ran ran = node.run(arguments);
    const json printed = json::parse(ran.out);
    EXPECT_EQ(printed.at("format"), 1) << command.front();
    EXPECT_EQ(printed.at("exit_code"), ran.exit) << command.front();
  }
  const Ran failed = run_tool({"--config", "/nowhere", "list", "--json"});
  EXPECT_EQ(json::parse(failed.out).at("exit_code"), 2);
}

TEST(Colour, is_only_for_a_terminal_unless_asked_for) {
  Node node;
  EXPECT_THAT(node.run({"list"}).out, Not(HasSubstr("\033[")));
  EXPECT_THAT(node.run({"list", "--color", "always"}).out, HasSubstr("\033["));
}

TEST(Help, has_examples_and_the_exit_codes) {
  EXPECT_THAT(run_tool({"--help"}).out,
              AllOf(HasSubstr("Exit codes:"), HasSubstr("explain"), Not(HasSubstr("demo-child"))));
  for (const char* command : {"list", "explain", "resolve", "force", "forget", "doctor", "demo", "bench"}) {
    const Ran ran = run_tool({command, "--help"});
    EXPECT_EQ(ran.exit, 0);
    EXPECT_THAT(ran.out, HasSubstr("Examples:")) << command;
  }
  EXPECT_THAT(run_tool({"--version"}).out, HasSubstr("assent "));
}

TEST(Doctor, finds_no_problem_in_two_sound_databases) {
  Node node;
  node.crash_before("commit");
  ASSERT_EQ(node.run({"resolve"}).exit, 0);
  const Ran ran = node.run({"doctor"});
  EXPECT_THAT(ran.out, AllOf(HasSubstr("syncs a second"), HasSubstr("MiB are free"), HasSubstr("slot 0 is sound")));
}

TEST(Demo, loses_no_money_and_makes_none) {
  const Ran ran = run_tool({"demo"});
  EXPECT_EQ(ran.exit, 0) << ran.out << ran.err;
  EXPECT_THAT(ran.out, AllOf(HasSubstr("decided, but nobody was told"), HasSubstr("prepared, but not decided"),
                             HasSubstr("No money was lost, and none was made.")));
}

}  // namespace
}  // namespace assent::testing
