#include "assent/xa/resource_url.h"

#include <gtest/gtest.h>

#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "assent/xa/error.h"

namespace assent {
namespace {

TEST(ResourceUrl, has_all_parts) {
  const auto url = ResourceUrl::parse("postgresql://al%40ice:p%3aw@[::1]:5433/bank?sslmode=require&x=%20");
  EXPECT_EQ(url.scheme, "postgresql");
  EXPECT_EQ(url.user, "al@ice");
  EXPECT_EQ(url.password, "p:w");
  EXPECT_EQ(url.host, "::1");
  EXPECT_EQ(url.port, 5433);
  EXPECT_EQ(url.path, "bank");
  EXPECT_EQ(url.parameters.at("sslmode"), "require");
  EXPECT_EQ(url.parameters.at("x"), " ");
}

TEST(ResourceUrl, of_a_file_keeps_the_absolute_path) {
  const auto url = ResourceUrl::parse("sqlite:////var/lib/app/bank.db");
  EXPECT_EQ(url.host, "");
  EXPECT_EQ(url.path, "/var/lib/app/bank.db");
}

TEST(ResourceUrl, never_shows_a_password) {
  const auto url = ResourceUrl::parse("mysql://bob:geheim@db:3306/shop?ssl_key_password=geheim");
  EXPECT_EQ(url.redacted().find("geheim"), std::string::npos);
  EXPECT_EQ(url.redacted(), "mysql://bob@db:3306/shop?ssl_key_password=…");
}

TEST(ResourceUrl, is_shown_in_one_line) {
  EXPECT_EQ(ResourceUrl::parse("p://h/a%0ab%1b%7f").redacted(), "p://h/a%0ab%1b%7f");
}

TEST(ResourceUrl, malformed_is_refused_with_a_word_and_without_the_password) {
  for (const char* text :
       {"", "bank", "://x", "Post://x/y", "p://geheim:geheim@h:0/x", "p://u:geheim@h:99999/x", "p://u:geheim@h:x/x",
        "p://u:geheim%G1@h/x", "p://u:geheim@h/x?novalue", "p://[::1/x", "p://h/x?a=1&a=2",
        "p://u:12?geheim=1&geheim=2@h/x", "p://u:geheim@h/x y", "p://h/%00", "p://h/%4"}) {
    try {
      ResourceUrl::parse(text);
      FAIL() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::configuration);
      EXPECT_EQ(std::string(error.what()).find("geheim"), std::string::npos) << error.what();
      EXPECT_FALSE(error.hint().empty());
    }
  }
  EXPECT_THROW(ResourceUrl::parse("p://" + std::string(5000, 'x')), Error);
}

TEST(Password, comes_from_the_environment_before_a_file_before_the_url) {
  const auto path = std::filesystem::temp_directory_path() / ("assent-password-" + std::to_string(getpid()));
  std::ofstream(path) << "from file\n";
  setenv("ASSENT_TEST_PASSWORD", "from environment", 1);
  auto url = ResourceUrl::parse("p://u:from_url@h/x?password_env=ASSENT_TEST_PASSWORD&password_file=" + path.string());
  take_password(url);
  EXPECT_EQ(url.password, "from environment");
  EXPECT_TRUE(url.parameters.empty());

  url = ResourceUrl::parse("p://u:from_url@h/x?password_file=" + path.string());
  take_password(url);
  EXPECT_EQ(url.password, "from file");

  url = ResourceUrl::parse("p://u:from_url@h/x");
  take_password(url);
  EXPECT_EQ(url.password, "from_url");
  std::filesystem::remove(path);
}

TEST(Password, that_is_named_but_not_there_is_an_error) {
  auto url = ResourceUrl::parse("p://u@h/x?password_env=ASSENT_TEST_NO_SUCH_VARIABLE");
  EXPECT_THROW(take_password(url), Error);
  url = ResourceUrl::parse("p://u@h/x?password_file=/no/such/file");
  EXPECT_THROW(take_password(url), Error);
}

}  // namespace
}  // namespace assent
