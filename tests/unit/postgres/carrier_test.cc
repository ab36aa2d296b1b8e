#include "assent/adapters/postgres/carrier.h"

#include <gtest/gtest.h>

#include <limits>

namespace assent::detail::postgres {
namespace {

Xid of(std::uint64_t incarnation, std::uint64_t sequence, const std::string& resource) {
  return Xid::of({DeciderKind::log, LogId{7}, Incarnation{incarnation}, sequence}, resource);
}

TEST(PostgresCarrier, names_the_incarnation_and_the_sequence) {
  EXPECT_TRUE(carrier_name(of(0xabcdef, 16, "ledger")).starts_with("assent:0000000000abcdef:0000000000000010:"));
}

TEST(PostgresCarrier, fits_into_an_application_name) {
  const auto most = std::numeric_limits<std::uint64_t>::max();
  EXPECT_LE(carrier_name(of(most, most, std::string(64, 'r'))).size(), 63U);
  EXPECT_LE(carrier_name({9, std::string(64, '\xff'), std::string(64, '\xff')}).size(), 63U);
}

TEST(PostgresCarrier, tells_branches_of_one_transaction_apart) {
  EXPECT_NE(carrier_name(of(1, 1, "ledger")), carrier_name(of(1, 1, "shop")));
  EXPECT_NE(carrier_name(of(1, 1, "ledger")), carrier_name(of(1, 2, "ledger")));
  EXPECT_NE(carrier_name({9, "a", "bc"}), carrier_name({9, "ab", "c"}));
}

TEST(PostgresLiterals, cannot_be_broken_out_of) {
  EXPECT_EQ(text_literal("plain"), "E'plain'");
  EXPECT_EQ(text_literal("a'b\\c"), "E'a\\x27b\\x5cc'");
  EXPECT_EQ(text_literal("\xff\n"), "E'\\xff\\x0a'");
  EXPECT_EQ(bytes_literal(std::string("\0'", 2)), "decode('0027','hex')");
}

}  // namespace
}  // namespace assent::detail::postgres
