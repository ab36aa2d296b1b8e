#pragma once

#include <libpq-fe.h>

#include <memory>
#include <pqxx/pqxx>
#include <string>
#include <utility>

namespace assent::detail::postgres {

#if PQXX_VERSION_MAJOR >= 7
using NativeConnection = pqxx::connection;
#else
using NativeConnection = pqxx::connection_base;
#endif

/// What begins the branch's transaction.
struct Opening {
  std::string text;   ///< BEGIN and what belongs to it
  bool said = false;  ///< whatever became of it
};

/// What the application works with: a pqxx transaction whose begin and end are sent by the branch, not by pqxx. Its
/// commit() is refused; abort() only closes the object. The branch destroys this before it uses the connection again.
class Native {
 public:
  virtual ~Native() = default;
  Native(const Native&) = delete;
  Native& operator=(const Native&) = delete;

  /// What comes first in the branch is sent in one message with BEGIN, if it has no ';' but at its end; the text in its
  /// result and its errors has BEGIN on a line of its own, then.
  pqxx::result exec(const std::string& text);
  /// Sends nothing.
  template <class Value>
  std::string quote(const Value& value) {
    return begun().quote(value);
  }
  /// What comes first in the branch waits for BEGIN by itself, here and below.
  template <class... Args>
  pqxx::result exec_params(const std::string& text, Args&&... args) {
    return transaction().exec_params(text, std::forward<Args>(args)...);
  }
  /// For all else that pqxx can do.
  pqxx::dbtransaction& transaction();
  operator pqxx::dbtransaction&() { return transaction(); }  // NOLINT(google-explicit-constructor)

  /// False: the application closed the connection behind our back, and its PGconn is freed.
  virtual bool intact() const = 0;

  /// Over a connection of ours, which hears the opening before anything of the application's; pqxx never closes it and
  /// never opens another in its place.
  static std::unique_ptr<Native> over(PGconn* connection, Opening& opening);
  /// Over an application's own pqxx connection, in which the transaction has begun, kept from reconnecting (which would
  /// leave the transaction) meanwhile. Throws pqxx::usage_error when it has a transaction object open.
  static std::unique_ptr<Native> over(NativeConnection& borrowed);

  /// The connection below, or null if it is not open.
  static PGconn* below(NativeConnection& connection);

 protected:
  Native(PGconn* raw, Opening* opening) : raw_(raw), opening_(opening) {}

  PGconn* const raw_;

 private:
  virtual pqxx::dbtransaction& begun() = 0;
  void say_alone();

  Opening* const opening_;  ///< null: was said before
};

}  // namespace assent::detail::postgres
