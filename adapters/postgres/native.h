#pragma once

#include <libpq-fe.h>

#include <memory>
#include <pqxx/pqxx>

namespace assent::detail::postgres {

#if PQXX_VERSION_MAJOR >= 7
using NativeConnection = pqxx::connection;
#else
using NativeConnection = pqxx::connection_base;
#endif

/// What the application works with: a pqxx transaction whose begin and end are sent by the branch, not by pqxx.
/// commit() is refused; abort() only closes the object. The branch destroys this before it uses the connection again.
class Native {
 public:
  virtual ~Native() = default;
  Native(const Native&) = delete;
  Native& operator=(const Native&) = delete;
  virtual pqxx::dbtransaction& transaction() = 0;
  /// False: the application closed the connection behind our back, and its PGconn is freed.
  virtual bool intact() const = 0;

  /// Over a connection of ours; pqxx never closes it and never opens another in its place.
  static std::unique_ptr<Native> over(PGconn* connection);
  /// Over an application's own pqxx connection, kept from reconnecting (which would leave the transaction) meanwhile.
  /// Throws pqxx::usage_error when it has a transaction object open.
  static std::unique_ptr<Native> over(NativeConnection& borrowed);

  /// The connection below, or null if it is not open.
  static PGconn* below(NativeConnection& connection);

 protected:
  Native() = default;
};

}  // namespace assent::detail::postgres
