#include "assent/xa/xid.h"

#include <gtest/gtest.h>

#include <limits>

namespace assent {
namespace {

const TransactionId example{DeciderKind::log, LogId{0x0123456789abcdef}, Incarnation{0xfedcba9876543210}, 42};

TEST(TransactionId, has_one_text_and_one_binary_form) {
  EXPECT_EQ(example.text(), "l-0123456789abcdef-fedcba9876543210-42");
  EXPECT_EQ(TransactionId::from_text(example.text()), example);
  EXPECT_EQ(example.gtrid().size(), 25U);
  EXPECT_EQ(TransactionId::from_gtrid(example.gtrid()), example);
}

TEST(TransactionId, refuses_every_text_that_is_not_its_own) {
  for (const char* text :
       {"", "l", "l-0123456789abcdef-fedcba9876543210-", "l-0123456789abcdef-fedcba9876543210-042",
        "l-0123456789ABCDEF-fedcba9876543210-42", "x-0123456789abcdef-fedcba9876543210-42",
        "l-0123456789abcdef-fedcba9876543210-42 ", "l-0123456789abcdef_fedcba9876543210-42",
        "l-0123456789abcdef-fedcba9876543210-99999999999999999999", "l-0123456789abcdef-fedcba987654321-42"}) {
    EXPECT_FALSE(TransactionId::from_text(text)) << text;
  }
  EXPECT_FALSE(TransactionId::from_gtrid(example.gtrid() + 'x'));
  EXPECT_FALSE(TransactionId::from_gtrid("q" + example.gtrid().substr(1)));
}

TEST(Xid, names_transaction_and_resource) {
  const Xid xid = Xid::of(example, "ledger");
  EXPECT_EQ(xid.transaction(), example);
  EXPECT_EQ(xid.text(), "l-0123456789abcdef-fedcba9876543210-42/ledger");
  EXPECT_EQ(Xid::from_text(xid.text()), xid);
}

TEST(Xid, shows_a_foreign_one_and_reads_it_back) {
  const Xid foreign{1, std::string("\0g", 2), ""};
  EXPECT_FALSE(foreign.transaction());
  EXPECT_EQ(foreign.text(), "1:0067:");
  EXPECT_EQ(Xid::from_text("1:0067:"), foreign);
  EXPECT_EQ(Xid::from_text("-1:67:68"), (Xid{-1, "g", "h"}));
  const Xid least{std::numeric_limits<std::int64_t>::min(), "g", ""};
  EXPECT_EQ(Xid::from_text(least.text()), least);
  EXPECT_EQ(from_gid(to_gid(least)), least);
}

TEST(Xid, refuses_damaged_text) {
  for (const char* text :
       {"", ":", "1:", "1::", "01:67:", "1:6:", "1:6G:", "x:67:", "-0:67:", "-01:67:", "-:67:", "--1:67:",
        "l-0123456789abcdef-fedcba9876543210-42/", "l-0123456789abcdef-fedcba9876543210-42/a b"}) {
    EXPECT_FALSE(Xid::from_text(text)) << text;
  }
  EXPECT_FALSE(Xid::from_text("1:" + std::string(130, '0') + ":"));
}

TEST(Xid, of_another_format_is_never_ours) {
  Xid xid = Xid::of(example, "ledger");
  xid.format_id = 1;
  EXPECT_FALSE(xid.transaction());
}

TEST(Gid, is_pgjdbcs_convention) {
  EXPECT_EQ(to_gid({257, "gtrid", "bq"}), "257_Z3RyaWQ=_YnE=");
  EXPECT_EQ(from_gid("257_Z3RyaWQ=_YnE="), (Xid{257, "gtrid", "bq"}));
}

TEST(Gid, fits_into_postgresql_at_the_limits) {
  const Xid longest{Xid::assent_format, std::string(64, '\xff'), std::string(64, '\0')};
  EXPECT_LE(to_gid(longest).size(), 199U);
  EXPECT_EQ(from_gid(to_gid(longest)), longest);
}

TEST(Gid, of_others_is_left_alone) {
  for (const char* gid : {"", "my transaction", "1_2", "1_Z3R_",
                          "1_Z3RyaWR=_YnE=", "_Z3RyaWQ=_YnE=", "1__YnE=", "1_Z3RyaWQ=_YnE=_", "1_Z3Ry aWQ_YnE="}) {
    EXPECT_FALSE(from_gid(gid)) << gid;
  }
}

TEST(ResourceName, is_short_and_plain) {
  EXPECT_TRUE(is_resource_name("ledger-2.eu_west"));
  EXPECT_TRUE(is_resource_name(std::string(64, 'a')));
  for (const std::string& name :
       {std::string(), std::string("-a"), std::string("a b"), std::string("a/b"), std::string(65, 'a')}) {
    EXPECT_FALSE(is_resource_name(name)) << name;
  }
}

}  // namespace
}  // namespace assent
