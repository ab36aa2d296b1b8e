#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "assent/tests/unit/sqlite/database.h"
#include "assent/xa/error.h"

namespace assent {
namespace {

using ::testing::Contains;
using ::testing::Field;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SqliteRefusalTest : public test::WithDatabase {
 protected:
  void expect_prepare_refused(Branch& branch, const std::string& reason) {
    const Reply reply = branch.prepare();
    EXPECT_FALSE(reply.is_ok());
    EXPECT_EQ(reply.certainty, Certainty::not_done) << describe(reply);
    EXPECT_THAT(reply.text, HasSubstr(reason));
    EXPECT_TRUE(branch.rollback().is_ok());
    EXPECT_EQ(balance(), "100");
    EXPECT_THAT(resource_->recover().value(), IsEmpty());
  }
};

TEST_F(SqliteRefusalTest, wal_mode_is_refused_with_what_to_do_and_delete_mode_works_again) {
  test::PlainConnection plain(path());
  ASSERT_EQ(plain.ask("PRAGMA journal_mode=WAL"), "wal");
  const auto refused = resource_->start(xid(1), {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.failure().text, HasSubstr("PRAGMA journal_mode=DELETE"));
  const auto probed = resource_->probe();
  ASSERT_FALSE(probed);
  EXPECT_THAT(probed.failure().text, HasSubstr("PRAGMA journal_mode=DELETE"));
  EXPECT_THAT(resource_->examine(), Contains(Field(&Finding::mend, HasSubstr("PRAGMA journal_mode=DELETE"))));
  ASSERT_EQ(plain.ask("PRAGMA journal_mode=DELETE"), "delete");
  EXPECT_TRUE(prepared(xid(2))->commit().is_ok());
}

TEST_F(SqliteRefusalTest, a_file_put_into_wal_mode_behind_a_pooled_session_is_refused) {
  ASSERT_TRUE(prepared(xid(1))->commit().is_ok());
  test::PlainConnection plain(path());
  ASSERT_EQ(plain.ask("PRAGMA journal_mode=WAL"), "wal");
  const auto refused = resource_->start(xid(2), {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.failure().text, HasSubstr("WAL"));
}

TEST_F(SqliteRefusalTest, every_journal_mode_but_delete_is_refused_on_a_borrowed_connection) {
  for (const std::string mode : {"TRUNCATE", "PERSIST", "MEMORY", "OFF"}) {
    test::PlainConnection own(path(), SQLITE_OPEN_READWRITE, Sqlite::vfs());
    own.ask("PRAGMA journal_mode=" + mode);
    const auto refused = Sqlite::adopt(*resource_, own.connection(), xid(1), {});
    ASSERT_FALSE(refused) << mode;
    EXPECT_THAT(refused.failure().text, HasSubstr("PRAGMA journal_mode=DELETE"));
  }
}

TEST_F(SqliteRefusalTest, synchronous_off_is_refused_on_a_borrowed_connection) {
  test::PlainConnection own(path(), SQLITE_OPEN_READWRITE, Sqlite::vfs());
  ASSERT_EQ(own.execute("PRAGMA synchronous=OFF"), SQLITE_OK);
  const auto refused = Sqlite::adopt(*resource_, own.connection(), xid(1), {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.failure().text, HasSubstr("PRAGMA synchronous=FULL"));
}

TEST_F(SqliteRefusalTest, settings_changed_inside_the_branch_are_refused_before_prepare) {
  auto branch = start(xid(1));
  ASSERT_EQ(test::execute(*branch, "UPDATE account SET balance = 60"), SQLITE_OK);
  test::execute(*branch, "PRAGMA locking_mode=EXCLUSIVE");
  expect_prepare_refused(*branch, "PRAGMA locking_mode=NORMAL");
}

TEST_F(SqliteRefusalTest, a_session_whose_locking_mode_was_changed_is_not_used_again) {
  auto branch = start(xid(1));
  test::execute(*branch, "PRAGMA locking_mode=EXCLUSIVE");
  branch.reset();
  EXPECT_EQ(balance(), "100");
  EXPECT_TRUE(prepared(xid(2))->commit().is_ok());
}

TEST_F(SqliteRefusalTest, writes_to_an_attached_database_are_refused_before_prepare) {
  make("side.db");
  test::PlainConnection own(path(), SQLITE_OPEN_READWRITE, Sqlite::vfs());
  ASSERT_EQ(own.execute("ATTACH '" + path("side.db") + "' AS side"), SQLITE_OK);
  {
    auto branch = std::move(Sqlite::adopt(*resource_, own.connection(), xid(1), {})).value();
    ASSERT_EQ(own.execute("UPDATE account SET balance = 60; UPDATE side.account SET balance = 60"), SQLITE_OK);
    expect_prepare_refused(*branch, "attached database 'side'");
  }
  EXPECT_EQ(test::PlainConnection(path("side.db")).ask("SELECT balance FROM account"), "100");
  // Reading it is no harm.
  auto branch = std::move(Sqlite::adopt(*resource_, own.connection(), xid(2), {})).value();
  ASSERT_EQ(own.execute("UPDATE account SET balance = (SELECT balance - 40 FROM side.account)"), SQLITE_OK);
  ASSERT_TRUE(branch->prepare().is_ok());
  ASSERT_TRUE(branch->commit().is_ok());
  EXPECT_EQ(balance(), "60");
}

TEST_F(SqliteRefusalTest, a_removed_witness_row_is_refused_before_prepare) {
  auto branch = start(xid(1));
  ASSERT_EQ(test::execute(*branch, "UPDATE account SET balance = 60; DELETE FROM assent_witness"), SQLITE_OK);
  expect_prepare_refused(*branch, "assent_witness");
}

TEST_F(SqliteRefusalTest, a_read_only_branch_that_lifts_its_restriction_and_writes_is_refused) {
  StartOptions options;
  options.read_only = true;
  auto branch = start(xid(1), options);
  ASSERT_EQ(test::execute(*branch, "PRAGMA query_only=0; UPDATE account SET balance = 60"), SQLITE_OK);
  expect_prepare_refused(*branch, "read-only");
}

TEST_F(SqliteRefusalTest, a_missing_file_is_not_created_unless_asked_for) {
  const auto refused = open("nowhere.db")->probe();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code, Code::resource_failed);
  EXPECT_THAT(refused.failure().text, HasSubstr("mode=rwc"));
  EXPECT_FALSE(std::filesystem::exists(path("nowhere.db")));
  EXPECT_TRUE(open("nowhere.db", "?mode=rwc")->probe());
  EXPECT_TRUE(std::filesystem::exists(path("nowhere.db")));
}

TEST_F(SqliteRefusalTest, a_file_with_two_hard_links_is_refused) {
  std::filesystem::create_hard_link(path(), path("other.db"));
  const auto refused = resource_->probe();
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.failure().text, HasSubstr("hard links"));
}

TEST_F(SqliteRefusalTest, a_file_that_is_no_database_is_refused) {
  ASSERT_EQ(::truncate(path().c_str(), 50), 0);
  EXPECT_FALSE(open("bank.db")->probe());
}

TEST_F(SqliteRefusalTest, urls_that_name_no_file_are_refused) {
  Registry registry;
  Sqlite::register_with(registry);
  for (const char* url : {"sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite://host/x.db", "sqlite://relative.db",
                          "sqlite:///x.db?mode=ro", "sqlite:///x.db?vfs=unix-none"}) {
    ResourceSpec spec;
    spec.name = "bank";
    EXPECT_THROW(
        {
          spec.url = ResourceUrl::parse(url);
          registry.open(spec);
        },
        Error)
        << url;
  }
}

TEST_F(SqliteRefusalTest, a_plain_connection_cannot_be_adopted) {
  test::PlainConnection plain(path());
  const auto refused = Sqlite::adopt(*resource_, plain.connection(), xid(1), {});
  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.failure().text, HasSubstr("Sqlite::vfs()"));
}

TEST_F(SqliteRefusalTest, a_connection_on_another_file_cannot_be_adopted) {
  make("side.db");
  test::PlainConnection own(path("side.db"), SQLITE_OPEN_READWRITE, Sqlite::vfs());
  const auto refused = Sqlite::adopt(*resource_, own.connection(), xid(1), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code, Code::invalid);
}

TEST_F(SqliteRefusalTest, a_connection_that_is_not_idle_cannot_be_adopted) {
  test::PlainConnection own(path(), SQLITE_OPEN_READWRITE, Sqlite::vfs());
  ASSERT_EQ(own.execute("BEGIN"), SQLITE_OK);
  EXPECT_EQ(Sqlite::adopt(*resource_, own.connection(), xid(1), {}).failure().code, Code::outside);
  ASSERT_EQ(own.execute("COMMIT"), SQLITE_OK);
  sqlite3_stmt* statement = nullptr;
  ASSERT_EQ(sqlite3_prepare_v2(&own.connection(), "SELECT 1 FROM account", -1, &statement, nullptr), SQLITE_OK);
  ASSERT_EQ(sqlite3_step(statement), SQLITE_ROW);
  EXPECT_EQ(Sqlite::adopt(*resource_, own.connection(), xid(1), {}).failure().code, Code::outside);
  sqlite3_finalize(statement);
  EXPECT_TRUE(Sqlite::adopt(*resource_, own.connection(), xid(1), {}));
}

TEST_F(SqliteRefusalTest, a_database_name_too_long_for_the_branchs_name_is_refused_at_start) {
  const std::string longest = std::string(210, 'b') + ".db";
  make(longest);
  auto resource = open(longest);
  const auto refused = resource->start(xid(1), {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.failure().code, Code::invalid);
}

TEST_F(SqliteRefusalTest, a_branch_of_one_name_is_started_once) {
  ASSERT_TRUE(prepared(xid(1))->commit().is_ok());
  EXPECT_EQ(resource_->start(xid(1), {}).failure().code, Code::duplicate);
  auto branch = prepared(xid(2));
  EXPECT_EQ(resource_->start(xid(2), {}).failure().code, Code::duplicate);
}

TEST_F(SqliteRefusalTest, examine_finds_nothing_wrong_with_a_good_database) {
  ASSERT_TRUE(resource_->probe());
  for (const Finding& finding : resource_->examine()) {
    EXPECT_EQ(finding.severity, Finding::Severity::good) << finding.what;
  }
  EXPECT_THAT(beside(), IsEmpty());
}

}  // namespace
}  // namespace assent
