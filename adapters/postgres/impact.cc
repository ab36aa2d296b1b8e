#include "assent/adapters/postgres/impact.h"

#include <charconv>

namespace assent::detail::postgres {
namespace {

// The locks of the prepared transaction number $X. No process holds them, and they share one virtual transaction, which
// is the preparing session's until a restart and "-1/<number>" after it: known by the lock on the number itself.
constexpr const char* held =
    "WITH held AS (SELECT * FROM pg_locks WHERE granted AND pid IS NULL AND virtualtransaction = (SELECT "
    "virtualtransaction FROM pg_locks WHERE granted AND pid IS NULL AND locktype = 'transactionid' AND "
    "transactionid::text = $X LIMIT 1)) ";

// A waiter for a row waits for the holder's number; one for a table, page or advisory key waits for the same object.
constexpr const char* waiters =
    "SELECT a.pid, coalesce(a.usename, ''), extract(epoch FROM now() - a.query_start)::bigint, left(a.query, 200) "
    "FROM pg_locks w JOIN held h ON h.locktype = w.locktype AND h.database IS NOT DISTINCT FROM w.database AND "
    "h.relation "
    "IS NOT DISTINCT FROM w.relation AND h.page IS NOT DISTINCT FROM w.page AND h.tuple IS NOT DISTINCT FROM w.tuple "
    "AND "
    "h.transactionid IS NOT DISTINCT FROM w.transactionid AND h.classid IS NOT DISTINCT FROM w.classid AND "
    "h.objid IS NOT DISTINCT FROM w.objid AND h.objsubid IS NOT DISTINCT FROM w.objsubid "
    "JOIN pg_stat_activity a ON a.pid = w.pid WHERE NOT w.granted GROUP BY 1, 2, 3, 4 ORDER BY 3 DESC LIMIT 100";

std::string with_number(std::string text, const std::string& number) {
  text.replace(text.find("$X"), 2, text_literal(number));
  return text;
}

}  // namespace

Result<Impact> impact_of(Session& session, const Xid& xid) {
  const Answer prepared = session.exec(
      "SELECT transaction::text, extract(epoch FROM now() - prepared)::bigint FROM pg_prepared_xacts WHERE gid = " +
      text_literal(to_gid(xid)));
  if (!prepared.ok()) return failure_of(prepared);
  if (prepared.rows() == 0) return Reply::unknown(Code::not_found, "no such prepared transaction is listed");
  Impact impact;
  impact.note = "prepared " + prepared.field(0, 1) + " s ago; holds back vacuum in the whole cluster";
  const std::string locks_of = with_number(held, prepared.field(0, 0));
  const Answer locks = session.exec(locks_of + "SELECT count(*) FROM held");
  if (!locks.ok()) return failure_of(locks);
  const std::string count = locks.field(0, 0);
  std::uint64_t number = 0;
  std::from_chars(count.data(), count.data() + count.size(), number);
  impact.locks = number;

  const Answer waiting = session.exec(locks_of + waiters);
  if (!waiting.ok()) return failure_of(waiting);
  for (int row = 0; row < waiting.rows(); ++row) {
    impact.waiting_sessions.push_back("pid " + waiting.field(row, 0) + " (" + waiting.field(row, 1) + ") for " +
                                      waiting.field(row, 2) + " s: " + one_line(waiting.field(row, 3)));
  }
  return impact;
}

}  // namespace assent::detail::postgres
