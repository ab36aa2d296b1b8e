#include "assent/adapters/mysql/settings.h"

#include <gtest/gtest.h>

#include "assent/adapters/mysql/mysql.h"
#include "assent/xa/error.h"

namespace assent::mysql {
namespace {

Settings settings(const std::string& url) {
  ResourceSpec spec;
  spec.name = "shop";
  spec.url = ResourceUrl::parse(url);
  return Settings::from(spec);
}

std::string refusal(const std::string& url) {
  try {
    settings(url);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::configuration);
    EXPECT_FALSE(error.hint().empty());
    return error.what();
  }
  return "none";
}

TEST(MySqlSettings, are_read_from_a_url) {
  const Settings all = settings(
      "mysql://bob:s%40fe@db.example:3307/bank?ssl=verify&ssl_ca=/"
      "ca.pem&connect_timeout=3&read_timeout=40&write_timeout=50&recovery_wait=6");
  EXPECT_EQ(all.host, "db.example");
  EXPECT_EQ(all.port, 3307);
  EXPECT_EQ(all.user, "bob");
  EXPECT_EQ(all.password, "s@fe");
  EXPECT_EQ(all.schema, "bank");
  EXPECT_EQ(all.tls, Tls::verify);
  EXPECT_EQ(all.tls_ca, "/ca.pem");
  EXPECT_EQ(all.connect_timeout_s, 3U);
  EXPECT_EQ(all.read_timeout_s, 40U);
  EXPECT_EQ(all.write_timeout_s, 50U);
  EXPECT_EQ(all.recovery_wait_s, 6U);
  EXPECT_EQ(all.address.find("s@fe"), std::string::npos);
  const Settings few = settings("mariadb://bob@/bank?socket=/run/db.sock");
  EXPECT_EQ(few.socket, "/run/db.sock");
  EXPECT_EQ(few.tls, Tls::off);
  EXPECT_EQ(few.read_timeout_s, 0U);
  EXPECT_EQ(few.recovery_wait_s, 5U);
}

TEST(MySqlSettings, refuse_what_is_unknown_or_wrong_without_repeating_the_password) {
  EXPECT_NE(refusal("mysql://bob:sesame@h/bank?sslmode=require").find("unknown parameter 'sslmode'"),
            std::string::npos);
  EXPECT_NE(refusal("mysql://bob:sesame@h/bank?ssl=yes").find("ssl=yes"), std::string::npos);
  EXPECT_NE(refusal("mysql://bob:sesame@h/bank?connect_timeout=1.5").find("connect_timeout"), std::string::npos);
  EXPECT_NE(refusal("mysql://bob:sesame@h/bank?recovery_wait=0").find("recovery_wait"), std::string::npos);
  EXPECT_NE(refusal("mysql://bob:sesame@h/bank?connect_timeout=99999999").find("connect_timeout"), std::string::npos);
  EXPECT_NE(refusal("mysql://bob:sesame@h/bank?ssl=verify").find("ssl_ca"), std::string::npos);
  EXPECT_NE(refusal("mysql://bob:sesame@h/bank?ssl=require&ssl_ca=/x").find("ssl_ca"), std::string::npos);
  EXPECT_NE(refusal("mysql://bob:sesame@h/").find("schema"), std::string::npos);
  EXPECT_NE(refusal("mysql://h/bank").find("user"), std::string::npos);
  EXPECT_NE(refusal("mysql://bob:sesame@h/bank?password_env=ASSENT_NEVER_SET").find("ASSENT_NEVER_SET"),
            std::string::npos);
  for (const char* url : {"mysql://bob:sesame@h/bank?sslmode=require", "mysql://bob:sesame@h/bank?ssl=yes"}) {
    EXPECT_EQ(refusal(url).find("sesame"), std::string::npos);
  }
}

TEST(MySqlSettings, open_a_resource_under_both_schemes_without_connecting) {
  Registry registry;
  MySql::register_with(registry);
  for (const char* scheme : {"mysql", "mariadb"}) {
    ResourceSpec spec;
    spec.name = "shop";
    spec.url = ResourceUrl::parse(std::string(scheme) + "://bob:sesame@nowhere.invalid:1/bank");
    const auto manager = registry.open(spec);
    EXPECT_TRUE(MySql::owns(*manager));
    EXPECT_EQ(manager->name(), "shop");
    EXPECT_EQ(manager->address(), std::string(scheme) + "://bob@nowhere.invalid:1/bank");
  }
}

}  // namespace
}  // namespace assent::mysql
