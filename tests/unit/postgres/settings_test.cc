#include "assent/adapters/postgres/settings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "assent/adapters/postgres/postgres.h"
#include "assent/xa/error.h"

namespace assent {
namespace {

using detail::postgres::Settings;
using ::testing::HasSubstr;
using ::testing::Not;

Settings settings_of(const std::string& url) {
  return Settings::from(ResourceUrl::parse(url));
}

std::string refusal_of(const std::string& url) {
  try {
    settings_of(url);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::configuration);
    EXPECT_FALSE(error.hint().empty());
    return error.what();
  }
  return {};
}

TEST(PostgresSettings, reads_a_full_url) {
  const Settings settings =
      settings_of("postgresql://bob:s%3Acret@db.example:5433/bank?sslmode=verify-full&connect_timeout=9");
  EXPECT_EQ(settings.keywords.at("host"), "db.example");
  EXPECT_EQ(settings.keywords.at("port"), "5433");
  EXPECT_EQ(settings.keywords.at("user"), "bob");
  EXPECT_EQ(settings.keywords.at("password"), "s:cret");
  EXPECT_EQ(settings.keywords.at("dbname"), "bank");
  EXPECT_EQ(settings.keywords.at("connect_timeout"), "9");
  EXPECT_TRUE(settings.tls_required);
  EXPECT_THAT(settings.address, Not(HasSubstr("cret")));
}

TEST(PostgresSettings, asks_for_tls_only_where_the_url_does) {
  EXPECT_FALSE(settings_of("postgresql://h/bank").tls_required);
  EXPECT_FALSE(settings_of("postgresql://h/bank?sslmode=prefer").tls_required);
  EXPECT_TRUE(settings_of("postgresql://h/bank?sslmode=require").tls_required);
  EXPECT_TRUE(settings_of("postgresql://h/bank?sslmode=verify-ca").tls_required);
}

TEST(PostgresSettings, refuses_an_unknown_parameter_by_its_name) {
  const std::string refusal = refusal_of("postgresql://bob:hunter2@h/bank?sslmod=require");
  EXPECT_THAT(refusal, HasSubstr("\"sslmod\""));
  EXPECT_THAT(refusal, Not(HasSubstr("hunter2")));
  EXPECT_THAT(refusal_of("postgresql://h/bank?password=hunter2"), Not(HasSubstr("hunter2")));
}

TEST(PostgresSettings, refuses_values_that_make_no_sense) {
  EXPECT_THAT(refusal_of("postgresql://h/bank?sslmode=please"), HasSubstr("sslmode"));
  EXPECT_THAT(refusal_of("postgresql://h/bank?connect_timeout=soon"), HasSubstr("connect_timeout"));
  EXPECT_THAT(refusal_of("postgresql://h/"), HasSubstr("names no database"));
}

TEST(PostgresSettings, takes_the_password_from_the_environment) {
  ASSERT_EQ(setenv("ASSENT_TEST_PG_SECRET", "hunter2", 1), 0);
  const Settings settings = settings_of("postgresql://bob@h/bank?password_env=ASSENT_TEST_PG_SECRET");
  EXPECT_EQ(settings.keywords.at("password"), "hunter2");
  EXPECT_EQ(settings.keywords.count("password_env"), 0U);
}

TEST(PostgresSettings, opens_by_both_schemes_without_connecting) {
  Registry registry;
  Postgres::register_with(registry);
  for (const char* url : {"postgresql://nobody@127.0.0.1:1/bank", "postgres://nobody@127.0.0.1:1/bank"}) {
    ResourceSpec spec;
    spec.name = "ledger";
    spec.url = ResourceUrl::parse(url);
    const auto resource = registry.open(spec);
    EXPECT_TRUE(Postgres::owns(*resource));
    EXPECT_EQ(resource->name(), "ledger");
    EXPECT_EQ(resource->address(), url);
  }
}

}  // namespace
}  // namespace assent
