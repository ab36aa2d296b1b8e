#include <gtest/gtest.h>
#include <sqlite3.h>

#include <filesystem>
#include <string>
#include <vector>

#include "assent/tests/crash/sqlite/run_worker.h"
#include "assent/tests/crash/sqlite/worker.h"

namespace assent {
namespace {

namespace fs = std::filesystem;

enum class Contents { before, after, mixed };

std::string ask(const std::string& database, const std::string& sql) {
  sqlite3* connection = nullptr;
  std::string out = "error";
  if (sqlite3_open_v2(database.c_str(), &connection, SQLITE_OPEN_READWRITE, nullptr) == SQLITE_OK) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v2(connection, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW) {
      out = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
    }
    sqlite3_finalize(statement);
  }
  sqlite3_close(connection);
  return out;
}

Contents contents(const std::string& database) {
  EXPECT_EQ(ask(database, "PRAGMA integrity_check"), "ok");
  const std::string seen = ask(database,
                               "SELECT (SELECT group_concat(balance) FROM account) || ' ' || "
                               "(SELECT count(*) FROM pile WHERE x <> zeroblob(1000)) || ' ' || "
                               "(SELECT count(*) FROM sqlite_schema WHERE name = 'made')") +
                           ' ' + ask(database, "PRAGMA user_version");
  if (seen == "100,0 0 0 0") return Contents::before;
  if (seen == "60,40 20 1 7") return Contents::after;
  ADD_FAILURE() << "neither before nor after: " << seen;
  return Contents::mixed;
}

/// What is resolved how, after the worker was killed before each of its calls in turn.
class SqliteCrashTest : public ::testing::Test {
 protected:
  SqliteCrashTest() : database_(scratch_.path() + "/bank.db") {
    sqlite3* connection = nullptr;
    EXPECT_EQ(sqlite3_open(database_.c_str(), &connection), SQLITE_OK);
    EXPECT_EQ(sqlite3_exec(connection, test::crash_schema, nullptr, nullptr, nullptr), SQLITE_OK);
    sqlite3_close(connection);
    EXPECT_TRUE(test::crash_resource(database_)->probe());
    save(fresh_);
  }

  void save(const test::ScratchDirectory& to) { copy(scratch_, to); }
  void restore(const test::ScratchDirectory& from) { copy(from, scratch_); }

  /// `deed` killed before call 1, 2, 3, … until it is through; `check` sees what each kill left.
  template <class Check>
  void sweep(const std::string& deed, const test::ScratchDirectory& from, Check check) {
    long kill_at = 1;
    for (;; ++kill_at) {
      restore(from);
      const test::Ran ran = test::run_worker(database_, deed, 1, kill_at);
      ASSERT_NE(ran.killed, ran.acknowledged) << ran.output;
      SCOPED_TRACE(deed + ", killed before call " + std::to_string(kill_at));
      check(ran.acknowledged);
      if (HasFailure() || ran.acknowledged) break;
    }
    RecordProperty("kills", static_cast<int>(kill_at - 1));
    EXPECT_GT(kill_at, 4) << "the watching library saw nothing";
  }

  std::vector<PreparedBranch> in_doubt() {
    auto listed = test::crash_resource(database_)->recover();
    EXPECT_TRUE(listed);
    return listed ? std::move(listed).value() : std::vector<PreparedBranch>{};
  }

  /// Whatever was left behind, the next branch works and leaves nothing.
  void expect_all_well() {
    auto resource = test::crash_resource(database_);
    auto branch = resource->start(test::crash_xid(99), {});
    ASSERT_TRUE(branch) << describe(branch.failure());
    const Reply prepared = (*branch)->prepare();
    ASSERT_TRUE(prepared.is_ok()) << describe(prepared);
    const Reply committed = (*branch)->commit();
    ASSERT_TRUE(committed.is_ok()) << describe(committed);
    for (const auto& entry : fs::directory_iterator(scratch_.path())) {
      EXPECT_EQ(entry.path().filename(), "bank.db");
    }
  }

  /// Resolves what is listed, and expects contents, fate and the rest to agree with that.
  void resolve_and_check(bool commit, Contents when_not_listed) {
    auto resource = test::crash_resource(database_);
    const bool listed = !in_doubt().empty();
    if (listed) {
      EXPECT_EQ(ask(database_, "SELECT balance FROM account"), "error") << "a plain reader got in";
      EXPECT_EQ(resource->fate(test::crash_xid(1), "").value(), Fate::in_progress);
      EXPECT_TRUE(resource->probe()) << "recovery could not tell which database it is";
    }
    const Reply reply = commit ? resource->commit(test::crash_xid(1), {}) : resource->rollback(test::crash_xid(1), {});
    if (listed) {
      EXPECT_TRUE(reply.is_ok()) << describe(reply);
    } else if (!reply.is_ok()) {
      EXPECT_EQ(reply.code, Code::not_found) << describe(reply);
    }
    const Contents expected = listed ? (commit ? Contents::after : Contents::before) : when_not_listed;
    EXPECT_EQ(contents(database_), expected);
    EXPECT_EQ(resource->fate(test::crash_xid(1), "").value(),
              expected == Contents::after ? Fate::committed : Fate::rolled_back);
    EXPECT_TRUE(in_doubt().empty());
    expect_all_well();
  }

  void resolve_both_ways(Contents when_not_listed) {
    save(crashed_);
    for (const bool commit : {true, false}) {
      SCOPED_TRACE(commit ? "then committed" : "then rolled back");
      restore(crashed_);
      resolve_and_check(commit, when_not_listed);
    }
  }

  void leave_in_doubt() {
    restore(fresh_);
    ASSERT_TRUE(test::run_worker(database_, "prepare", 1, 0).acknowledged);
    save(prepared_);
  }

  static void copy(const test::ScratchDirectory& from, const test::ScratchDirectory& to) {
    to.clear();
    fs::copy(from.path(), to.path(), fs::copy_options::recursive);
  }

  test::ScratchDirectory scratch_;
  test::ScratchDirectory fresh_;
  test::ScratchDirectory crashed_;
  test::ScratchDirectory prepared_;
  const std::string database_;
};

TEST_F(SqliteCrashTest, a_kill_anywhere_in_prepare_leaves_all_or_nothing) {
  sweep("prepare", fresh_, [&](bool acknowledged) {
    EXPECT_TRUE(!acknowledged || in_doubt().size() == 1);
    resolve_both_ways(Contents::before);
  });
}

TEST_F(SqliteCrashTest, a_kill_anywhere_from_start_to_prepare_leaves_all_or_nothing) {
  sweep("start", fresh_, [&](bool acknowledged) {
    EXPECT_TRUE(!acknowledged || in_doubt().size() == 1);
    resolve_both_ways(Contents::before);
  });
}

TEST_F(SqliteCrashTest, a_kill_anywhere_in_commit_leaves_it_in_doubt_or_committed) {
  sweep("commit", fresh_, [&](bool acknowledged) {
    EXPECT_TRUE(!acknowledged || in_doubt().empty());
    resolve_both_ways(Contents::after);
  });
}

TEST_F(SqliteCrashTest, a_kill_anywhere_in_rollback_leaves_it_in_doubt_or_rolled_back) {
  sweep("rollback", fresh_, [&](bool acknowledged) {
    EXPECT_TRUE(!acknowledged || in_doubt().empty());
    resolve_both_ways(Contents::before);
  });
}

TEST_F(SqliteCrashTest, a_kill_anywhere_in_recoverys_commit_is_mended_by_the_next) {
  leave_in_doubt();
  sweep("recover-commit", prepared_, [&](bool acknowledged) {
    EXPECT_TRUE(!acknowledged || in_doubt().empty());
    resolve_both_ways(Contents::after);
  });
}

TEST_F(SqliteCrashTest, a_kill_anywhere_in_recoverys_rollback_is_mended_by_the_next) {
  leave_in_doubt();
  sweep("recover-rollback", prepared_, [&](bool acknowledged) {
    EXPECT_TRUE(!acknowledged || in_doubt().empty());
    resolve_both_ways(Contents::before);
  });
}

TEST_F(SqliteCrashTest, a_kill_anywhere_in_a_one_phase_commit_is_settled_by_the_witness) {
  sweep("one-phase", fresh_, [&](bool acknowledged) {
    auto resource = test::crash_resource(database_);
    const Fate fate = resource->settle(test::crash_xid(1)).value();
    EXPECT_TRUE(!acknowledged || fate == Fate::committed);
    EXPECT_EQ(contents(database_), fate == Fate::committed ? Contents::after : Contents::before);
    EXPECT_EQ(resource->settle(test::crash_xid(1)).value(), fate);
    expect_all_well();
  });
}

TEST_F(SqliteCrashTest, what_a_crash_left_in_doubt_is_shown_with_owner_age_and_file) {
  leave_in_doubt();
  const auto listed = in_doubt();
  ASSERT_EQ(listed.size(), 1U);
  EXPECT_EQ(listed[0].xid, test::crash_xid(1));
  EXPECT_EQ(listed[0].database, database_);
  EXPECT_FALSE(listed[0].owner.empty());
  ASSERT_TRUE(listed[0].age);
  EXPECT_LT(listed[0].age->count(), 3600);
  EXPECT_TRUE(listed[0].note.empty()) << listed[0].note;
}

}  // namespace
}  // namespace assent
