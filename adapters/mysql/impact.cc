#include "assent/adapters/mysql/manager.h"
#include "assent/adapters/mysql/sql_text.h"

namespace assent::mysql {
namespace {

constexpr std::size_t max_statement_text = 200;

std::string need(const Settings& settings, bool mariadb) {
  return "to see who waits, run: GRANT PROCESS ON *.* TO '" + settings.user + "'@'%'" +
         (mariadb ? "" : "; GRANT SELECT ON performance_schema.* TO '" + settings.user + "'@'%'");
}

}  // namespace

Result<Impact> measure_impact(Session& session, const Settings& settings, const Witness& witness, const Xid& xid) {
  Impact out;
  const bool mariadb = session.facts().mariadb;
  const auto row = witness.look(session, xid);
  if (!row) return row.failure();
  if (*row != Witness::Row::locked) {
    out.locks = 0;
    out.note = "the branch holds nothing";
    return out;
  }
  // The server does not tell which of its transactions has which Xid. Without a session are only the prepared ones.
  const std::string orphans = "(SELECT trx_id FROM information_schema.innodb_trx WHERE trx_mysql_thread_id=0)";
  const std::string waits =
      mariadb ? "SELECT t.trx_mysql_thread_id,TIMESTAMPDIFF(SECOND,t.trx_wait_started,NOW()),t.trx_query FROM "
                "information_schema.innodb_lock_waits w JOIN information_schema.innodb_trx t ON "
                "t.trx_id=w.requesting_trx_id WHERE w.blocking_trx_id IN " +
                    orphans
              : "SELECT t.trx_mysql_thread_id,TIMESTAMPDIFF(SECOND,t.trx_wait_started,NOW()),t.trx_query FROM "
                "performance_schema.data_lock_waits w JOIN information_schema.innodb_trx t ON "
                "t.trx_id=w.REQUESTING_ENGINE_TRANSACTION_ID WHERE w.BLOCKING_ENGINE_TRANSACTION_ID IN " +
                    orphans;
  const Answer answer =
      session.run({"SELECT COUNT(*),COALESCE(SUM(trx_rows_locked),0) FROM information_schema.innodb_trx WHERE "
                   "trx_mysql_thread_id=0",
                   waits + " LIMIT 50"});
  if (!answer.ok()) {
    if (answer.failure->lost) return failed(*answer.failure);
    out.note = need(settings, mariadb) + " (" + answer.failure->describe() + ")";
    return out;
  }
  const std::string count = answer.value(0).value_or("0");
  if (count == "1") {
    out.locks = std::stoull(answer.rows[0][0][1].value_or("0"));
  } else if (count == "0") {
    out.note = "the branch is still carried by a session";
  } else {
    out.note = count + " branches are prepared here, and the server does not tell which of them blocks whom";
  }
  for (const Row& wait : answer.rows[1]) {
    out.waiting_sessions.push_back("session " + wait[0].value_or("?") + " waits for " + wait[1].value_or("?") +
                                   " s with: " + wait[2].value_or("?").substr(0, max_statement_text));
  }
  return out;
}

}  // namespace assent::mysql
