#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <tuple>

#include "assent/tests/unit/sqlite/database.h"

namespace assent {
namespace {

/// Everything that SQLite can write, done in a branch that is prepared, loses its owner, and is then finished.
struct Case {
  const char* name;
  const char* before;  ///< by a plain connection
  const char* work;    ///< in the branch
  const char* question;
  const char* rolled_back;
  const char* committed;
};

const Case cases[] = {
    {"ddl", "CREATE TABLE old(x); INSERT INTO old VALUES(1)",
     "CREATE TABLE made(x); CREATE INDEX made_x ON made(x); INSERT INTO made VALUES(5); DROP TABLE old",
     "SELECT group_concat(name) FROM (SELECT name FROM sqlite_schema WHERE name IN ('made','made_x','old') ORDER BY 1)",
     "old", "made,made_x"},
    {"tables_without_primary_key_and_equal_rows", "CREATE TABLE t(a, b); INSERT INTO t VALUES(1, 1)",
     "INSERT INTO t VALUES(2, 10), (2, 10), (NULL, NULL)", "SELECT count(*) FROM t", "1", "4"},
    {"without_rowid", "CREATE TABLE t(k PRIMARY KEY, v) WITHOUT ROWID", "INSERT INTO t VALUES('k', 'v')",
     "SELECT count(*) FROM t", "0", "1"},
    {"triggers",
     "CREATE TABLE t(a); CREATE TABLE l(a); CREATE TRIGGER g AFTER INSERT ON t BEGIN INSERT INTO l "
     "VALUES(new.a); END",
     "INSERT INTO t VALUES(1), (2)", "SELECT count(*) FROM l", "0", "2"},
    {"cascades",
     "CREATE TABLE p(id INTEGER PRIMARY KEY); CREATE TABLE c(p REFERENCES p ON DELETE CASCADE); INSERT INTO p "
     "VALUES(1); INSERT INTO c VALUES(1), (1)",
     "DELETE FROM p", "SELECT count(*) FROM c", "2", "0"},
    {"blobs_with_overflow_pages", "CREATE TABLE b(x)", "INSERT INTO b VALUES(randomblob(500000))",
     "SELECT coalesce(sum(length(x)), 0) FROM b", "0", "500000"},
    {"autoincrement", "CREATE TABLE a(id INTEGER PRIMARY KEY AUTOINCREMENT); INSERT INTO a VALUES(NULL)",
     "INSERT INTO a VALUES(NULL), (NULL)", "SELECT seq FROM sqlite_sequence WHERE name = 'a'", "1", "3"},
    {"full_text", "CREATE VIRTUAL TABLE f USING fts5(z); INSERT INTO f VALUES('good bye')",
     "INSERT INTO f VALUES('hello world'); DELETE FROM f WHERE f MATCH 'bye'",
     "SELECT group_concat(z) FROM f('hello OR bye')", "good bye", "hello world"},
    {"alter_table", "CREATE TABLE t(a); INSERT INTO t VALUES(1)",
     "ALTER TABLE t ADD COLUMN b DEFAULT 3; ALTER TABLE t RENAME COLUMN a TO c",
     "SELECT group_concat(name) FROM pragma_table_info('t')", "a", "c,b"},
    {"user_version", "PRAGMA user_version = 1", "PRAGMA user_version = 7", "PRAGMA user_version", "1", "7"},
    {"a_file_that_shrinks", "CREATE TABLE t(x); INSERT INTO t VALUES(zeroblob(300000)); PRAGMA auto_vacuum = 0",
     "DELETE FROM t", "SELECT coalesce(sum(length(x)), 0) FROM t", "300000", "0"},
    {"a_cache_that_spills", "CREATE TABLE t(x)",
     "PRAGMA cache_size = 5; WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000) INSERT "
     "INTO t SELECT randomblob(900) FROM n; UPDATE account SET balance = balance - 1",
     "SELECT count(*) FROM t", "0", "3000"},
};

class SqliteStatementsTest : public test::WithDatabase, public ::testing::WithParamInterface<std::tuple<Case, bool>> {};

TEST_P(SqliteStatementsTest, are_kept_or_undone_as_a_whole) {
  const auto& [what, commit] = GetParam();
  ASSERT_EQ(test::PlainConnection(path()).execute(what.before), SQLITE_OK);
  resource_ = open("bank.db", "?foreign_keys=on");
  {
    auto branch = start(xid(1));
    ASSERT_EQ(test::execute(*branch, what.work), SQLITE_OK) << sqlite3_errmsg(&Sqlite::session(*branch));
    const Reply reply = branch->prepare();
    ASSERT_TRUE(reply.is_ok()) << describe(reply);
  }
  const Reply reply = commit ? resource_->commit(xid(1), {}) : resource_->rollback(xid(1), {});
  ASSERT_TRUE(reply.is_ok()) << describe(reply);
  EXPECT_EQ(test::PlainConnection(path()).ask(what.question), commit ? what.committed : what.rolled_back);
  EXPECT_EQ(integrity(), "ok");
}

INSTANTIATE_TEST_SUITE_P(Every, SqliteStatementsTest, ::testing::Combine(::testing::ValuesIn(cases), ::testing::Bool()),
                         [](const auto& each) {
                           return std::string(std::get<0>(each.param).name) +
                                  (std::get<1>(each.param) ? "_committed" : "_rolled_back");
                         });

}  // namespace
}  // namespace assent
