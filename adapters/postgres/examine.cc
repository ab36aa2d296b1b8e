#include "assent/adapters/postgres/examine.h"

#include <cstdlib>

#include "assent/adapters/postgres/session.h"
#include "assent/adapters/postgres/witness.h"

namespace assent::detail::postgres {
namespace {

using Severity = Finding::Severity;

class Examination {
 public:
  Examination(const Settings& settings, std::size_t pool_size) : settings_(settings), pool_size_(pool_size) {}

  std::vector<Finding> run() {
    auto session = Session::open(settings_);
    if (!session) {
      say(Severity::problem, session.failure().text, "check host, port, user, password and pg_hba.conf");
      return std::move(findings_);
    }
    slots(**session);
    durability(**session);
    standby(**session);
    pooler(**session);
    tls(**session);
    witness(**session);
    old_branches(**session);
    return std::move(findings_);
  }

 private:
  void say(Severity severity, std::string what, std::string mend = {}) {
    findings_.push_back({severity, std::move(what), std::move(mend)});
  }

  // The first row of a question, or a finding that it could not be asked.
  bool ask(Session& session, const std::string& sql, Answer& answer) {
    answer = session.exec(sql);
    if (answer.ok() && answer.rows() > 0) return true;
    say(Severity::problem, "the server does not answer \"" + sql.substr(0, 60) + "…\": " + answer.text,
        "run the statement in psql and grant what it lacks");
    return false;
  }

  void slots(Session& session) {
    Answer answer;
    if (!ask(session, "SELECT current_setting('max_prepared_transactions'), count(*) FROM pg_prepared_xacts", answer)) {
      return;
    }
    const auto most = std::strtoul(answer.field(0, 0).c_str(), nullptr, 10);
    const auto used = std::strtoul(answer.field(0, 1).c_str(), nullptr, 10);
    const std::string mend =
        "ALTER SYSTEM SET max_prepared_transactions = " + std::to_string(std::max<std::size_t>(64, 2 * pool_size_)) +
        "; then restart the server";
    if (most == 0) {
      say(Severity::problem, "max_prepared_transactions is 0: no branch can be prepared", mend);
    } else if (most < pool_size_) {
      say(Severity::problem,
          "max_prepared_transactions is " + std::to_string(most) + ", less than the pool of " +
              std::to_string(pool_size_) + " sessions: under load prepares will fail",
          mend);
    } else if (used * 2 > most) {
      say(Severity::advice, std::to_string(used) + " of " + std::to_string(most) + " prepared transactions are in use",
          mend);
    } else {
      say(Severity::good,
          "max_prepared_transactions is " + std::to_string(most) + ", " + std::to_string(used) + " in use");
    }
  }

  void durability(Session& session) {
    Answer answer;
    if (!ask(session,
             "SELECT current_setting('fsync'), current_setting('full_page_writes'), "
             "current_setting('synchronous_commit')",
             answer)) {
      return;
    }
    const std::size_t before = findings_.size();
    if (answer.field(0, 0) != "on") {
      say(Severity::problem, "fsync is off: a crash of the machine loses prepared and committed branches",
          "ALTER SYSTEM SET fsync = on; SELECT pg_reload_conf()");
    }
    if (answer.field(0, 1) != "on") {
      say(Severity::problem, "full_page_writes is off: a crash of the machine can tear pages",
          "ALTER SYSTEM SET full_page_writes = on; SELECT pg_reload_conf()");
    }
    if (answer.field(0, 2) == "off") {
      say(Severity::advice,
          "synchronous_commit is off: a crash can undo a one-phase commit that was answered (prepared branches are "
          "safe)",
          "ALTER ROLE CURRENT_USER SET synchronous_commit = on");
    }
    if (findings_.size() == before) say(Severity::good, "fsync, full_page_writes and synchronous_commit are on");
  }

  void standby(Session& session) {
    Answer answer;
    if (!ask(session, "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only')", answer)) return;
    if (answer.field(0, 0) == "t") {
      say(Severity::problem, "the server is a standby: it takes no writes", "point the URL at the primary");
    } else if (answer.field(0, 1) == "on") {
      say(Severity::advice, "default_transaction_read_only is on for this user; branches say READ WRITE themselves",
          "ALTER ROLE CURRENT_USER SET default_transaction_read_only = off");
    } else {
      say(Severity::good, "the server takes writes");
    }
  }

  // A pooler in transaction or statement mode hands statements outside of a transaction to any server session, and its
  // own cancel key is not a server's process number.
  void pooler(Session& session) {
    const std::string key = std::to_string(PQbackendPID(session.raw()));
    for (int turn = 0; turn < 2; ++turn) {
      Answer answer;
      if (!ask(session, "SELECT pg_backend_pid()", answer)) return;
      if (answer.field(0, 0) != key) {
        say(Severity::problem,
            "a connection pooler stands in between (session " + key + " is server process " + answer.field(0, 0) +
                "): it may switch servers between statements, so what a session is told can end elsewhere",
            "point the URL at the server itself, or at a pooler's database with pool_mode = session");
        return;
      }
    }
    say(Severity::good, "no pooler stands between this program and the server");
  }

  void tls(Session& session) {
    if (PQsslInUse(session.raw()) == 1) {
      say(Severity::good, "the session is encrypted (TLS)");
      return;
    }
    const char* host = PQhost(session.raw());
    const std::string where = host == nullptr ? "" : host;
    if (where.starts_with('/') || where == "localhost" || where == "127.0.0.1" || where == "::1") {
      say(Severity::good, "the session stays on this machine");
    } else {
      say(Severity::advice, "the session to " + where + " is not encrypted",
          "add sslmode=verify-full&sslrootcert=FILE to the URL");
    }
  }

  void witness(Session& session) {
    if (witness_usable(session, false)) {
      say(Severity::good, "Assent's table " + std::string(witness_table) + " is there");
      return;
    }
    Answer answer;
    if (!ask(session, "SELECT to_regclass('" + std::string(witness_table) + "') IS NOT NULL, quote_ident(current_user)",
             answer)) {
      return;
    }
    const std::string grant =
        "GRANT SELECT, INSERT, DELETE ON " + std::string(witness_table) + " TO " + answer.field(0, 1);
    if (answer.field(0, 0) == "t") {
      say(Severity::problem,
          "this user lacks rights on Assent's table " + std::string(witness_table) +
              ": a one-phase commit whose answer is lost cannot be settled",
          grant);
    } else {
      say(Severity::advice,
          "Assent's table " + std::string(witness_table) +
              " is missing: a one-phase commit whose answer is lost cannot be settled",
          std::string(witness_ddl) + "; " + grant);
    }
  }

  void old_branches(Session& session) {
    const Answer answer = session.exec(
        "SELECT gid, owner, database, extract(epoch FROM now() - prepared)::bigint FROM pg_prepared_xacts WHERE "
        "prepared < "
        "now() - interval '5 minutes' ORDER BY prepared LIMIT 20");
    if (!answer.ok()) {
      say(Severity::problem, "pg_prepared_xacts cannot be read: " + answer.text,
          "GRANT SELECT ON pg_prepared_xacts TO PUBLIC");
      return;
    }
    for (int row = 0; row < answer.rows(); ++row) {
      const std::string gid = answer.field(row, 0);
      const auto xid = from_gid(gid);
      const bool ours = xid && xid->transaction();
      say(Severity::advice,
          "the prepared transaction " + (xid ? xid->text() : one_line(gid)) + " of " + answer.field(row, 1) +
              " in database " + answer.field(row, 2) + " is " + answer.field(row, 3) +
              " s old: it holds its locks and holds back vacuum",
          ours ? "assent resolve"
               : "ask its owner; in database " + answer.field(row, 2) + ": ROLLBACK PREPARED " + text_literal(gid));
    }
    if (answer.rows() == 0) say(Severity::good, "no old prepared transaction is about");
  }

  const Settings& settings_;
  const std::size_t pool_size_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> examine_server(const Settings& settings, std::size_t pool_size) {
  return Examination(settings, pool_size).run();
}

}  // namespace assent::detail::postgres
