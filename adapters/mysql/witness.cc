#include "assent/adapters/mysql/witness.h"

#include <algorithm>

#include "assent/adapters/mysql/sql_text.h"

namespace assent::mysql {
namespace {

constexpr std::size_t forget_batch = 512;  // one sync each
constexpr std::size_t forget_join = 64;    // keys: MySQL goes one call deeper for each
constexpr int settle_attempts = 10;

}  // namespace

Witness::Witness(const std::string& schema)
    : table_(identifier(schema) + ".`assent_witness`"), identity_table_(identity_table(schema)) {}

std::string Witness::key(const Xid& xid) const {
  return "gtrid=" + binary_literal(xid.undecided().gtrid) + " AND bqual=" + binary_literal(xid.bqual);
}

std::string Witness::insert(const Xid& xid, char state) const {
  return "INSERT INTO " + table_ + " VALUES (" + binary_literal(xid.undecided().gtrid) + ',' +
         binary_literal(xid.bqual) + ",'" + state + "',NULL)";
}

std::vector<std::string> Witness::decide(const Xid& xid, const std::string& decision) const {
  return {"UPDATE " + table_ + " SET decision=" + binary_literal(decision) + " WHERE " + key(xid),
          require("ROW_COUNT()=1 AND @@GLOBAL.innodb_flush_log_at_trx_commit=1 AND (@@GLOBAL.log_bin=0 OR "
                  "@@GLOBAL.sync_binlog=1)")};
}

Result<std::vector<KeptDecision>> Witness::decisions(Session& session) const {
  const Answer answer = session.run(
      {"SELECT HEX(gtrid),HEX(bqual),state,HEX(decision) FROM " + table_ + " WHERE decision IS NOT NULL OR state='r'"});
  if (!answer.ok()) return refused(*answer.failure);
  std::vector<KeptDecision> found;
  for (const mysql::Row& row : answer.rows[0]) {
    const auto bytes = [&row](std::size_t column) {
      std::string hex = row.at(column).value_or("");
      std::ranges::transform(hex, hex.begin(), [](char c) { return c >= 'A' ? static_cast<char>(c - 'A' + 'a') : c; });
      return from_hex(hex).value_or("");
    };
    found.push_back(
        {{Xid::assent_format, bytes(0), bytes(1)}, row.at(2) == "c" ? Fate::committed : Fate::rolled_back, bytes(3)});
  }
  if (std::ranges::count(found, Fate::committed, &KeptDecision::fate) != 0) {
    if (const auto durable = committed_for_good(session); !durable) return durable.failure();
  }
  return found;
}

std::vector<std::string> Witness::create_statements() const {
  return {
      "CREATE TABLE IF NOT EXISTS " + table_ +
          " (gtrid VARBINARY(64) NOT NULL, bqual VARBINARY(64) NOT NULL, state CHAR(1) CHARACTER SET ascii NOT NULL, "
          "decision BLOB NULL, PRIMARY KEY (gtrid, bqual)) ENGINE=InnoDB",
      "CREATE TABLE IF NOT EXISTS " + identity_table_ +
          " (one TINYINT NOT NULL, id CHAR(36) CHARACTER SET ascii NOT NULL, PRIMARY KEY (one)) ENGINE=InnoDB",
      "INSERT IGNORE INTO " + identity_table_ + " VALUES (1, UUID())"};
}

std::optional<Failure> Witness::create(Session& session) const {
  return session.run(create_statements()).failure;
}

Result<std::string> Witness::identity(Session& session) const {
  const std::vector<std::string> question = {"SELECT 1 FROM " + table_ + " LIMIT 0",
                                             "SELECT id FROM " + identity_table_ + " WHERE one=1"};
  Answer answer = session.run(question);
  if ((!answer.ok() && answer.failure->number == no_such_table) || (answer.ok() && !answer.value(1))) {
    if (const auto failure = create(session)) {
      Reply reply = refused(*failure);
      reply.text = "Assent's own tables are missing and could not be created: " + reply.text +
                   "; run once, with a user who may: ";
      for (const std::string& statement : create_statements()) reply.text += statement + "; ";
      return reply;
    }
    answer = session.run(question);
  }
  if (!answer.ok()) return refused(*answer.failure);
  if (!answer.value(1)) return Reply::not_done(Code::resource_error, identity_table_ + " is empty and stays so");
  return *answer.value(1);
}

Result<Witness::Row> Witness::look(Session& session, const Xid& xid) const {
  const Answer answer = session.run({question(session, xid)});
  if (!answer.ok()) {
    const int number = answer.failure->number;
    if (number == lock_wait_timeout || number == lock_nowait_mysql) return Row::locked;
    return refused(*answer.failure);
  }
  return row_of(answer.value(0));
}

std::string Witness::question(const Session& session, const Xid& xid) const {
  // A shared lock: two who look do not disturb each other. Under READ COMMITTED it leaves no gap locked.
  return "SELECT state FROM " + table_ + " WHERE " + key(xid) +
         (session.facts().mariadb ? " LOCK IN SHARE MODE NOWAIT" : " FOR SHARE NOWAIT");
}

Witness::Row Witness::row_of(const std::optional<std::string>& state) {
  if (!state) return Row::absent;
  return *state == "c" ? Row::committed : Row::rolled_back;
}

Result<Fate> Witness::settle(Session& session, const Xid& xid) const {
  Failure last;
  for (int attempt = 0; attempt < settle_attempts; ++attempt) {
    // Waits while the branch holds its row. If this succeeds, the branch's own row can never be: it is rolled back.
    const Answer answer = session.run({insert(xid, 'r')});
    if (answer.ok()) return Fate::rolled_back;
    last = *answer.failure;
    if (last.number == lock_deadlock) continue;  // two recoveries at once
    if (last.number != dup_entry) break;
    const Result<Row> row = look(session, xid);
    if (!row) return row.failure();
    if (*row == Row::committed) return committed_for_good(session);
    if (*row == Row::rolled_back) return Fate::rolled_back;
    last.text = "the witness of " + xid.text() + " is locked by a session that has not ended";
  }
  if (last.lost) return failed(last);
  if (last.number == lock_wait_timeout || last.number == lock_deadlock || last.number == dup_entry) {
    return Reply::not_done(Code::retry, last.describe());
  }
  return refused(last);
}

Result<Fate> Witness::committed_for_good(Session& session) const {
  const std::string mine = "CONCAT('forced ',CONNECTION_ID())";
  const Answer answer =
      session.run({"START TRANSACTION", "INSERT INTO " + table_ + " VALUES (" + mine + ",'','r',NULL)",
                   "DELETE FROM " + table_ + " WHERE gtrid=" + mine + " AND bqual=''", "COMMIT"});
  if (answer.ok()) return Fate::committed;
  if (!answer.failure->lost) static_cast<void>(session.run({"ROLLBACK"}));
  return failed(*answer.failure);
}

std::vector<std::string> Witness::force_rollback(const Xid& xid) const {
  return {"START TRANSACTION", insert(xid, 'r'), "DELETE FROM " + table_ + " WHERE " + key(xid), "COMMIT"};
}

Reply Witness::forget(Session& session, const std::vector<Xid>& xids) const {
  std::vector<const Xid*> ours;
  for (const Xid& xid : xids) {
    if (is_ours(xid)) ours.push_back(&xid);
  }
  for (std::size_t at = 0; at < ours.size(); at += forget_batch) {
    // Row by row by the whole primary key, whatever the optimizer thinks: a list of keys could be read by a scan, and
    // that waits for the rows of branches that are open. One transaction, and so one sync, for the batch.
    std::vector<std::string> statements = {"START TRANSACTION"};
    const std::size_t end = std::min(ours.size(), at + forget_batch);
    for (std::size_t first = at; first < end; first += forget_join) {
      std::string keys;
      for (std::size_t i = first; i < std::min(end, first + forget_join); ++i) {
        keys += keys.empty() ? "SELECT " : " UNION ALL SELECT ";
        keys += binary_literal(ours[i]->undecided().gtrid) + " AS g," + binary_literal(ours[i]->bqual) + " AS b";
      }
      statements.push_back("DELETE w FROM (" + keys + ") AS k STRAIGHT_JOIN " + table_ +
                           " AS w FORCE INDEX (PRIMARY) ON w.gtrid=k.g AND w.bqual=k.b");
    }
    statements.emplace_back("COMMIT");
    const Answer answer = session.run(statements);
    if (answer.ok()) continue;
    static_cast<void>(session.run({"ROLLBACK"}));
    return failed(*answer.failure);
  }
  return Reply::ok();
}

}  // namespace assent::mysql
