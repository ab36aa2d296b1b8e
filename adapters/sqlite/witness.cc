#include "assent/adapters/sqlite/witness.h"

namespace assent::sqlite {
namespace {

constexpr const char* tables =
    "CREATE TABLE IF NOT EXISTS main.assent_witness("
    "gtrid BLOB NOT NULL, bqual TEXT NOT NULL, state TEXT NOT NULL, PRIMARY KEY(gtrid, bqual)) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS main.assent_identity(id TEXT NOT NULL);"
    "INSERT INTO main.assent_identity SELECT lower(hex(randomblob(16))) "
    "WHERE NOT EXISTS (SELECT 1 FROM main.assent_identity);";

class Statement {
 public:
  Statement(Session& session, const char* sql) {
    code_ = sqlite3_prepare_v2(&session.connection(), sql, -1, &statement_, nullptr);
  }
  ~Statement() { sqlite3_finalize(statement_); }
  Statement(const Statement&) = delete;
  Statement& operator=(const Statement&) = delete;

  void bind(const Xid& xid) {
    if (statement_ == nullptr) return;
    // The bytes outlive the statement: no copy. A null pointer would bind NULL, so an empty bqual needs its own text.
    sqlite3_bind_blob(statement_, 1, xid.gtrid.data(), static_cast<int>(xid.gtrid.size()), SQLITE_STATIC);
    sqlite3_bind_text(statement_, 2, xid.bqual.c_str(), static_cast<int>(xid.bqual.size()), SQLITE_STATIC);
  }
  void bind_state(const char* state) {
    if (statement_ != nullptr) sqlite3_bind_text(statement_, 3, state, -1, SQLITE_STATIC);
  }
  int step() {
    if (statement_ == nullptr) return code_;
    return sqlite3_step(statement_);
  }
  std::string column() const {
    const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, 0));
    return text == nullptr ? "" : text;
  }

 private:
  sqlite3_stmt* statement_ = nullptr;
  int code_ = SQLITE_OK;
};

int result(Session& session, int step) {
  return step == SQLITE_DONE || step == SQLITE_ROW ? SQLITE_OK : sqlite3_extended_errcode(&session.connection());
}

constexpr const char* committed = "committed";
constexpr const char* rolled_back = "rolled_back";

}  // namespace

int create_tables(Session& session) {
  if (read_identifier(session)) {
    Statement witness(session, "SELECT state FROM main.assent_witness LIMIT 1");
    const int step = witness.step();
    if (step == SQLITE_DONE || step == SQLITE_ROW) return SQLITE_OK;
  }
  const DurableCommit durable(session.file());
  int code = session.execute("BEGIN IMMEDIATE");
  if (code == SQLITE_OK) code = session.execute(tables);
  if (code == SQLITE_OK) code = session.execute("COMMIT");
  if (code != SQLITE_OK && session.in_transaction()) session.execute("ROLLBACK");
  return code;
}

std::optional<std::string> read_identifier(Session& session) {
  return session.ask("SELECT id FROM main.assent_identity");
}

int insert_witness(Session& session, const Xid& xid, Witness says) {
  Statement insert(session, "INSERT INTO main.assent_witness(gtrid, bqual, state) VALUES(?1, ?2, ?3)");
  insert.bind(xid);
  insert.bind_state(says == Witness::committed ? committed : rolled_back);
  return result(session, insert.step());
}

int read_witness(Session& session, const Xid& xid, Witness& found) {
  Statement select(session, "SELECT state FROM main.assent_witness WHERE gtrid = ?1 AND bqual = ?2");
  select.bind(xid);
  const int step = select.step();
  found = Witness::none;
  if (step == SQLITE_ROW) found = select.column() == committed ? Witness::committed : Witness::rolled_back;
  return result(session, step);
}

int delete_witness(Session& session, const Xid& xid) {
  Statement remove(session, "DELETE FROM main.assent_witness WHERE gtrid = ?1 AND bqual = ?2");
  remove.bind(xid);
  return result(session, remove.step());
}

}  // namespace assent::sqlite
