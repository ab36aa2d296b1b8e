#pragma once

#include <cppconn/connection.h>
#include <cppconn/statement.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "assent/adapters/mysql/failure.h"
#include "assent/adapters/mysql/settings.h"
#include "assent/xa/fork_guard.h"
#include "assent/xa/reply.h"

namespace assent::mysql {

/// A row of text columns; null where the database said NULL.
using Row = std::vector<std::optional<std::string>>;

/// What became of the statements of one run(): the first `completed` of them took effect, and if that is not all of
/// them, `failure` says why the next did not. What follows a failed statement was not executed.
struct Answer {
  std::size_t completed = 0;
  std::vector<std::vector<Row>> rows;  ///< one list a completed statement; empty if it has no result
  std::optional<Failure> failure;

  bool ok() const { return !failure; }
  /// The first column of the first row of a statement's result.
  std::optional<std::string> value(std::size_t statement) const;
};

/// What a live server says of itself and of this session; never assumed from its name.
struct Facts {
  bool mariadb = false;
  bool detaches_on_prepare = false;  ///< another session may finish a prepared branch while its owner is connected
  bool in_transaction = false;       ///< when it was asked; MariaDB only, MySQL does not tell
  std::uint64_t connection_id = 0;
  std::string version;
  std::string server_uuid;           ///< MySQL only
  std::string kept_identity;         ///< of the schema; empty where none is kept (yet)
  std::string isolation_variable;    ///< tx_isolation or transaction_isolation
  std::string read_only_variable;    ///< tx_read_only or transaction_read_only
  bool read_only_by_default = true;  ///< a transaction, where nothing else is said; true also where the server is mute

  /// Which database this is, wherever it is reached. Empty on a MariaDB that Assent has never used.
  const std::string& identity() const { return server_uuid.empty() ? kept_identity : server_uuid; }
};

/// One session, owned or borrowed. Not thread-safe. After a failure that lost it, every run() fails.
class Session {
 public:
  /// Connects, proves that TLS asked for is TLS got, and asks for the facts.
  static Result<std::unique_ptr<Session>> open(const Settings& settings);
  /// A session of the application's: never closed here. Finds out whether it takes several statements in one round
  /// trip. Refuses one that answers wrongly. `schema` is the one whose identity is asked for.
  static Result<std::unique_ptr<Session>> borrow(sql::Connection& connection, const std::string& schema);

  ~Session();
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  /// In one round trip where the session can, otherwise one by one. `behind` is executed when all of them succeeded,
  /// and not waited for: its answers, without rows, are taken before the next run(); one that fails loses the session.
  /// A borrowed session waits for it, and keeps its failure to itself.
  Answer run(const std::vector<std::string>& statements, const std::vector<std::string>& behind = {});

  sql::Connection& connection() { return *connection_; }
  const Facts& facts() const { return facts_; }
  bool borrowed() const { return owned_ == nullptr; }
  bool lost() const { return lost_ || process_.in_child(); }
  /// A round trip: does it answer, and is it the session that it was?
  bool answers();

 private:
  Session() = default;
  std::optional<Failure> ask_facts();
  std::optional<Failure> ask_identity(const std::string& schema);
  Answer run_together(const std::vector<std::string>& statements, const std::vector<std::string>& behind = {});
  void take_answers_behind();

  std::unique_ptr<sql::Connection> owned_;
  sql::Connection* connection_ = nullptr;
  std::unique_ptr<sql::Statement> asked_behind_;  ///< while answers are to be taken
  std::size_t answers_behind_ = 0;
  Facts facts_;
  bool several_statements_ = true;
  bool lost_ = false;
  ForkGuard process_;
};

/// To be called in every thread that uses the client library, before each use; ends with the thread. False once exit()
/// has begun: the library is not to be used any more.
bool prepare_thread();

}  // namespace assent::mysql
