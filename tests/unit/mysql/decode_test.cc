#include <gtest/gtest.h>

#include "assent/adapters/mysql/manager.h"
#include "assent/adapters/mysql/sql_text.h"

namespace assent::mysql {
namespace {

const std::string gtrid{"\x01\x00'\xff", 4};

TEST(RecoveredRows, are_decoded_as_mariadb_writes_them) {
  const auto branch = decode_recovered({"1095978580", "4", "2", gtrid + "bq"}, true);
  ASSERT_TRUE(branch);
  EXPECT_EQ(branch->xid.format_id, Xid::assent_format);
  EXPECT_EQ(branch->xid.gtrid, gtrid);
  EXPECT_EQ(branch->xid.bqual, "bq");
  EXPECT_EQ(branch->raw, "0x010027ff,0x6271,1095978580");
}

TEST(RecoveredRows, are_decoded_as_mysql_writes_them) {
  const auto branch = decode_recovered({"1095978580", "4", "2", "0x010027FF6271"}, false);
  ASSERT_TRUE(branch);
  EXPECT_EQ(branch->xid.gtrid, gtrid);
  EXPECT_EQ(branch->xid.bqual, "bq");
}

TEST(RecoveredRows, without_a_bqual_are_branches_too) {
  const auto branch = decode_recovered({"1", "1", "0", "a"}, true);
  ASSERT_TRUE(branch);
  EXPECT_EQ(branch->xid.gtrid, "a");
  EXPECT_EQ(branch->xid.bqual, "");
  EXPECT_EQ(branch->raw, "0x61,'',1");
}

TEST(RecoveredRows, that_contradict_themselves_are_shown_and_are_no_xid) {
  for (const Row& row : {Row{"1", "4", "2", "abc"}, Row{"1", "65", "0", std::string(65, 'a')},
                         Row{"1", "-1", "4", "abc"}, Row{"1", "", "", "abc"}, Row{"", "1", "2", "abc"},
                         Row{"99999999999999999999", "1", "2", "abc"}, Row{"1", "1 ", "2", "abc"}}) {
    const auto branch = decode_recovered(row, true);
    ASSERT_TRUE(branch);
    EXPECT_EQ(branch->xid.format_id, 0);
    EXPECT_EQ(branch->note, "not an Xid");
  }
  EXPECT_EQ(decode_recovered({"1", "1", "0", "0xZZ"}, false)->xid.format_id, 0);
  EXPECT_FALSE(decode_recovered({"1", "1", "0"}, true));
  EXPECT_FALSE(decode_recovered({"1", "1", "0", std::nullopt}, true));
}

TEST(SqlText, keeps_quotes_and_every_byte) {
  EXPECT_EQ(binary_literal(gtrid), "0x010027ff");
  EXPECT_EQ(binary_literal(""), "''");
  EXPECT_EQ(identifier("a`b"), "`a``b`");
  const Xid one{Xid::assent_format, "ab", "c"};
  const Xid two{Xid::assent_format, "a", "bc"};
  EXPECT_NE(carrier_lock(one), carrier_lock(two));
  EXPECT_NE(carrier_lock(one), recovery_lock(one));
}

}  // namespace
}  // namespace assent::mysql
