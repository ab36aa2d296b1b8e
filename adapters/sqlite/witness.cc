#include "assent/adapters/sqlite/witness.h"

namespace assent::sqlite {
namespace {

constexpr const char* tables =
    "CREATE TABLE IF NOT EXISTS main.assent_witness("
    "gtrid BLOB NOT NULL, bqual TEXT NOT NULL, state TEXT NOT NULL, decision BLOB, PRIMARY KEY(gtrid, bqual)) WITHOUT "
    "ROWID;"
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
    const std::string gtrid = xid.undecided().gtrid;
    sqlite3_bind_blob(statement_, 1, gtrid.data(), static_cast<int>(gtrid.size()), SQLITE_TRANSIENT);
    // The text outlives the statement: no copy. A null pointer would bind NULL, so an empty bqual needs its own text.
    sqlite3_bind_text(statement_, 2, xid.bqual.c_str(), static_cast<int>(xid.bqual.size()), SQLITE_STATIC);
  }
  void bind_decision(const std::string& decision) {
    if (statement_ == nullptr) return;
    sqlite3_bind_blob(statement_, 3, decision.data(), static_cast<int>(decision.size()), SQLITE_STATIC);
  }
  void bind_state(const char* state) {
    if (statement_ != nullptr) sqlite3_bind_text(statement_, 3, state, -1, SQLITE_STATIC);
  }
  int step() {
    if (statement_ == nullptr) return code_;
    return sqlite3_step(statement_);
  }
  std::string column() const { return bytes(0); }
  std::string bytes(int column) const {
    const auto* blob = static_cast<const char*>(sqlite3_column_blob(statement_, column));
    return blob == nullptr ? std::string()
                           : std::string(blob, static_cast<std::size_t>(sqlite3_column_bytes(statement_, column)));
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

int keep_decision(Session& session, const Xid& xid, const std::string& decision) {
  Statement update(session, "UPDATE main.assent_witness SET decision = ?3 WHERE gtrid = ?1 AND bqual = ?2");
  update.bind(xid);
  update.bind_decision(decision);
  const int code = result(session, update.step());
  // The row is there: whoever asks looked for it in the same transaction.
  return code != SQLITE_OK || sqlite3_changes(&session.connection()) == 1 ? code : SQLITE_CONSTRAINT;
}

int read_decisions(Session& session, std::vector<KeptDecision>& found) {
  Statement select(session,
                   "SELECT gtrid, bqual, state, decision FROM main.assent_witness "
                   "WHERE decision IS NOT NULL OR state = 'rolled_back'");
  int step = select.step();
  for (; step == SQLITE_ROW; step = select.step()) {
    found.push_back({{Xid::assent_format, select.bytes(0), select.bytes(1)},
                     select.bytes(2) == committed ? Fate::committed : Fate::rolled_back,
                     select.bytes(3)});
  }
  return result(session, step);
}

int delete_witness(Session& session, const Xid& xid) {
  Statement remove(session, "DELETE FROM main.assent_witness WHERE gtrid = ?1 AND bqual = ?2");
  remove.bind(xid);
  return result(session, remove.step());
}

}  // namespace assent::sqlite
