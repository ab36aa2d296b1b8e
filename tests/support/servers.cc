#include "assent/tests/support/servers.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <ostream>
#include <stdexcept>
#include <string_view>
#include <system_error>

namespace assent::testing {
namespace {

const char* variable_prefix(Server server) {
  switch (server) {
    case Server::postgres:
      return "ASSENT_TEST_POSTGRES";
    case Server::mariadb:
      return "ASSENT_TEST_MARIADB";
    case Server::mysql:
      return "ASSENT_TEST_MYSQL";
    case Server::mysql_nobinlog:
      return "ASSENT_TEST_MYSQL_NOBINLOG";
  }
  std::abort();
}

[[noreturn]] void throw_not_set(const std::string& variable) {
  throw std::runtime_error(variable + " is not set: run through scripts/test or scripts/with-servers");
}

std::optional<std::string> from_environment(Server server, std::string_view suffix) {
  const std::string variable = variable_prefix(server) + std::string(suffix);
  if (const char* value = std::getenv(variable.c_str())) return value;
  // Without any server there was no scripts/with-servers; with the others there, MySQL was looked for in vain.
  if (server == Server::mysql && std::getenv("ASSENT_TEST_SERVER_SCRIPT") != nullptr) return std::nullopt;
  throw_not_set(variable);
}

void check(int error, const char* what) {
  if (error != 0) throw std::system_error(error, std::generic_category(), what);
}

std::string read_to_end(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  while (true) {
    const ssize_t length = ::read(fd, buffer.data(), buffer.size());
    if (length > 0) {
      text.append(buffer.data(), static_cast<std::size_t>(length));
    } else if (length == 0 || errno != EINTR) {
      return text;
    }
  }
}

/// What the script printed.
std::string run_script(const char* verb, Server server, const char* option = nullptr) {
  const char* script = std::getenv("ASSENT_TEST_SERVER_SCRIPT");
  if (script == nullptr) throw_not_set("ASSENT_TEST_SERVER_SCRIPT");

  std::array<int, 2> output{};
  check(::pipe2(output.data(), O_CLOEXEC) == 0 ? 0 : errno, "pipe");
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, output[1], STDERR_FILENO);
  std::string program = script;
  std::string first = verb;
  std::string second = name(server);
  std::string third = option == nullptr ? "" : option;
  const std::array<char*, 5> arguments{program.data(), first.data(), second.data(),
                                       option == nullptr ? nullptr : third.data(), nullptr};
  pid_t child = 0;
  const int error = ::posix_spawn(&child, script, &actions, nullptr, arguments.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  ::close(output[1]);
  std::string said = error == 0 ? read_to_end(output[0]) : std::string();
  ::close(output[0]);
  check(error, script);

  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) check(errno, "waitpid");
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw std::runtime_error("scripts/server " + first + " " + second + " failed:\n" + said);
  }
  return said;
}

/// The URL of the server that runs only where a test asks for it.
std::optional<std::string> from_started(Server server, const char* option) {
  if (!from_environment(Server::mysql, "_URL")) return std::nullopt;
  run_script("start", server);
  std::string said = run_script("url", server, option);
  while (said.ends_with('\n')) said.pop_back();
  return said;
}

}  // namespace

const char* name(Server server) {
  switch (server) {
    case Server::postgres:
      return "postgres";
    case Server::mariadb:
      return "mariadb";
    case Server::mysql:
      return "mysql";
    case Server::mysql_nobinlog:
      return "mysql-nobinlog";
  }
  std::abort();
}

std::string test_name(Server server) {
  std::string out = name(server);
  std::replace(out.begin(), out.end(), '-', '_');
  return out;
}

std::ostream& operator<<(std::ostream& out, Server server) {
  return out << name(server);
}

std::optional<std::string> url(Server server) {
  if (server == Server::mysql_nobinlog) return from_started(server, nullptr);
  return from_environment(server, "_URL");
}
std::optional<std::string> admin_url(Server server) {
  if (server == Server::mysql_nobinlog) return from_started(server, "--admin");
  return from_environment(server, "_ADMIN_URL");
}

void start(Server server) {
  run_script("start", server);
}
void stop(Server server) {
  run_script("stop", server);
}
void kill_9(Server server) {
  run_script("kill", server);
}
void pause(Server server) {
  run_script("pause", server);
}
void resume(Server server) {
  run_script("continue", server);
}

StopsAfter::~StopsAfter() {
  try {
    stop(server_);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
  }
}

RunsAgainAfter::~RunsAgainAfter() {
  try {
    start(server_);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "%s\n", e.what());
  }
}

}  // namespace assent::testing
