#pragma once

#include <libpq-fe.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "assent/adapters/postgres/answer.h"
#include "assent/adapters/postgres/settings.h"
#include "assent/xa/fork_guard.h"
#include "assent/xa/identity.h"
#include "assent/xa/reply.h"

namespace assent::detail::postgres {

/// One connection, owned or borrowed. Not thread-safe. No exception leaves it but std::bad_alloc.
class Session {
 public:
  /// Connects, refuses a session without TLS where TLS was asked for, and asks which database answered.
  static Result<std::unique_ptr<Session>> open(const Settings& settings);
  /// Over a connection of somebody else's: never closed here.
  static std::unique_ptr<Session> borrow(PGconn* connection);

  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  ~Session();

  /// One simple query string, one round trip; every result of it.
  Answer exec(const std::string& sql);
  /// The same in two halves. Between them nothing else may be asked of the session.
  void send(const std::string& sql);
  Answer take();
  bool awaits_answer() const { return sent_.has_value(); }

  /// Asks which database this is; kept in identity().
  Answer identify();
  const Identity& identity() const { return identity_; }
  /// The system identifier alone, in decimal.
  std::string_view system_identifier() const;

  PGTransactionStatusType transaction_status() const { return PQtransactionStatus(connection_); }
  /// What the server last said of application_name: it tells each change before it takes the next statement (it is one
  /// of the parameters that are reported), also that SET LOCAL has ended with its transaction.
  bool reports_name(std::string_view name) const;
  bool idle() const { return PQstatus(connection_) == CONNECTION_OK && transaction_status() == PQTRANS_IDLE; }

  /// Sends DISCARD ALL without waiting: what an application left in the session (SET, prepared statements, session
  /// advisory locks, LISTEN, temporary tables) goes away now and costs nobody a round trip. After it only drain().
  /// False: it was not sent.
  bool begin_reset();
  /// Takes the answer of begin_reset(), and what the server has said of itself since. False: the session is of no use
  /// any more.
  bool drain();

  /// The connection was closed and freed by somebody else: it is not touched again.
  void abandon() { connection_ = nullptr; }

  PGconn* raw() const { return connection_; }

 private:
  Session(PGconn* connection, bool owned) : connection_(connection), owned_(owned) {}

  PGconn* connection_;
  const bool owned_;
  bool resetting_ = false;
  std::optional<Answer> sent_;  ///< how the sending went
  Identity identity_;
  const ForkGuard process_;
};

/// A string literal for any client, whatever standard_conforming_strings says. Refuses nothing: bytes outside of
/// printable ASCII are written as escapes, so the literal cannot break out or fail to encode.
std::string text_literal(std::string_view text);
/// A bytea literal.
std::string bytes_literal(std::string_view bytes);

}  // namespace assent::detail::postgres
