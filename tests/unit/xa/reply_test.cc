#include "assent/xa/reply.h"

#include <gtest/gtest.h>

#include <set>

namespace assent {
namespace {

TEST(Code, every_one_has_an_xopen_name_of_its_own) {
  std::set<std::string_view> names;
  for (int code = 0; code <= static_cast<int>(Code::outside); ++code) {
    const std::string_view name = xopen_name(static_cast<Code>(code));
    EXPECT_TRUE(name.starts_with("XA")) << code;
    EXPECT_TRUE(names.insert(name).second) << name;
  }
  EXPECT_EQ(xopen_name(Code::not_found), "XAER_NOTA");
  EXPECT_EQ(xopen_name(Code::resource_failed), "XAER_RMFAIL");
}

TEST(Code, ranges_are_those_of_xopen) {
  EXPECT_TRUE(is_rollback(Code::rb_rollback));
  EXPECT_TRUE(is_rollback(Code::rb_transient));
  EXPECT_FALSE(is_rollback(Code::heuristic_rollback));
  EXPECT_FALSE(is_rollback(Code::async));
  EXPECT_TRUE(is_heuristic(Code::heuristic_mixed));
  EXPECT_TRUE(is_heuristic(Code::heuristic_hazard));
  EXPECT_FALSE(is_heuristic(Code::retry));
  EXPECT_FALSE(is_heuristic(Code::no_migrate));
}

TEST(Reply, is_described_with_code_certainty_and_the_databases_words) {
  EXPECT_EQ(describe(Reply::unknown(Code::resource_failed, "connection reset")),
            "XAER_RMFAIL (unknown): connection reset");
  EXPECT_EQ(describe(Reply::ok()), "XA_OK (done)");
}

}  // namespace
}  // namespace assent
