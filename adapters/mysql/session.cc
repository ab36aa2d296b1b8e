#include "assent/adapters/mysql/session.h"

#include <cppconn/driver.h>
#include <cppconn/exception.h>
#include <cppconn/resultset.h>
#include <cppconn/resultset_metadata.h>
#include <cppconn/statement.h>
#include <mysql_driver.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <mutex>
#include <utility>

#include "assent/adapters/mysql/sql_text.h"

namespace assent::mysql {
namespace {

constexpr std::size_t max_error_text = 500;
constexpr std::size_t max_rows = 1'000'000;
constexpr int max_handshakes = 3;
constexpr const char* exiting = "the process exits, and the MySQL connector is gone";

/// exit() takes the connector's driver away while other threads still live, and some of them begin a statement or end
/// just then. Never destroyed, for the same reason.
struct DriverLife {
  std::mutex mutex;
  std::atomic<bool> over = false;
};

DriverLife& driver_life() {
  static auto* const life = new DriverLife;
  return *life;
}

sql::Driver& driver() {
  // get_driver_instance() is not thread-safe; the initialisation of a static is. What is registered after it has made
  // the driver runs before the driver goes.
  static sql::Driver* const instance = [] {
    sql::Driver* const made = get_driver_instance();
    driver_life();
    static_cast<void>(std::atexit([] {
      const std::lock_guard lock(driver_life().mutex);
      driver_life().over = true;
    }));
    return made;
  }();
  return *instance;
}

struct ThreadLife {
  ThreadLife() {
    driver();
    const std::lock_guard lock(driver_life().mutex);
    if (!driver_life().over) driver().threadInit();
  }
  ~ThreadLife() {
    const std::lock_guard lock(driver_life().mutex);
    if (!driver_life().over) driver().threadEnd();
  }
};

Failure failure_from(const sql::SQLException& error) {
  Failure out;
  out.number = error.getErrorCode();
  out.state = error.getSQLState();
  out.text = std::string(error.what()).substr(0, max_error_text);
  out.lost = loses_session(out.number);
  return out;
}

/// For what the connector throws without a number (a closed connection, a wrong argument): nothing more is known then.
Failure failure_from(const std::exception& error) {
  Failure out;
  out.text = std::string(error.what()).substr(0, max_error_text);
  out.lost = true;
  return out;
}

std::vector<Row> read_rows(sql::Statement& statement) {
  std::vector<Row> out;
  const std::unique_ptr<sql::ResultSet> result(statement.getResultSet());
  if (!result) return out;
  const unsigned columns = result->getMetaData()->getColumnCount();
  while (out.size() < max_rows && result->next()) {
    Row row;
    for (unsigned i = 1; i <= columns; ++i) {
      if (result->isNull(i)) {
        row.emplace_back();
      } else {
        row.emplace_back(result->getString(i).asStdString());
      }
    }
    out.push_back(std::move(row));
  }
  return out;
}

// KILL on MySQL closes the socket while the thread of the killed session may be about to read from its number, and a
// new connection that is given the number loses the beginning of its handshake: "Got packets out of order" (seen
// with 9.7.4). Whoever meets that has nothing to do with the killed session, and nothing was begun.
std::unique_ptr<sql::Connection> connect(sql::ConnectOptionsMap& options) {
  for (int handshake = 1;; ++handshake) {
    try {
      return std::unique_ptr<sql::Connection>(driver().connect(options));
    } catch (const sql::SQLException& error) {
      const bool again = error.getErrorCode() == packets_out_of_order && handshake < max_handshakes;
      if (!again || driver_life().over) throw;
    }
  }
}

Reply cannot_connect(const Settings& settings, const Failure& failure) {
  return Reply::not_done(code_of(failure), "cannot connect to " + settings.address + ": " + failure.describe());
}

}  // namespace

bool prepare_thread() {
  if (driver_life().over) return false;
  static thread_local const ThreadLife life;
  static_cast<void>(life);
  return !driver_life().over;
}

std::optional<std::string> Answer::value(std::size_t statement) const {
  if (statement >= rows.size() || rows[statement].empty() || rows[statement].front().empty()) return std::nullopt;
  return rows[statement].front().front();
}

Result<std::unique_ptr<Session>> Session::open(const Settings& settings) {
  if (!prepare_thread()) return Reply::not_done(Code::resource_failed, exiting);
  std::unique_ptr<Session> session(new Session);
  try {
    sql::ConnectOptionsMap options;
    const std::string bracketed =
        settings.host.find(':') == std::string::npos ? settings.host : '[' + settings.host + ']';
    options["hostName"] =
        sql::SQLString(settings.socket.empty() ? "tcp://" + bracketed + ':' + std::to_string(settings.port)
                                               : "unix://" + settings.socket);
    options["userName"] = sql::SQLString(settings.user);
    options["password"] = sql::SQLString(settings.password);
    options["schema"] = sql::SQLString(settings.schema);
    options["OPT_RECONNECT"] = false;
    options["CLIENT_MULTI_STATEMENTS"] = true;
    options["OPT_CHARSET_NAME"] = sql::SQLString("utf8mb4");
    if (settings.connect_timeout_s > 0) options["OPT_CONNECT_TIMEOUT"] = static_cast<int>(settings.connect_timeout_s);
    if (settings.read_timeout_s > 0) options["OPT_READ_TIMEOUT"] = static_cast<int>(settings.read_timeout_s);
    if (settings.write_timeout_s > 0) options["OPT_WRITE_TIMEOUT"] = static_cast<int>(settings.write_timeout_s);
    if (settings.tls == Tls::require || settings.tls == Tls::verify) options["sslEnforce"] = true;
    if (settings.tls == Tls::verify) {
      options["sslCA"] = sql::SQLString(settings.tls_ca);
      options["sslVerify"] = true;
    }
    session->owned_ = connect(options);
    session->connection_ = session->owned_.get();
  } catch (const sql::SQLException& error) {
    return cannot_connect(settings, failure_from(error));
  } catch (const std::exception& error) {
    return cannot_connect(settings, failure_from(error));
  }
  if (settings.tls == Tls::require || settings.tls == Tls::verify) {
    // The client library goes on in plain text, silently, where the server offers no TLS.
    const Answer cipher = session->run({"SHOW SESSION STATUS LIKE 'Ssl_cipher'"});
    if (!cipher.ok()) return cannot_connect(settings, *cipher.failure);
    if (cipher.rows[0].empty() || cipher.rows[0][0].size() < 2 || cipher.rows[0][0][1].value_or("").empty()) {
      return Reply::not_done(Code::resource_error,
                             settings.address +
                                 " asks for TLS, but the server offers none: enable TLS on the server "
                                 "(ssl_cert and ssl_key), or write ssl=off where the network is trusted");
    }
  }
  if (const auto failure = session->ask_facts()) return cannot_connect(settings, *failure);
  Facts& facts = session->facts_;
  if (facts.read_only_by_default && !facts.read_only_variable.empty()) {
    // Assent's own session: said once, not for each transaction.
    const Answer writes = session->run({"SET SESSION " + facts.read_only_variable + "=0"});
    if (!writes.ok()) return cannot_connect(settings, *writes.failure);
    facts.read_only_by_default = false;
  }
  if (const auto failure = session->ask_identity(settings.schema)) return cannot_connect(settings, *failure);
  return session;
}

Result<std::unique_ptr<Session>> Session::borrow(sql::Connection& connection, const std::string& schema) {
  if (!prepare_thread()) return Reply::not_done(Code::resource_failed, exiting);
  std::unique_ptr<Session> session(new Session);
  session->connection_ = &connection;
  if (session->ask_facts()) {
    session->several_statements_ = false;
    if (const auto failure = session->ask_facts()) return refused(*failure);
  }
  if (session->facts_.in_transaction) {
    return Reply::not_done(Code::outside, "the connection to adopt is in a transaction: end it first");
  }
  if (const auto failure = session->ask_identity(schema)) return refused(*failure);
  return session;
}

Session::~Session() {
  // The socket is the parent's: a goodbye on it would end the parent's session.
  if (!process_.in_child() && !driver_life().over) {
    // The library says no goodbye before the last answer is taken, and the server would note an aborted connection.
    take_answers_behind();
  } else {
    static_cast<void>(asked_behind_.release());
    static_cast<void>(owned_.release());
  }
}

std::optional<Failure> Session::ask_facts() {
  const Answer answer =
      run({"SELECT CONNECTION_ID(),VERSION()",
           "SHOW SESSION VARIABLES WHERE Variable_name IN ('xa_detach_on_prepare','server_uuid','max_statement_time',"
           "'tx_isolation','transaction_isolation','tx_read_only','transaction_read_only','in_transaction')"});
  if (!answer.ok()) return answer.failure;
  if (answer.rows[0].empty() || answer.rows[0][0].size() != 2)
    return Failure{0, "", "the server does not answer", true};
  const std::string id = answer.rows[0][0][0].value_or("");
  std::from_chars(id.data(), id.data() + id.size(), facts_.connection_id);
  facts_.version = answer.rows[0][0][1].value_or("");
  for (const Row& row : answer.rows[1]) {
    if (row.size() != 2 || !row[0]) continue;
    const std::string value = row[1].value_or("");
    if (*row[0] == "max_statement_time") facts_.mariadb = true;
    if (*row[0] == "xa_detach_on_prepare") facts_.detaches_on_prepare = value == "ON" || value == "1";
    if (*row[0] == "in_transaction") facts_.in_transaction = value == "1" || value == "ON";
    if (*row[0] == "server_uuid") facts_.server_uuid = value;
    if (row[0]->ends_with("_isolation")) facts_.isolation_variable = *row[0];
    if (row[0]->ends_with("_read_only")) {
      facts_.read_only_variable = *row[0];
      facts_.read_only_by_default = value != "OFF" && value != "0";
    }
  }
  return std::nullopt;
}

std::optional<Failure> Session::ask_identity(const std::string& schema) {
  if (!facts_.server_uuid.empty()) return std::nullopt;
  // Without autocommit the question begins a transaction.
  Answer answer = run({"SELECT id FROM " + identity_table(schema) + " WHERE one=1", "ROLLBACK"});
  if (!answer.ok() && answer.failure->number != no_such_table) return answer.failure;
  facts_.kept_identity = answer.value(0).value_or("");
  return std::nullopt;
}

Answer Session::run(const std::vector<std::string>& statements, const std::vector<std::string>& behind) {
  Answer out;
  if (asked_behind_ && !process_.in_child() && prepare_thread()) take_answers_behind();
  if (lost()) {
    out.failure = Failure{0, "", lost_ ? "the session is gone" : "the session belongs to the parent process", true};
    return out;
  }
  if (!prepare_thread()) {
    out.failure = Failure{0, "", exiting, true};
    return out;
  }
  if (several_statements_ || (statements.size() == 1 && behind.empty())) {
    out = run_together(statements, behind);
    if (borrowed()) take_answers_behind();
    return out;
  }
  for (const std::string& statement : statements) {
    Answer one = run_together({statement});
    if (!one.ok()) {
      out.failure = std::move(one.failure);
      return out;
    }
    ++out.completed;
    out.rows.push_back(std::move(one.rows.front()));
  }
  for (const std::string& statement : behind) {
    if (!run_together({statement}).ok()) break;
  }
  return out;
}

void Session::take_answers_behind() {
  if (!asked_behind_) return;
  try {
    for (; answers_behind_ > 0; --answers_behind_) static_cast<void>(asked_behind_->getMoreResults());
  } catch (const std::exception&) {
    lost_ = !borrowed();
  }
  asked_behind_.reset();
}

Answer Session::run_together(const std::vector<std::string>& statements, const std::vector<std::string>& behind) {
  std::string text;
  const auto add = [&text](const std::string& statement) {
    if (!text.empty()) text += ';';
    text += statement;
  };
  std::ranges::for_each(statements, add);
  std::ranges::for_each(behind, add);
  Answer out;
  try {
    std::unique_ptr<sql::Statement> statement(connection_->createStatement());
    bool has_rows = statement->execute(text);
    while (true) {
      out.rows.push_back(has_rows ? read_rows(*statement) : std::vector<Row>{});
      ++out.completed;
      // Exactly one less than there are statements: a reply left unread spoils every later statement (2014), and
      // asking for one more than there are is an error.
      if (out.completed == statements.size()) break;
      has_rows = statement->getMoreResults();
    }
    answers_behind_ = behind.size();
    if (answers_behind_ > 0) asked_behind_ = std::move(statement);
  } catch (const sql::SQLException& error) {
    out.failure = failure_from(error);
  } catch (const std::exception& error) {
    out.failure = failure_from(error);
  }
  if (out.failure && out.failure->lost) lost_ = true;
  return out;
}

bool Session::answers() {
  const Answer answer = run({"SELECT CONNECTION_ID()"});
  return answer.ok() && answer.value(0) == std::to_string(facts_.connection_id);
}

}  // namespace assent::mysql
