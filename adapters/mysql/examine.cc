#include <map>

#include "assent/adapters/mysql/manager.h"
#include "assent/adapters/mysql/sql_text.h"

namespace assent::mysql {
namespace {

using Severity = Finding::Severity;
using Variables = std::map<std::string, std::string>;

bool is_on(const Variables& variables, const std::string& name) {
  const auto found = variables.find(name);
  return found != variables.end() && (found->second == "ON" || found->second == "1");
}

std::string value(const Variables& variables, const std::string& name) {
  const auto found = variables.find(name);
  return found == variables.end() ? "" : found->second;
}

/// "8.0.29-debian" as 8'000'029; what is no number counts as 0.
int version_number(const std::string& text) {
  int parts[3] = {0, 0, 0};
  std::size_t at = 0;
  for (const char c : text) {
    if (c == '.' && at < 2) {
      ++at;
    } else if (c >= '0' && c <= '9' && parts[at] < 1000) {
      parts[at] = parts[at] * 10 + (c - '0');
    } else {
      break;
    }
  }
  return parts[0] * 1'000'000 + parts[1] * 1'000 + parts[2];
}

class Examination {
 public:
  Examination(Session& session, const Settings& settings, const Witness& witness)
      : session_(session), settings_(settings), witness_(witness) {}

  std::vector<Finding> run() {
    if (!read_variables()) return std::move(findings_);
    version();
    tables();
    prepared_branches();
    durability();
    binary_log();
    cluster();
    engines();
    same_server();
    line();
    return std::move(findings_);
  }

 private:
  void add(Severity severity, std::string what, std::string mend = "") {
    findings_.push_back({severity, std::move(what), std::move(mend)});
  }
  bool mariadb() const { return session_.facts().mariadb; }

  bool read_variables() {
    const Answer answer = session_.run(
        {"SHOW GLOBAL VARIABLES WHERE Variable_name IN ('innodb_flush_log_at_trx_commit','sync_binlog','log_bin',"
         "'innodb_doublewrite','wsrep_on','read_only','super_read_only','default_storage_engine','thread_handling',"
         "'innodb_rollback_on_timeout','binlog_format','server_uid','autocommit')",
         "SHOW SESSION VARIABLES WHERE Variable_name IN ('xa_detach_on_prepare')"});
    if (!answer.ok()) {
      add(Severity::problem, "the server's variables cannot be read: " + answer.failure->describe(),
          "check that the user may connect and that the server is up");
      return false;
    }
    for (const auto& rows : answer.rows) {
      for (const Row& row : rows) {
        if (row.size() == 2 && row[0]) variables_[*row[0]] = row[1].value_or("");
      }
    }
    return true;
  }

  void version() {
    const std::string product = (mariadb() ? "MariaDB " : "MySQL ") + session_.facts().version;
    const int number = version_number(session_.facts().version);
    if (mariadb() && number < 10'005'002) {
      add(Severity::problem, product + " is too old: prepared branches are rolled back when their session ends",
          "upgrade to MariaDB 10.5.2 or newer");
    } else if (!mariadb() && number < 8'000'030) {
      add(Severity::problem,
          product + " is too old: a crash inside XA PREPARE can make its binary log and its tables disagree",
          "upgrade to MySQL 8.0.30 or newer");
    } else {
      add(Severity::good, product + " can take part");
    }
    if (!mariadb() && !session_.facts().detaches_on_prepare) {
      add(Severity::advice,
          "xa_detach_on_prepare is off: a prepared branch can be finished only after its session has ended",
          "SET PERSIST xa_detach_on_prepare = ON;");
    }
  }

  void tables() {
    // Whether each may be written, without writing: a row that is nobody's is deleted.
    const Answer answer =
        session_.run({"DELETE FROM " + witness_.table() + " WHERE gtrid='' AND bqual=''",
                      "INSERT INTO " + witness_.table() + " SELECT '','','r',NULL FROM DUAL WHERE 1=0"});
    if (!answer.ok() && answer.failure->number == no_such_table) {
      std::string mend;
      for (const std::string& statement : witness_.create_statements()) mend += statement + "; ";
      add(Severity::problem, "Assent's table " + witness_.table() + " is missing", mend);
      return;
    }
    if (!answer.ok() && answer.failure->number == wrong_value_count) {
      add(Severity::problem, "Assent's table " + witness_.table() + " is of an earlier version",
          "ALTER TABLE " + witness_.table() + " ADD COLUMN decision BLOB NULL;");
      return;
    }
    if (!answer.ok()) {
      add(Severity::problem, "Assent's table " + witness_.table() + " cannot be written: " + answer.failure->describe(),
          "GRANT SELECT, INSERT, UPDATE, DELETE ON " + witness_.table() + " TO '" + settings_.user + "'@'%';");
      return;
    }
    const Answer engine = session_.run({"SELECT ENGINE FROM information_schema.TABLES WHERE TABLE_SCHEMA='" +
                                        quoted(settings_.schema) + "' AND TABLE_NAME='assent_witness'"});
    if (engine.ok() && engine.value(0).value_or("") != "InnoDB") {
      add(Severity::problem, witness_.table() + " is not an InnoDB table, so it proves nothing",
          "ALTER TABLE " + witness_.table() + " ENGINE=InnoDB;");
      return;
    }
    add(Severity::good, "Assent's table is there and may be written");
  }

  void prepared_branches() {
    const Answer answer = session_.run({mariadb() ? "XA RECOVER" : "XA RECOVER CONVERT XID"});
    if (!answer.ok() && answer.failure->number == xaer_rmerr) {
      add(Severity::problem, "the user may not list prepared branches, so recovery would not find them",
          "GRANT XA_RECOVER_ADMIN ON *.* TO '" + settings_.user + "'@'%';");
      return;
    }
    if (!answer.ok()) {
      add(Severity::problem, "prepared branches cannot be listed: " + answer.failure->describe(),
          "check the server's log");
      return;
    }
    add(Severity::good, "prepared branches can be listed");
    std::size_t foreign = 0;
    for (const Row& row : answer.rows[0]) {
      const auto branch = decode_recovered(row, mariadb());
      if (branch && !is_ours(branch->xid)) ++foreign;
    }
    // MySQL bug 120125: its order of xids is none when formats differ, and a restart then rolls back branches that it
    // does not find again, with the binary log and without it.
    if (foreign > 0 && !mariadb()) {
      add(Severity::problem,
          std::to_string(foreign) +
              " prepared branches of another transaction manager are on this server: MySQL can lose prepared branches "
              "at a crash when their format ids differ",
          "give the other transaction manager a server of its own");
    } else if (foreign > 0) {
      add(Severity::advice, std::to_string(foreign) + " prepared branches belong to another transaction manager",
          "finish them with that transaction manager; they hold locks meanwhile");
    }
  }

  void durability() {
    if (const std::string flush = value(variables_, "innodb_flush_log_at_trx_commit"); flush != "1" && flush != "3") {
      add(Severity::problem, "innodb_flush_log_at_trx_commit is " + flush + ": a crash loses what was acknowledged",
          "SET GLOBAL innodb_flush_log_at_trx_commit = 1;  -- and in my.cnf: innodb_flush_log_at_trx_commit = 1");
    } else {
      add(Severity::good, "every commit is forced (innodb_flush_log_at_trx_commit = " + flush + ")");
    }
    const std::string doublewrite = value(variables_, "innodb_doublewrite");
    if (doublewrite == "OFF" || doublewrite == "DETECT_ONLY") {
      add(Severity::advice, "innodb_doublewrite is " + doublewrite + ": a page torn by a crash cannot be repaired",
          "my.cnf: innodb_doublewrite = ON, unless the file system writes pages atomically");
    }
  }

  void binary_log() {
    if (!is_on(variables_, "log_bin")) {
      add(Severity::good, "the binary log is off");
      return;
    }
    if (const std::string sync = value(variables_, "sync_binlog"); sync != "1") {
      add(Severity::problem, "sync_binlog is " + sync + ": after a crash the binary log and the tables can disagree",
          "SET GLOBAL sync_binlog = 1;  -- and in my.cnf: sync_binlog = 1");
    }
    if (mariadb()) {
      add(Severity::problem, "the binary log is on, and over it XA is not crash-safe on MariaDB",
          "my.cnf: skip-log-bin (a server that must be replicated cannot safely take part)");
    } else {
      add(Severity::advice, "the binary log is on: each transaction costs three more syncs",
          "start mysqld with --skip-log-bin, unless the server is replicated");
    }
  }

  void cluster() {
    if (is_on(variables_, "wsrep_on")) {
      add(Severity::problem, "this is a Galera node, and Galera refuses XA", "use a server outside of the cluster");
    }
    if (is_on(variables_, "read_only") || is_on(variables_, "super_read_only")) {
      add(Severity::problem, "the server is read-only: it is a replica, or is being maintained",
          "SET GLOBAL read_only = OFF;  -- on the primary; or point the URL to the primary");
    }
  }

  void engines() {
    const Answer answer =
        session_.run({"SELECT CONCAT(TABLE_NAME,' (',ENGINE,')') FROM information_schema.TABLES WHERE TABLE_SCHEMA='" +
                      quoted(settings_.schema) + "' AND TABLE_TYPE='BASE TABLE' AND ENGINE IN " +
                      "('MyISAM','Aria','MEMORY','ARCHIVE',"
                      "'CSV','MRG_MyISAM','FEDERATED','BLACKHOLE') ORDER BY TABLE_NAME LIMIT 20"});
    if (answer.ok() && !answer.rows[0].empty()) {
      std::string names;
      for (const Row& row : answer.rows[0]) names += (names.empty() ? "" : ", ") + row[0].value_or("?");
      const std::string first = names.substr(0, names.find(' '));
      add(Severity::problem, "tables without transactions keep what a rolled-back branch wrote: " + names,
          "ALTER TABLE " + identifier(settings_.schema) + "." + identifier(first) + " ENGINE=InnoDB;  -- each of them");
    }
    if (const std::string engine = value(variables_, "default_storage_engine"); engine != "InnoDB") {
      add(Severity::advice,
          "new tables are made without transactions by default (default_storage_engine is " + engine + ")",
          "SET GLOBAL default_storage_engine = InnoDB;  -- and in my.cnf: default_storage_engine = InnoDB");
    }
  }

  /// A pooler that gives each statement, or each connection, another server.
  void same_server() {
    const std::string id = std::to_string(session_.facts().connection_id);
    const Answer answer =
        session_.run({"SET @assent_probe=UUID()", "SELECT @assent_probe IS NOT NULL,CONNECTION_ID()"});
    const Answer again = session_.run({"SELECT @assent_probe IS NOT NULL,CONNECTION_ID()"});
    const auto same = [&](const Answer& each, std::size_t statement) {
      return each.ok() && each.rows.size() > statement && !each.rows[statement].empty() &&
             each.rows[statement][0][0] == "1" && each.rows[statement][0][1] == id;
    };
    if (!same(answer, 1) || !same(again, 0)) {
      add(Severity::problem,
          "statements of one connection reach different sessions of the server: a pooler stands between",
          "connect to the server itself, or switch off the pooler's multiplexing");
      return;
    }
    const auto other = Session::open(settings_);
    if (other) {
      const Facts& there = other.value()->facts();
      const auto identity = witness_.identity(*other.value());
      const auto here = witness_.identity(session_);
      if (there.version != session_.facts().version || there.server_uuid != session_.facts().server_uuid ||
          (identity && here && *identity != *here)) {
        add(Severity::problem, "two connections with this URL reach different servers: a balancer stands between",
            "write the address of one server, the primary");
        return;
      }
    }
    add(Severity::good, "every connection reaches one and the same server, without a pooler that switches sessions");
  }

  void line() {
    const bool here = !settings_.socket.empty() || settings_.host == "localhost" || settings_.host == "::1" ||
                      settings_.host.starts_with("127.");
    if (settings_.tls == Tls::off && !here) {
      add(Severity::advice, "statements and data travel to " + settings_.host + " in plain text",
          "add ssl=verify&ssl_ca=/path/of/ca.pem to the URL");
    }
  }

  static std::string quoted(const std::string& text) {
    std::string out;
    for (const char c : text) {
      if (c == '\'' || c == '\\') out += c;
      out += c;
    }
    return out;
  }

  Session& session_;
  const Settings& settings_;
  const Witness& witness_;
  Variables variables_;
  std::vector<Finding> findings_;
};

}  // namespace

std::vector<Finding> examine_server(Session& session, const Settings& settings, const Witness& witness) {
  return Examination(session, settings, witness).run();
}

}  // namespace assent::mysql
