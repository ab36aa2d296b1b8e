#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include "assent/adapters/sqlite/database_place.h"
#include "assent/tests/unit/sqlite/database.h"

namespace assent {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

class SqliteRecoveryTest : public test::WithDatabase {};

TEST_F(SqliteRecoveryTest, lists_and_commits_a_branch_whose_owner_has_gone) {
  left_in_doubt(xid(1));
  const auto listed = resource_->recover().value();
  ASSERT_THAT(listed, SizeIs(1));
  EXPECT_EQ(listed[0].xid, xid(1));
  EXPECT_EQ(resource_->fate(xid(1), "").value(), Fate::in_progress);
  EXPECT_TRUE(resource_->commit(xid(1), {}).is_ok());
  EXPECT_EQ(balance(), "60");
  EXPECT_EQ(resource_->fate(xid(1), "").value(), Fate::committed);
  EXPECT_THAT(beside(), IsEmpty());
}

TEST_F(SqliteRecoveryTest, rolls_back_a_branch_whose_owner_has_gone) {
  left_in_doubt(xid(1));
  EXPECT_TRUE(resource_->rollback(xid(1), {}).is_ok());
  EXPECT_EQ(balance(), "100");
  EXPECT_EQ(resource_->fate(xid(1), "").value(), Fate::rolled_back);
  EXPECT_THAT(beside(), IsEmpty());
}

TEST_F(SqliteRecoveryTest, a_branch_is_finished_once) {
  left_in_doubt(xid(1));
  EXPECT_EQ(resource_->commit(xid(2), {}).code, Code::not_found);
  EXPECT_TRUE(resource_->commit(xid(1), {}).is_ok());
  EXPECT_EQ(resource_->commit(xid(1), {}).code, Code::not_found);
  EXPECT_EQ(resource_->rollback(xid(1), {}).code, Code::not_found);
  EXPECT_EQ(balance(), "60");
}

TEST_F(SqliteRecoveryTest, answers_retry_while_the_owner_lives) {
  auto branch = prepared(xid(1));
  EXPECT_EQ(resource_->commit(xid(1), {}).code, Code::retry);
  EXPECT_EQ(resource_->rollback(xid(1), {}).code, Code::retry);
  EXPECT_FALSE(resource_->carrier_gone(xid(1), {}).value());
  const auto listed = resource_->recover().value();
  ASSERT_THAT(listed, SizeIs(1));
  EXPECT_THAT(listed[0].note, HasSubstr("still holds"));
  EXPECT_TRUE(branch->commit().is_ok());
  EXPECT_EQ(balance(), "60");
  EXPECT_TRUE(resource_->carrier_gone(xid(1), {}).value());
}

TEST_F(SqliteRecoveryTest, the_carrier_of_an_open_branch_is_not_gone) {
  auto branch = start(xid(1));
  EXPECT_FALSE(resource_->carrier_gone(xid(1), {}).value());
  EXPECT_EQ(resource_->fate(xid(1), "").value(), Fate::in_progress);
  branch.reset();
  EXPECT_TRUE(resource_->carrier_gone(xid(1), {}).value());
  EXPECT_EQ(resource_->fate(xid(1), "").value(), Fate::rolled_back);
}

TEST_F(SqliteRecoveryTest, everybody_is_held_off_by_an_error_while_in_doubt) {
  test::PlainConnection early(path());
  ASSERT_EQ(early.ask("SELECT balance FROM account"), "100");
  left_in_doubt(xid(1));
  EXPECT_THAT(early.ask("SELECT balance FROM account"), StartsWith("error"));
  EXPECT_NE(early.execute("UPDATE account SET balance = 0"), SQLITE_OK);
  EXPECT_THAT(balance(), StartsWith("error"));
  EXPECT_THAT(test::PlainConnection("file:" + path() + "?mode=ro").ask("SELECT balance FROM account"),
              StartsWith("error"));
  EXPECT_NE(test::PlainConnection(path()).execute("VACUUM"), SQLITE_OK);
  EXPECT_THAT(test::PlainConnection(path()).ask("PRAGMA journal_mode=WAL"), StartsWith("error"));
  const auto next = resource_->start(xid(2), {});
  ASSERT_FALSE(next);
  EXPECT_THAT(next.failure().text, HasSubstr(xid(1).text()));
  ASSERT_TRUE(resource_->rollback(xid(1), {}).is_ok());
  EXPECT_EQ(early.ask("SELECT balance FROM account"), "100");
}

TEST_F(SqliteRecoveryTest, the_sqlite3_shell_is_held_off_too) {
  left_in_doubt(xid(1));
  const std::string shell = "sqlite3 '" + path() + "' 'SELECT balance FROM account' >/dev/null 2>&1";
  EXPECT_NE(std::system(shell.c_str()), 0);
  ASSERT_TRUE(resource_->commit(xid(1), {}).is_ok());
  EXPECT_EQ(std::system(shell.c_str()), 0);
}

TEST_F(SqliteRecoveryTest, an_immutable_reader_and_a_copy_see_the_unfinished_pages) {
  left_in_doubt(xid(1));
  EXPECT_EQ(test::PlainConnection("file:" + path() + "?immutable=1").ask("SELECT balance FROM account"), "60");
  std::filesystem::copy_file(path(), path("copy.db"));
  EXPECT_EQ(test::PlainConnection(path("copy.db")).ask("SELECT balance FROM account"), "60");
}

TEST_F(SqliteRecoveryTest, tells_its_identity_while_in_doubt) {
  const Identity before = resource_->probe().value().identity;
  left_in_doubt(xid(1));
  EXPECT_EQ(resource_->probe().value().identity, before);
  EXPECT_EQ(open("bank.db", "", "bank2")->probe().value().identity, before);
  make("shop.db");
  EXPECT_NE(open("shop.db")->probe().value().identity, before);
}

TEST_F(SqliteRecoveryTest, one_file_by_two_resources_links_and_paths_is_one_database) {
  std::filesystem::create_symlink(path(), path("link.db"));
  std::filesystem::create_directory(path("sub"));
  std::filesystem::create_directory_symlink(directory_, path("sub/up"));
  auto by_link = open("link.db");
  auto by_path = open("sub/up/bank.db");
  auto branch = std::move(by_link->start(xid(1), {})).value();
  ASSERT_EQ(test::execute(*branch, "UPDATE account SET balance = 60"), SQLITE_OK);
  ASSERT_TRUE(branch->prepare().is_ok());
  EXPECT_EQ(by_path->commit(xid(1), {}).code, Code::retry);
  branch.reset();
  EXPECT_THAT(by_path->recover().value(), SizeIs(1));
  EXPECT_TRUE(by_path->commit(xid(1), {}).is_ok());
  EXPECT_EQ(by_link->fate(xid(1), "").value(), Fate::committed);
  EXPECT_EQ(balance(), "60");
}

TEST_F(SqliteRecoveryTest, a_relative_path_is_that_of_the_directory_in_which_the_resource_was_opened) {
  const std::filesystem::path here = std::filesystem::current_path();
  std::filesystem::current_path(directory_);
  Registry registry;
  Sqlite::register_with(registry);
  ResourceSpec spec;
  spec.name = "bank";
  spec.url = ResourceUrl::parse("sqlite:///bank.db");
  auto relative = registry.open(spec);
  std::filesystem::current_path(here);
  left_in_doubt(xid(1));
  EXPECT_THAT(relative->recover().value(), SizeIs(1));
  EXPECT_TRUE(relative->commit(xid(1), {}).is_ok());
}

TEST_F(SqliteRecoveryTest, tells_the_fate_of_earlier_branches_while_another_is_in_doubt) {
  ASSERT_TRUE(prepared(xid(1))->commit().is_ok());
  ASSERT_TRUE(prepared(xid(2))->rollback().is_ok());
  left_in_doubt(xid(3));
  EXPECT_EQ(resource_->fate(xid(1), "").value(), Fate::committed);
  EXPECT_EQ(resource_->fate(xid(2), "").value(), Fate::rolled_back);
  EXPECT_EQ(resource_->fate(xid(3), "").value(), Fate::in_progress);
  EXPECT_THAT(resource_->recover().value(), SizeIs(1));
}

TEST_F(SqliteRecoveryTest, settles_by_writing_the_opposite) {
  auto branch = start(xid(1));
  EXPECT_EQ(resource_->settle(xid(1)).failure().code, Code::resource_failed);
  ASSERT_TRUE(branch->commit_one_phase().is_ok());
  EXPECT_EQ(resource_->settle(xid(1)).value(), Fate::committed);
  EXPECT_EQ(resource_->settle(xid(2)).value(), Fate::rolled_back);
  EXPECT_EQ(resource_->settle(xid(2)).value(), Fate::rolled_back);
  EXPECT_EQ(resource_->fate(xid(2), "").value(), Fate::rolled_back);
  EXPECT_EQ(resource_->start(xid(2), {}).failure().code, Code::duplicate);
}

TEST_F(SqliteRecoveryTest, forgets_the_witnesses_it_is_told_to) {
  for (const std::uint64_t sequence : {1, 2, 3}) ASSERT_TRUE(start(xid(sequence))->commit_one_phase().is_ok());
  EXPECT_TRUE(resource_->forget({xid(1), xid(3), xid(9)}).is_ok());
  EXPECT_EQ(resource_->fate(xid(1), "").value(), Fate::rolled_back);
  EXPECT_EQ(resource_->fate(xid(2), "").value(), Fate::committed);
}

TEST_F(SqliteRecoveryTest, a_guard_that_a_person_removed_is_a_commit_and_shows_as_one) {
  left_in_doubt(xid(1));
  ASSERT_TRUE(std::filesystem::remove(path("bank.db-journal")));
  EXPECT_THAT(resource_->recover().value(), IsEmpty());
  EXPECT_EQ(resource_->fate(xid(1), "").value(), Fate::committed);
  EXPECT_EQ(resource_->rollback(xid(1), {}).code, Code::not_found);
  EXPECT_TRUE(prepared(xid(2))->commit().is_ok());
  EXPECT_THAT(beside(), IsEmpty());
}

TEST_F(SqliteRecoveryTest, pages_undone_under_the_guard_are_never_committed) {
  std::filesystem::copy_file(path(), path("old.db"));
  ASSERT_TRUE(resource_->probe());
  std::filesystem::copy_file(path(), path("old.db"), std::filesystem::copy_options::overwrite_existing);
  left_in_doubt(xid(1));
  std::filesystem::copy_file(path("old.db"), path(), std::filesystem::copy_options::overwrite_existing);
  const Reply reply = resource_->commit(xid(1), {});
  EXPECT_EQ(reply.code, Code::resource_error) << describe(reply);
  EXPECT_TRUE(resource_->rollback(xid(1), {}).is_ok());
  EXPECT_EQ(balance(), "100");
}

TEST_F(SqliteRecoveryTest, two_journals_behind_one_guard_need_a_person) {
  left_in_doubt(xid(1));
  const sqlite::DatabasePlace place(path());
  std::filesystem::copy_file(place.parked(xid(1)), place.parked(xid(2)));
  const auto listed = resource_->recover().value();
  ASSERT_THAT(listed, SizeIs(2));
  EXPECT_FALSE(listed[0].ours_to_finish);
  EXPECT_FALSE(listed[1].ours_to_finish);
  EXPECT_EQ(resource_->commit(xid(1), {}).code, Code::resource_error);
  EXPECT_EQ(resource_->rollback(xid(2), {}).code, Code::resource_error);
}

TEST_F(SqliteRecoveryTest, a_forked_child_touches_neither_branch_nor_lock) {
  auto branch = prepared(xid(1));
  const pid_t child = ::fork();
  if (child == 0) {
    const bool refused =
        branch->commit().code == Code::protocol_error && resource_->commit(xid(1), {}).code == Code::resource_error;
    branch.reset();
    resource_.reset();
    ::_exit(refused ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_THAT(balance(), StartsWith("error"));
  EXPECT_EQ(resource_->commit(xid(1), {}).code, Code::retry);
  EXPECT_TRUE(branch->rollback().is_ok());
  EXPECT_EQ(balance(), "100");
}

TEST_F(SqliteRecoveryTest, says_what_the_branch_blocks) {
  left_in_doubt(xid(1));
  EXPECT_THAT(resource_->impact(xid(1)).value().note, HasSubstr("whole database file"));
  EXPECT_EQ(resource_->impact(xid(2)).value().locks, 0U);
}

}  // namespace
}  // namespace assent
