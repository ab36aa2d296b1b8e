#include "assent/adapters/postgres/impact.h"

#include <charconv>

namespace assent::detail::postgres {
namespace {

// A prepared transaction's locks carry the virtual transaction "-1/<xid>". A waiter for a row waits for the holder's
// transaction number; one for a table, page or advisory key waits for the same object.
constexpr const char* waiters =
    "SELECT a.pid, coalesce(a.usename, ''), extract(epoch FROM now() - a.query_start)::bigint, left(a.query, 200) "
    "FROM pg_locks w JOIN pg_locks h ON h.granted AND h.virtualtransaction = '-1/' || $X AND "
    "h.locktype = w.locktype AND h.database IS NOT DISTINCT FROM w.database AND h.relation IS NOT DISTINCT FROM "
    "w.relation AND h.page IS NOT DISTINCT FROM w.page AND h.tuple IS NOT DISTINCT FROM w.tuple AND "
    "h.transactionid IS NOT DISTINCT FROM w.transactionid AND h.classid IS NOT DISTINCT FROM w.classid AND "
    "h.objid IS NOT DISTINCT FROM w.objid AND h.objsubid IS NOT DISTINCT FROM w.objsubid "
    "JOIN pg_stat_activity a ON a.pid = w.pid WHERE NOT w.granted GROUP BY 1, 2, 3, 4 ORDER BY 3 DESC LIMIT 100";

std::string with_number(std::string text, const std::string& number) {
  text.replace(text.find("$X"), 2, number);
  return text;
}

}  // namespace

Result<Impact> impact_of(Session& session, const Xid& xid) {
  const Answer prepared = session.exec(
      "SELECT transaction::text, extract(epoch FROM now() - prepared)::bigint, (SELECT count(*) FROM pg_locks WHERE "
      "virtualtransaction = '-1/' || transaction::text) FROM pg_prepared_xacts WHERE gid = " +
      text_literal(to_gid(xid)));
  if (!prepared.ok()) return failure_of(prepared);
  if (prepared.rows() == 0) return Reply::unknown(Code::not_found, "no such prepared transaction is listed");
  Impact impact;
  std::uint64_t locks = 0;
  const std::string count = prepared.field(0, 2);
  std::from_chars(count.data(), count.data() + count.size(), locks);
  impact.locks = locks;
  impact.note = "prepared " + prepared.field(0, 1) + " s ago; holds back vacuum in the whole cluster";

  const Answer waiting = session.exec(with_number(waiters, text_literal(prepared.field(0, 0))));
  if (!waiting.ok()) return failure_of(waiting);
  for (int row = 0; row < waiting.rows(); ++row) {
    impact.waiting_sessions.push_back("pid " + waiting.field(row, 0) + " (" + waiting.field(row, 1) + ") for " +
                                      waiting.field(row, 2) + " s: " + one_line(waiting.field(row, 3)));
  }
  return impact;
}

}  // namespace assent::detail::postgres
