#include "assent/adapters/postgres/session.h"

#include <poll.h>

#include <algorithm>
#include <utility>

#include "assent/xa/xid.h"

namespace assent::detail::postgres {
namespace {

constexpr std::string_view system_prefix = "postgresql:";

std::string message_of(const PGresult* result) {
  const auto part = [&](int which) {
    const char* text = PQresultErrorField(result, which);
    return std::string(text == nullptr ? "" : text);
  };
  std::string text = part(PG_DIAG_MESSAGE_PRIMARY);
  if (text.empty()) text = PQresultErrorMessage(result);
  if (const auto detail = part(PG_DIAG_MESSAGE_DETAIL); !detail.empty()) text += ": " + detail;
  if (const auto hint = part(PG_DIAG_MESSAGE_HINT); !hint.empty()) text += " (" + hint + ")";
  return one_line(text);
}

}  // namespace

std::unique_ptr<Session> Session::borrow(PGconn* connection) {
  return std::unique_ptr<Session>(new Session(connection, false));
}

Session::~Session() {
  // In a forked child a goodbye on the shared socket would end the parent's session.
  if (owned_ && !process_.in_child()) PQfinish(connection_);
}

Answer Session::exec(const std::string& sql) {
  send(sql);
  return take();
}

void Session::send(const std::string& sql) {
  Answer& answer = sent_.emplace();
  if (PQstatus(connection_) != CONNECTION_OK) {
    answer.unsent = true;
    answer.text = "the session is closed";
  } else if (PQsendQuery(connection_, sql.c_str()) == 0) {
    answer.lost = PQstatus(connection_) != CONNECTION_OK;
    answer.unsent = !answer.lost;
    answer.text = one_line(PQerrorMessage(connection_));
  }
}

Answer Session::take() {
  Answer answer = *std::exchange(sent_, std::nullopt);
  if (!answer.ok()) return answer;
  while (Answer::Owned result{PQgetResult(connection_)}) {
    const ExecStatusType status = PQresultStatus(result.get());
    if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE) {
      const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
      // The first error says what failed; a second is libpq's own word on the closed socket.
      if (answer.text.empty()) {
        answer.sqlstate = state == nullptr ? "" : state;
        answer.text = message_of(result.get());
      }
    } else if (status == PGRES_COPY_IN || status == PGRES_COPY_OUT || status == PGRES_COPY_BOTH) {
      answer.lost = true;
      answer.text = "the session is in the middle of a COPY";
      return answer;
    }
    answer.results.push_back(std::move(result));
  }
  if (PQstatus(connection_) != CONNECTION_OK) {
    answer.lost = true;
    if (answer.text.empty()) answer.text = one_line(PQerrorMessage(connection_));
  }
  return answer;
}

Answer Session::identify() {
  Answer answer = exec("SELECT system_identifier, current_database() FROM pg_control_system()");
  if (answer.ok() && answer.rows() == 1) {
    identity_ = {std::string(system_prefix) + answer.field(0, 0), answer.field(0, 1)};
  }
  return answer;
}

std::string_view Session::system_identifier() const {
  return std::string_view(identity_.system).substr(std::min(system_prefix.size(), identity_.system.size()));
}

bool Session::reports_name(std::string_view name) const {
  const char* const reported = PQparameterStatus(connection_, "application_name");
  return reported != nullptr && reported == name;
}

bool Session::begin_reset() {
  resetting_ = PQsendQuery(connection_, "DISCARD ALL") == 1;
  return resetting_;
}

bool Session::drain() {
  bool clean = true;
  if (std::exchange(resetting_, false)) {
    while (const Answer::Owned result{PQgetResult(connection_)}) {
      clean = clean && PQresultStatus(result.get()) == PGRES_COMMAND_OK;
    }
  }
  // What the server says unasked is a notice, a changed parameter or its farewell.
  pollfd line{.fd = PQsocket(connection_), .events = POLLIN, .revents = 0};
  const bool spoken = poll(&line, 1, 0) != 0;
  return clean && idle() && (!spoken || exec("SELECT 1").ok());
}

std::string text_literal(std::string_view text) {
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string literal = "E'";
  for (const char each : text) {
    const auto byte = static_cast<unsigned char>(each);
    if (each == '\'' || each == '\\' || byte < 0x20 || byte > 0x7e) {
      literal += {'\\', 'x', digits[byte >> 4U], digits[byte & 15U]};
    } else {
      literal += each;
    }
  }
  return literal + '\'';
}

std::string bytes_literal(std::string_view bytes) {
  return "decode('" + to_hex(bytes) + "','hex')";
}

}  // namespace assent::detail::postgres
