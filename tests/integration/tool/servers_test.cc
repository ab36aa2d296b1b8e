// What can only be said of real servers.
#include <cppconn/connection.h>
#include <cppconn/driver.h>
#include <cppconn/statement.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <pqxx/connection>
#include <pqxx/nontransaction>

#include "assent/tests/integration/tool/tool.h"
#include "assent/tests/support/servers.h"

namespace assent::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string resource(const std::string& name, const std::string& url) {
  return "[resources." + name + "]\nurl = \"" + url + "\"\n";
}

/// A port of this machine on which nobody listens, and nobody will while this lives.
class ClosedPort {
 public:
  ClosedPort() : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    auto* plain = reinterpret_cast<sockaddr*>(&address);
    if (::bind(socket_, plain, size) != 0 || ::getsockname(socket_, plain, &size) != 0) std::abort();
    number_ = std::to_string(ntohs(address.sin_port));
  }
  ~ClosedPort() { ::close(socket_); }
  ClosedPort(const ClosedPort&) = delete;
  ClosedPort& operator=(const ClosedPort&) = delete;
  const std::string& number() const { return number_; }

 private:
  int socket_;
  std::string number_;
};

std::string with_password(const std::string& url, const std::string& password) {
  ResourceUrl parsed = ResourceUrl::parse(url);
  return parsed.scheme + "://" + parsed.user + ':' + password + '@' + parsed.host + ':' + std::to_string(parsed.port) +
         '/' + parsed.path;
}

void expect_every_database_refuses(const Node& node, const std::string& what) {
  const Ran listed = node.run({"list"});
  EXPECT_EQ(listed.exit, 4) << listed.out << listed.err;
  EXPECT_THAT(listed.out, AllOf(HasSubstr("unreachable"), HasSubstr(what), HasSubstr("->"),
                                HasSubstr("Nothing is known to be in doubt, but not every database answered.")));
  const Ran examined = node.run({"doctor"});
  EXPECT_EQ(examined.exit, 7) << examined.out;
  EXPECT_THAT(examined.out, HasSubstr("problem"));
}

TEST(Servers, that_cannot_be_reached_are_named_with_what_to_do) {
  const ClosedPort port;
  for (const std::string& scheme : {std::string("postgresql"), std::string("mysql")}) {
    Node node;
    node.configure(resource("far", scheme + "://app:hunter2@127.0.0.1:" + port.number() + "/bank"));
    expect_every_database_refuses(node, "far");
    EXPECT_THAT(node.run({"list"}).out + node.run({"doctor"}).out, Not(HasSubstr("hunter2")));
  }
}

TEST(Servers, that_refuse_the_password_are_named_without_the_password) {
  for (const Server server : {Server::postgres, Server::mariadb, Server::mysql}) {
    const auto right = url(server);
    if (!right) continue;
    Node node;
    node.configure(resource("guarded", with_password(*right, "not-the-pass")));
    expect_every_database_refuses(node, "guarded");
    EXPECT_THAT(node.run({"list"}).out + node.run({"doctor"}).out, Not(HasSubstr("not-the-pass")));
  }
}

/// A user who may do all in the test's database but list prepared branches.
class PoorUser {
 public:
  PoorUser() : name_("assent_tool_" + std::to_string(::getpid())) {
    admin("CREATE USER '" + name_ + "'@'%' IDENTIFIED BY 'poor'");
    admin("GRANT ALL ON assent_test.* TO '" + name_ + "'@'%'");
  }
  ~PoorUser() { admin("DROP USER '" + name_ + "'@'%'"); }
  PoorUser(const PoorUser&) = delete;
  PoorUser& operator=(const PoorUser&) = delete;

  std::string url() const {
    const ResourceUrl parsed = ResourceUrl::parse(*testing::url(Server::mysql));
    return "mysql://" + name_ + ":poor@" + parsed.host + ':' + std::to_string(parsed.port) + "/assent_test";
  }

 private:
  static void admin(const std::string& statement) {
    const ResourceUrl parsed = ResourceUrl::parse(*admin_url(Server::mysql));
    sql::ConnectOptionsMap options;
    options["hostName"] = sql::SQLString("tcp://" + parsed.host);
    options["port"] = static_cast<int>(parsed.port);
    options["userName"] = sql::SQLString(parsed.user);
    options["password"] = sql::SQLString(parsed.password);
    const std::unique_ptr<sql::Connection> connection(get_driver_instance()->connect(options));
    const std::unique_ptr<sql::Statement> prepared(connection->createStatement());
    prepared->execute(statement);
  }
  std::string name_;
};

TEST(Servers, that_miss_a_privilege_are_reported_with_the_grant) {
  if (!url(Server::mysql)) GTEST_SKIP() << no_mysql;
  const PoorUser user;
  Node node;
  node.configure(resource("poor", user.url()));
  const Ran examined = node.run({"doctor"});
  EXPECT_EQ(examined.exit, 7);
  EXPECT_THAT(examined.out, HasSubstr("GRANT XA_RECOVER_ADMIN"));
  EXPECT_EQ(node.run({"list"}).exit, 4) << "it cannot be known what is in doubt there";
}

/// A PostgreSQL server of the test's own.
class OwnPostgres {
 public:
  OwnPostgres() {
    std::string name = "/tmp/assent-tool-pg-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary directory");
    folder_ = name;
    std::filesystem::permissions(folder_, std::filesystem::perms(0755));
    ask("start postgres");
  }
  ~OwnPostgres() {
    ask("kill-all");
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  OwnPostgres(const OwnPostgres&) = delete;
  OwnPostgres& operator=(const OwnPostgres&) = delete;

  void set(const std::string& setting) {
    {
      pqxx::connection admin(ask("url postgres --admin"));
      pqxx::nontransaction work(admin);
      work.exec("ALTER SYSTEM SET " + setting);
    }
    ask("stop postgres");
    ask("start postgres");
  }
  std::string url() { return ask("url postgres"); }

 private:
  std::string ask(const std::string& verb) {
    const std::string command = "ASSENT_SERVERS='" + folder_ + "' '" + std::getenv("ASSENT_TEST_SERVER_SCRIPT") + "' " +
                                verb + " > '" + folder_ + "/said' 2>&1 < /dev/null";
    const int failed = std::system(command.c_str());
    std::ifstream file(folder_ + "/said");
    const std::string said((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (failed != 0) throw std::runtime_error(verb + " failed:\n" + said);
    return said.substr(0, said.find('\n'));
  }
  std::string folder_;
};

TEST(Servers, without_prepared_transactions_are_reported_with_the_setting) {
  OwnPostgres server;
  server.set("max_prepared_transactions = 0");
  Node node;
  node.configure(resource("ledger", server.url()));
  const Ran examined = node.run({"doctor"});
  EXPECT_EQ(examined.exit, 7);
  EXPECT_THAT(examined.out, HasSubstr("max_prepared_transactions"));
  EXPECT_EQ(node.run({"list"}).exit, 0);
}

/// The demonstration over two of the servers, and afterwards nothing left in them.
void demonstrate(const std::string& north, const std::string& south) {
  const Ran ran = run_tool({"demo", "--over", north, "--over", south});
  EXPECT_EQ(ran.exit, 0) << ran.out << ran.err;
  EXPECT_THAT(ran.out, HasSubstr("No money was lost, and none was made."));
}

TEST(Servers, over_which_the_demonstration_runs_lose_no_money) {
  demonstrate(*url(Server::postgres), *url(Server::mariadb));
  if (!url(Server::mysql)) GTEST_SKIP() << no_mysql;
  demonstrate(*url(Server::postgres), *url(Server::mysql));
}

TEST(Servers, show_what_a_prepared_branch_blocks) {
  Node node(*url(Server::postgres), *url(Server::mariadb));
  node.crash_before("commit");
  const std::string id = node.only_transaction();
  const Ran explained = node.run({"explain", id});
  EXPECT_EQ(explained.exit, 1);
  EXPECT_THAT(explained.out, AllOf(HasSubstr("Blocks"), HasSubstr("lock")));
  // PostgreSQL's own name for it, as an operator finds it in pg_prepared_xacts.
  const std::string known_as = "known as 1095978580_";
  const std::size_t at = explained.out.find(known_as);
  ASSERT_NE(at, std::string::npos) << explained.out;
  const std::string gid = explained.out.substr(at + 9, explained.out.find('\n', at) - at - 9);
  EXPECT_THAT(node.run({"explain", gid}).out, HasSubstr("Transaction l-"));
  EXPECT_EQ(node.run({"resolve"}).exit, 0);
  EXPECT_EQ(node.money_in_north(), 990);
  EXPECT_EQ(node.money_in_south(), 1010);
}

TEST(Servers, one_of_which_is_down_keep_the_rest_waiting_until_it_is_back) {
  OwnPostgres north;
  Node node(north.url(), "sqlite:///south.db?mode=rwc");
  node.crash_before("commit");
  const std::string reachable = node.north();
  const ClosedPort port;
  node.configure(resource("north", "postgresql://assent:x@127.0.0.1:" + port.number() + "/assent_test") + node.south());
  const Ran resolved = node.run({"resolve"});
  EXPECT_EQ(resolved.exit, 4) << resolved.out;
  EXPECT_EQ(node.money_in_south(), 1010) << "what can be settled is";
  EXPECT_THAT(node.run({"list"}).out, HasSubstr("unreachable"));
  node.configure(reachable + node.south());
  EXPECT_EQ(node.run({"resolve"}).exit, 0);
  EXPECT_EQ(node.money_in_north(), 990);
}

}  // namespace
}  // namespace assent::testing
