#include "assent/tests/support/servers.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <stdexcept>
#include <string>

namespace assent::testing {
namespace {

bool accepts_connections(const std::string& url) {
  const auto colon = url.rfind(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(url.substr(colon + 1))));
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool accepted = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return accepted;
}

/// An environment variable with another value (null: without it) for the length of a test.
class ChangedVariable {
 public:
  ChangedVariable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    set(value);
  }
  ~ChangedVariable() { set(old_ ? old_->c_str() : nullptr); }
  ChangedVariable(const ChangedVariable&) = delete;
  ChangedVariable& operator=(const ChangedVariable&) = delete;

 private:
  void set(const char* value) { value != nullptr ? ::setenv(name_, value, 1) : ::unsetenv(name_); }

  const char* name_;
  std::optional<std::string> old_;
};

class ServersTest : public ::testing::TestWithParam<Server> {};

TEST_P(ServersTest, comes_back_on_the_same_port_after_kill_9_stop_and_pause) {
  const Server server = GetParam();
  const auto here = url(server);
  if (!here) GTEST_SKIP() << no_mysql;
  const RunsAgainAfter guard(server);

  kill_9(server);
  EXPECT_FALSE(accepts_connections(*here));
  start(server);
  EXPECT_TRUE(accepts_connections(*here));
  stop(server);
  EXPECT_FALSE(accepts_connections(*here));
  start(server);
  pause(server);
  resume(server);
  pause(server);
  start(server);
  EXPECT_TRUE(accepts_connections(*here));
}

INSTANTIATE_TEST_SUITE_P(all, ServersTest, ::testing::Values(Server::postgres, Server::mariadb, Server::mysql),
                         [](const auto& one) { return name(one.param); });

TEST(ServersMisuse, says_what_to_do_when_there_are_no_servers) {
  const ChangedVariable changed("ASSENT_TEST_POSTGRES_URL", nullptr);
  try {
    url(Server::postgres);
    FAIL() << "no exception";
  } catch (const std::runtime_error& e) {
    EXPECT_NE(std::string(e.what()).find("scripts/with-servers"), std::string::npos) << e.what();
  }
}

TEST(ServersMisuse, throws_the_words_of_the_script) {
  const ChangedVariable changed("ASSENT_SERVERS", "/nowhere");
  try {
    kill_9(Server::postgres);
    FAIL() << "no exception";
  } catch (const std::runtime_error& e) {
    EXPECT_NE(std::string(e.what()).find("there is no directory /nowhere"), std::string::npos) << e.what();
  }
}

}  // namespace
}  // namespace assent::testing
