#include "assent/adapters/postgres/witness.h"

#include <algorithm>

namespace assent::detail::postgres {
namespace {

constexpr std::size_t forget_at_once = 500;

// "off" would answer COMMIT before it is on disk. What else the setting says is the administrator's: "on" in place of
// "local" could wait for a standby that is away.
const std::string durable_commit =
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'; ";

// A bqual that is no resource name is shown in hex, behind a mark that no resource name begins with.
std::string bqual_of(const Xid& xid) {
  return is_resource_name(xid.bqual) ? xid.bqual : "\\x" + to_hex(xid.bqual);
}

std::string key_of(const Xid& xid) {
  return bytes_literal(xid.undecided().gtrid) + ',' + text_literal(bqual_of(xid));
}

// An element of an array's text form. What bqual_of() gives holds no quote.
void add_element(std::string& array, std::string_view element) {
  array += array.empty() ? "{\"" : ",\"";
  for (const char each : element) {
    if (each == '\\') array += '\\';
    array += each;
  }
  array += '"';
}

bool is_number(std::string_view text) {
  return !text.empty() && text.size() <= 20 &&
         std::all_of(text.begin(), text.end(), [](char each) { return each >= '0' && each <= '9'; });
}

// The xid8 of well-formed evidence of this very system; empty otherwise.
std::string_view number_in(std::string_view evidence, std::string_view system_identifier) {
  if (!evidence.starts_with("pg:")) return {};
  evidence.remove_prefix(3);
  const std::size_t colon = evidence.find(':');
  if (colon == std::string_view::npos || evidence.substr(0, colon) != system_identifier) return {};
  evidence.remove_prefix(colon + 1);
  return is_number(evidence) ? evidence : std::string_view{};
}

}  // namespace

const std::string_view witness_table = "public.assent_witness";
const std::string_view witness_ddl =
    "CREATE TABLE IF NOT EXISTS public.assent_witness ("
    "gtrid bytea NOT NULL, bqual text NOT NULL, state text NOT NULL, decision bytea, PRIMARY KEY (gtrid, bqual))";

bool witness_usable(Session& session, bool create) {
  const auto usable = [&] {
    const Answer answer = session.exec(
        "SELECT has_table_privilege(oid, 'INSERT') AND has_table_privilege(oid, 'SELECT') AND "
        "has_table_privilege(oid, 'DELETE') FROM pg_class WHERE oid = to_regclass('" +
        std::string(witness_table) + "')");
    return answer.ok() && answer.field(0, 0) == "t";
  };
  if (usable()) return true;
  // Two processes that create it at once: one gets a unique violation, and then finds the table.
  if (create) static_cast<void>(session.exec(std::string(witness_ddl)));
  return create && usable();
}

std::string witness_insert(const Xid& xid) {
  return "INSERT INTO " + std::string(witness_table) + " SELECT " + key_of(xid) +
         ",'committed' WHERE pg_current_xact_id_if_assigned() IS NOT NULL";
}

std::string decision_insert(const Xid& xid, const std::string& decision) {
  return durable_commit + "INSERT INTO " + std::string(witness_table) + " VALUES (" + key_of(xid) + ",'committed'," +
         bytes_literal(decision) + ")";
}

Result<std::vector<KeptDecision>> decisions(Session& session) {
  const Answer answer =
      session.exec("SELECT encode(gtrid, 'hex'), bqual, state, encode(decision, 'hex') FROM " +
                   std::string(witness_table) + " WHERE decision IS NOT NULL OR state = 'rolled_back'");
  if (!answer.ok()) return failure_of(answer);
  std::vector<KeptDecision> found;
  for (int row = 0; row < answer.rows(); ++row) {
    auto gtrid = from_hex(answer.field(row, 0));
    auto decision = from_hex(answer.field(row, 3));
    // Never: not hex; the server encoded it.
    if (!gtrid || !decision) continue;
    found.push_back({{Xid::assent_format, *std::move(gtrid), answer.field(row, 1)},
                     answer.field(row, 2) == "committed" ? Fate::committed : Fate::rolled_back,
                     *std::move(decision)});
  }
  return found;
}

std::string evidence_of(std::string_view system_identifier, std::string_view xid8) {
  return "pg:" + std::string(system_identifier) + ':' + std::string(xid8);
}

Result<Fate> fate(Session& session, const Xid& xid, const std::string& evidence, bool witness) {
  const std::string_view number = number_in(evidence, session.system_identifier());
  std::string sql = "SELECT EXISTS (SELECT FROM pg_prepared_xacts WHERE gid = " + text_literal(to_gid(xid)) + "), ";
  sql += number.empty() ? "NULL" : "pg_xact_status('" + std::string(number) + "'::xid8)";
  sql += witness
             ? ", (SELECT state FROM " + std::string(witness_table) + " WHERE (gtrid, bqual) = (" + key_of(xid) + "))"
             : ", NULL";
  const Answer answer = session.exec(sql);
  // 22023: the number lies in this server's future. The database was set back behind it.
  if (answer.sqlstate == "22023" && !answer.lost) return Fate::unknown;
  if (!answer.ok()) return failure_of(answer);
  const std::string status = answer.field(0, 1);
  const std::string row = answer.field(0, 2);
  if (answer.field(0, 0) == "t" || status == "in progress") return Fate::in_progress;
  if (status == "committed" || row == "committed") return Fate::committed;
  if (status == "aborted" || row == "rolled_back") return Fate::rolled_back;
  return Fate::unknown;
}

Result<Fate> settle(Session& session, const Xid& xid) {
  const std::string table(witness_table);
  // Read committed, whatever the role's default: the SELECT must see a row whose owner committed while we waited.
  const Answer answer =
      session.exec("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL lock_timeout = '3s'; " + durable_commit +
                   "INSERT INTO " + table + " VALUES (" + key_of(xid) +
                   ",'rolled_back') ON CONFLICT DO NOTHING; SELECT state FROM " + table + " WHERE (gtrid, bqual) = (" +
                   key_of(xid) + "); COMMIT");
  if (!answer.ok()) {
    Reply failure = failure_of(answer);
    static_cast<void>(session.exec("ROLLBACK"));
    if (failure.code == Code::rb_timeout) {
      return Reply::not_done(Code::retry, "the branch is still at work: its witness row waits behind it");
    }
    return failure;
  }
  if (answer.tag() != "COMMIT") return Reply::unknown(Code::retry, "the settlement was not committed");
  const std::string state = answer.field(0, 0);
  if (state == "committed") return Fate::committed;
  if (state == "rolled_back") return Fate::rolled_back;
  return Reply::not_done(Code::retry, "the witness row vanished meanwhile");
}

Reply forget(Session& session, const std::vector<Xid>& finished) {
  for (std::size_t first = 0; first < finished.size(); first += forget_at_once) {
    // Two lists, which the planner joins; a list of pairs is a thousand comparisons to plan.
    std::string gtrids;
    std::string bquals;
    const std::size_t last = std::min(finished.size(), first + forget_at_once);
    for (std::size_t each = first; each < last; ++each) {
      add_element(gtrids, to_hex(finished[each].undecided().gtrid));
      add_element(bquals, bqual_of(finished[each]));
    }
    // A crash that loses this deletion leaves rows behind that harm nothing: no forced write for it.
    const Answer answer = session.exec(
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL synchronous_commit = off; DELETE FROM " +
        std::string(witness_table) + " USING unnest(" + text_literal(gtrids + '}') + "::text[]," +
        text_literal(bquals + '}') + "::text[]) AS over(g, b) WHERE gtrid = decode(over.g, 'hex') AND bqual = over.b");
    if (!answer.ok()) return failure_of(answer);
  }
  return Reply::ok();
}

}  // namespace assent::detail::postgres
