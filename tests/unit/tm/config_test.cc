#include "assent/tm/config.h"

#include <gtest/gtest.h>

#include "assent/xa/error.h"

namespace assent {
namespace {

Config parse(const std::string& text) {
  return parse_config(text, "assent.toml", "/etc/shop");
}

std::string refusal(const std::string& text) {
  try {
    parse(text);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::configuration);
    EXPECT_FALSE(error.hint().empty());
    return error.what();
  }
  return "not refused";
}

const std::string head = "node = \"shop-1\"\nlog = \"state\"\n";

TEST(Config, has_all_that_the_file_says) {
  const Config config = parse(head + R"(
recovery_interval_ms = 250
threads = 4
ack_at = "decided"
behind = 7
[resources.ledger]
url = "postgresql://u:p@h:5433/bank"
formerly = ["bank", "old-bank"]
pool = 3
pool_wait_ms = 10
[resources.notes]
url = "sqlite:///notes.db"
)");
  EXPECT_EQ(config.node, "shop-1");
  EXPECT_EQ(config.log_directory, "/etc/shop/state");
  EXPECT_EQ(config.recovery_interval.count(), 250);
  EXPECT_EQ(config.threads, 4U);
  EXPECT_EQ(config.ack_at, AckAt::decided);
  EXPECT_EQ(config.behind, 7U);
  ASSERT_EQ(config.resources.size(), 2U);
  EXPECT_EQ(config.resources[0].name, "ledger");
  EXPECT_EQ(config.resources[0].url.port, 5433);
  EXPECT_EQ(config.resources[0].formerly, (std::vector<std::string>{"bank", "old-bank"}));
  EXPECT_EQ(config.resources[0].pool_size, 3U);
  EXPECT_EQ(config.resources[0].pool_wait_ms, 10U);
  EXPECT_EQ(config.resources[1].url.path, "/etc/shop/notes.db");
}

TEST(Config, commit_answers_when_all_is_finished_if_nothing_else_is_said) {
  EXPECT_EQ(parse(head).ack_at, AckAt::finished);
  EXPECT_EQ(parse(head + "ack_at = \"finished\"\n").ack_at, AckAt::finished);
  EXPECT_EQ(parse(head).behind, 1000U);
}

TEST(Config, absolute_paths_stay) {
  const Config config = parse("node = \"n\"\nlog = \"/var/assent\"\n[resources.a]\nurl = \"sqlite:////var/a.db\"\n");
  EXPECT_EQ(config.log_directory, "/var/assent");
  EXPECT_EQ(config.resources[0].url.path, "/var/a.db");
}

TEST(Config, a_letter_beyond_ascii_is_a_letter) {
  EXPECT_EQ(parse("node = \"n\"\nlog = \"/srv/\u00e9t\u00e9\"").log_directory, "/srv/\u00e9t\u00e9");
  EXPECT_EQ(refusal(head + "\u00e9 = 1\n").substr(0, 14), "assent.toml:3:");
}

TEST(Config, what_is_no_toml_is_refused_with_its_line) {
  for (const char* line : {"[", "[[", "[\x14resources.a]", "\x7f = 1", "node", "[resources.\u00e9]"}) {
    EXPECT_EQ(refusal(head + line + "\n").substr(0, 14), "assent.toml:3:") << line;
  }
}

TEST(Config, a_path_that_the_system_would_cut_is_refused) {
  EXPECT_EQ(refusal("node = \"n\"\nlog = \"/var/lib\\u0000/x\"\n"),
            "assent.toml:2: 'log' must be a path without a NUL");
}

TEST(Config, an_unknown_key_is_refused_with_its_line) {
  EXPECT_EQ(refusal(head + "recovery = 1\n"), "assent.toml:3: unknown key 'recovery'");
  EXPECT_EQ(refusal(head + "[resources.a]\nurl = \"p://h/x\"\npol = 1\n"),
            "assent.toml:5: unknown key 'resources.a.pol'");
}

TEST(Config, a_wrong_type_is_refused_with_its_line) {
  EXPECT_EQ(refusal("node = 3\nlog = \"x\"\n"), "assent.toml:1: 'node' must be a text that is not empty");
  EXPECT_EQ(refusal(head + "threads = 0\n"), "assent.toml:3: 'threads' must be a whole number from 1 to 4096");
  EXPECT_EQ(refusal(head + "threads = \"4\"\n"), "assent.toml:3: 'threads' must be a whole number from 1 to 4096");
  EXPECT_EQ(refusal(head + "threads = 99999999999999999999\n").substr(0, 14), "assent.toml:3:");
  for (const char* value : {"true", "\"prepared\"", "[]"}) {
    EXPECT_EQ(refusal(head + "ack_at = " + value + "\n"),
              "assent.toml:3: 'ack_at' must be \"finished\" or \"decided\"");
  }
  EXPECT_EQ(refusal(head + "behind = -1\n"), "assent.toml:3: 'behind' must be a whole number from 0 to 1000000");
  EXPECT_EQ(refusal(head + "resources = 1\n"), "assent.toml:3: 'resources' must be a table of resources by name");
  EXPECT_EQ(refusal(head + "[resources]\na = \"p://h/x\"\n"),
            "assent.toml:4: 'resources.a' must be a table with a url");
  EXPECT_EQ(refusal(head + "[resources.a]\nurl = \"p://h/x\"\nformerly = \"b\"\n"),
            "assent.toml:5: 'resources.a.formerly' must be a list of names");
}

TEST(Config, a_missing_key_is_named) {
  EXPECT_NE(refusal("node = \"a\"\n").find("key 'log' is missing"), std::string::npos);
  EXPECT_NE(refusal(head + "[resources.a]\n").find("key 'resources.a.url' is missing"), std::string::npos);
}

TEST(Config, resource_names_that_are_too_long_or_repeated_are_refused) {
  EXPECT_NE(refusal(head + "[resources." + std::string(65, 'a') + "]\nurl = \"p://h/x\"\n").find("cannot be used"),
            std::string::npos);
  EXPECT_NE(refusal(head + "[resources.\"a b\"]\nurl = \"p://h/x\"\n").find("cannot be used"), std::string::npos);
  EXPECT_NE(
      refusal(head + "[resources.a]\nurl = \"p://h/x\"\n[resources.a]\nurl = \"p://h/x\"\n").find("assent.toml:5"),
      std::string::npos);
  EXPECT_NE(refusal(head + "[resources.a]\nurl = \"p://h/x\"\n[resources.b]\nurl = \"p://h/y\"\nformerly = [\"a\"]\n")
                .find("'a' stands twice"),
            std::string::npos);
}

TEST(Config, a_malformed_url_is_refused_with_its_line_and_without_the_password) {
  const std::string what = refusal(head + "[resources.a]\nurl = \"p://u:geheim@h:x/y\"\n");
  EXPECT_EQ(what.find("assent.toml:4: resource 'a': malformed resource URL"), 0U);
  EXPECT_EQ(what.find("geheim"), std::string::npos);
}

TEST(Config, damaged_toml_is_refused_with_its_line) {
  EXPECT_EQ(refusal(head + "[resources\n").substr(0, 14), "assent.toml:3:");
}

TEST(Config, a_file_that_is_not_there_is_named) {
  try {
    load_config("/no/such/assent.toml");
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("/no/such/assent.toml"), std::string::npos);
  }
}

}  // namespace
}  // namespace assent
