#include "assent/adapters/postgres/answer.h"

#include <cctype>

namespace assent::detail::postgres {
namespace {

constexpr std::size_t longest_text = 500;

std::string hint_for(std::string_view sqlstate) {
  if (sqlstate == "55000") return " (set max_prepared_transactions in postgresql.conf and restart the server)";
  if (sqlstate == "53200")
    return " (max_prepared_transactions is used up: finish old prepared transactions or raise it)";
  if (sqlstate == "0A000") return " (PostgreSQL cannot prepare a transaction that did this)";
  return {};
}

}  // namespace

std::string_view Answer::tag() const {
  return results.empty() ? std::string_view{} : std::string_view{PQcmdStatus(results.back().get())};
}

const PGresult* Answer::table() const {
  for (auto each = results.rbegin(); each != results.rend(); ++each) {
    if (PQresultStatus(each->get()) == PGRES_TUPLES_OK) return each->get();
  }
  return nullptr;
}

int Answer::rows() const {
  return table() == nullptr ? 0 : PQntuples(table());
}

std::string Answer::field(int row, int column) const {
  if (is_null(row, column)) return {};
  return {PQgetvalue(table(), row, column), static_cast<std::size_t>(PQgetlength(table(), row, column))};
}

bool Answer::is_null(int row, int column) const {
  const PGresult* rows_of = table();
  if (rows_of == nullptr || row >= PQntuples(rows_of) || column >= PQnfields(rows_of)) return true;
  return PQgetisnull(rows_of, row, column) == 1;
}

Code code_of(std::string_view sqlstate) {
  if (sqlstate == "40001" || sqlstate == "40P01") return Code::rb_deadlock;
  if (sqlstate.starts_with("23") || sqlstate == "40002") return Code::rb_integrity;
  if (sqlstate == "57014" || sqlstate == "55P03" || sqlstate == "25P03") return Code::rb_timeout;
  if (sqlstate == "25P02" || sqlstate == "40000") return Code::rb_rollback;
  if (sqlstate == "42710") return Code::duplicate;
  if (sqlstate.starts_with("22") || sqlstate.starts_with("P0") || sqlstate.starts_with("21")) return Code::rb_other;
  return Code::resource_error;
}

Reply failure_of(const Answer& answer) {
  if (answer.unsent) return Reply::not_done(Code::resource_failed, answer.text);
  // Idle-in-transaction timeout strikes only a session that waits for its client: what came later was not executed.
  if (answer.sqlstate == "25P03") return Reply::not_done(Code::rb_timeout, answer.text);
  if (answer.lost || answer.sqlstate.empty()) return Reply::unknown(Code::resource_failed, answer.text);
  return Reply::not_done(code_of(answer.sqlstate), answer.text + hint_for(answer.sqlstate));
}

Reply finish_reply(const Answer& answer) {
  if (answer.ok()) return Reply::ok();
  if (answer.unsent || answer.lost || answer.sqlstate.empty()) return failure_of(answer);
  if (answer.sqlstate == "42704") return Reply::unknown(Code::not_found, answer.text);
  // 55000: another session is finishing it at this moment.
  const bool again = answer.sqlstate == "55000" || is_rollback(code_of(answer.sqlstate));
  return Reply::not_done(again ? Code::retry : Code::resource_error, answer.text);
}

std::string one_line(std::string_view text) {
  std::string line;
  for (const char each : text) {
    if (line.size() >= longest_text) break;
    if (std::isspace(static_cast<unsigned char>(each)) == 0) {
      line += each;
    } else if (!line.empty() && line.back() != ' ') {
      line += ' ';
    }
  }
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

}  // namespace assent::detail::postgres
