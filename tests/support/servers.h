/// The private database servers that scripts/with-servers starts for a test run, and their control from a test.
///
/// Each function runs scripts/server and returns when that is done; what fails throws std::runtime_error with the
/// script's own words. PostgreSQL and MariaDB must be there: asking for one that is not throws, so that the test fails.
/// A MySQL server cannot be had everywhere:
///
///     const auto mysql = url(Server::mysql);
///     if (!mysql) GTEST_SKIP() << no_mysql;
#pragma once

#include <iosfwd>
#include <optional>
#include <string>

namespace assent::testing {

enum class Server {
  postgres,
  mariadb,
  mysql,
  mysql_nobinlog,  ///< a MySQL server without its binary log; few tests need it, so asking for its URL starts it
};

/// As scripts/server knows it.
const char* name(Server server);
/// As a test may be called.
std::string test_name(Server server);
std::ostream& operator<<(std::ostream& out, Server server);

inline constexpr const char* no_mysql = "no MySQL server is to be had here (scripts/fetch-mysql says why)";

/// URL of the database `assent_test`, as its owner `assent`; `assent_test2` is another of the same owner.
/// Empty only for MySQL's.
std::optional<std::string> url(Server server);

/// The same database, as the superuser `admin`.
std::optional<std::string> admin_url(Server server);

/// Starts a server that was stopped or killed, on the same port, and lets a paused one go on. Returns when it answers.
void start(Server server);
void stop(Server server);

/// SIGKILL to all processes of the server at once. Returns when they are gone.
void kill_9(Server server);

/// SIGSTOP to all processes of the server, until resume().
void pause(Server server);
void resume(Server server);

/// Stops a server that only one test needs, whatever becomes of the test.
class StopsAfter {
 public:
  explicit StopsAfter(Server server) : server_(server) {}
  ~StopsAfter();
  StopsAfter(const StopsAfter&) = delete;
  StopsAfter& operator=(const StopsAfter&) = delete;

 private:
  Server server_;
};

/// Leaves the server running for the tests that follow, whatever becomes of the one that kills or pauses it.
class RunsAgainAfter {
 public:
  explicit RunsAgainAfter(Server server) : server_(server) {}
  ~RunsAgainAfter();
  RunsAgainAfter(const RunsAgainAfter&) = delete;
  RunsAgainAfter& operator=(const RunsAgainAfter&) = delete;

 private:
  Server server_;
};

}  // namespace assent::testing
