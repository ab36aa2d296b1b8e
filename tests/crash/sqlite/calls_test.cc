#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sqlite3.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <vector>

#include "assent/tests/crash/sqlite/run_worker.h"
#include "assent/tests/crash/sqlite/worker.h"

namespace assent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

const std::string parked = "bank.db-assent-l-000000000000dead-0000000000000001-1@bank";

/// What the process asked of the file system, in order: from this, what each power loss can leave behind is argued in
/// adapters/sqlite/database_place.cc.
class SqliteCallsTest : public ::testing::Test {
 protected:
  SqliteCallsTest() : database_(scratch_.path() + "/bank.db") {
    sqlite3* connection = nullptr;
    EXPECT_EQ(sqlite3_open(database_.c_str(), &connection), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(connection, test::crash_schema, nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(connection);
    EXPECT_TRUE(test::crash_resource(database_)->probe());
  }

  /// Without reads and locks; writes to one file in a row as one; the directory as "directory".
  std::vector<std::string> calls_of(const std::string& deed, int sequence = 1) {
    const test::Ran ran = test::run_worker(database_, deed, sequence, 0);
    EXPECT_TRUE(ran.acknowledged) << ran.output;
    std::vector<std::string> calls;
    std::istringstream lines(ran.output);
    const std::string directory = scratch_.path().substr(scratch_.path().rfind('/') + 1);
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with("lock ") || line.starts_with("unlock ")) continue;
      if (line == "sync " + directory) line = "sync directory";
      if (calls.empty() || calls.back() != line || !line.starts_with("write ")) calls.push_back(line);
    }
    return calls;
  }

  test::ScratchDirectory scratch_;
  const std::string database_;
};

TEST_F(SqliteCallsTest, a_prepare_has_five_syncs_each_before_what_depends_on_it) {
  EXPECT_THAT(calls_of("plain-prepare"),
              ElementsAre("write bank.db-journal", "sync bank.db-journal", "sync directory", "write bank.db-journal",
                          "sync bank.db-journal", "write bank.db", "sync bank.db", "mkdir " + parked,
                          "exchange " + parked + " bank.db-journal", "sync directory"));
}

TEST_F(SqliteCallsTest, a_commit_has_one_sync_between_the_guard_and_the_parked_journal) {
  EXPECT_THAT(calls_of("commit"), ElementsAre("rmdir bank.db-journal", "sync directory", "unlink " + parked));
}

TEST_F(SqliteCallsTest, a_rollback_makes_the_names_durable_before_it_undoes_a_page) {
  EXPECT_THAT(calls_of("rollback"), ElementsAre("exchange " + parked + " bank.db-journal", "sync directory",
                                                "rmdir " + parked, "sync bank.db-journal", "truncate bank.db",
                                                "write bank.db", "sync bank.db", "unlink bank.db-journal"));
}

TEST_F(SqliteCallsTest, recovery_makes_the_same_moves_in_the_same_order) {
  calls_of("plain-prepare");
  EXPECT_THAT(calls_of("recover-commit"), ElementsAre("rmdir bank.db-journal", "sync directory", "unlink " + parked));
}

TEST_F(SqliteCallsTest, a_one_phase_commit_has_five_syncs_the_last_for_the_journals_deletion) {
  EXPECT_THAT(
      calls_of("plain-one-phase"),
      ElementsAre("write bank.db-journal", "sync bank.db-journal", "sync directory", "write bank.db-journal",
                  "sync bank.db-journal", "write bank.db", "sync bank.db", "unlink bank.db-journal", "sync directory"));
}

TEST_F(SqliteCallsTest, a_read_only_branch_writes_and_syncs_nothing) {
  EXPECT_THAT(calls_of("read-only", 2), IsEmpty());
}

}  // namespace
}  // namespace assent
