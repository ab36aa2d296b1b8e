#include <filesystem>
#include <fstream>

#include "assent/tests/integration/postgres/fixture.h"
#include "assent/tests/support/tcp_proxy.h"

namespace assent::testing {
namespace {

using ::testing::HasSubstr;

/// A server of the test's own, to be configured and killed. Put away at the end.
class OwnServer {
 public:
  OwnServer() {
    std::string name = "/tmp/assent-pg-XXXXXX";
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    folder_ = name;
    std::filesystem::permissions(folder_, std::filesystem::perms(0755));
    start();
  }
  OwnServer(const OwnServer&) = delete;
  OwnServer& operator=(const OwnServer&) = delete;
  ~OwnServer() {
    ask("kill-all");
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  void start() { EXPECT_TRUE(ask("start postgres")); }
  void stop() { EXPECT_TRUE(ask("stop postgres")); }
  void kill_9() { EXPECT_TRUE(ask("kill postgres")); }
  void set(const std::string& setting) {
    auto admin = PlainSession::open(Settings::from(ResourceUrl::parse(url("--admin"))));
    ASSERT_TRUE(admin);
    ASSERT_TRUE((*admin)->exec("ALTER SYSTEM SET " + setting).ok());
    stop();
    start();
  }
  std::string url(const std::string& whose = {}) {
    EXPECT_TRUE(ask("url postgres " + whose));
    std::ifstream file(folder_ + "/said");
    std::string line;
    std::getline(file, line);
    return line;
  }

 private:
  bool ask(const std::string& verb) {
    const std::string command = "ASSENT_SERVERS='" + folder_ + "' '" + std::getenv("ASSENT_TEST_SERVER_SCRIPT") + "' " +
                                verb + " > '" + folder_ + "/said' 2>&1 < /dev/null";
    return std::system(command.c_str()) == 0;
  }
  std::string folder_;
};

class PostgresOwnServer : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(std::getenv("ASSENT_TEST_SERVER_SCRIPT"), nullptr) << "run through scripts/test or scripts/with-servers";
    server_ = std::make_unique<OwnServer>();
    reopen();
  }
  void reopen() {
    Registry registry;
    Postgres::register_with(registry);
    ResourceSpec spec;
    spec.name = "ledger";
    spec.url = ResourceUrl::parse(server_->url());
    resource_ = registry.open(spec);
  }
  Xid next_xid() { return Xid::of({DeciderKind::log, LogId{1}, Incarnation{2}, ++sequence_}, "ledger"); }
  std::unique_ptr<Branch> begin() {
    auto branch = resource_->start(next_xid(), {});
    EXPECT_TRUE(branch) << describe(branch.failure());
    return branch ? std::move(branch).value() : nullptr;
  }
  std::string doctor() {
    std::string all;
    for (const Finding& each : resource_->examine()) {
      if (each.severity != Finding::Severity::good) all += each.what + " -> " + each.mend + "\n";
    }
    return all;
  }

  std::unique_ptr<OwnServer> server_;
  std::shared_ptr<ResourceManager> resource_;
  std::uint64_t sequence_ = 0;
};

TEST_F(PostgresOwnServer, without_prepared_transactions_is_said_by_probe_by_prepare_and_by_the_doctor) {
  server_->set("max_prepared_transactions = 0");
  const auto probe = resource_->probe();
  ASSERT_TRUE(probe);
  EXPECT_FALSE(probe->capabilities.two_phase);
  auto branch = begin();
  Postgres::session(*branch).exec("CREATE TABLE t(x int)");
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::resource_error);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_THAT(reply.text, HasSubstr("max_prepared_transactions"));
  auto one_phase = begin();
  Postgres::session(*one_phase).exec("CREATE TABLE t(x int)");
  EXPECT_TRUE(one_phase->commit_one_phase().is_ok());
  EXPECT_THAT(doctor(), HasSubstr("ALTER SYSTEM SET max_prepared_transactions = 64"));
}

TEST_F(PostgresOwnServer, with_too_few_prepared_transactions_refuses_the_one_too_many) {
  server_->set("max_prepared_transactions = 1");
  ASSERT_TRUE(resource_->probe());
  auto first = begin();
  auto second = begin();
  ASSERT_TRUE(first->prepare().is_ok());
  const Reply reply = second->prepare();
  EXPECT_EQ(reply.code, Code::resource_error);
  EXPECT_EQ(reply.certainty, Certainty::not_done);
  EXPECT_TRUE(first->commit().is_ok());
  EXPECT_THAT(doctor(), HasSubstr("less than the pool"));
}

TEST_F(PostgresOwnServer, with_unsafe_settings_is_reported_with_the_statement_that_mends_it) {
  server_->set("fsync = off");
  server_->set("full_page_writes = off");
  server_->set("synchronous_commit = off");
  const std::string report = doctor();
  EXPECT_THAT(report, HasSubstr("ALTER SYSTEM SET fsync = on"));
  EXPECT_THAT(report, HasSubstr("ALTER SYSTEM SET full_page_writes = on"));
  EXPECT_THAT(report, HasSubstr("SET synchronous_commit = on"));
}

TEST_F(PostgresOwnServer, keeps_a_prepared_branch_over_kill_9_and_its_witness_after_that) {
  ASSERT_TRUE(resource_->probe());
  auto setup = begin();
  Postgres::session(*setup).exec("CREATE TABLE t(x int)");
  ASSERT_TRUE(setup->commit_one_phase().is_ok());
  auto committed = begin();
  Postgres::session(*committed).exec("INSERT INTO t VALUES (1)");
  ASSERT_TRUE(committed->prepare().is_ok());
  auto dropped = begin();
  Postgres::session(*dropped).exec("INSERT INTO t VALUES (2)");
  ASSERT_TRUE(dropped->prepare().is_ok());
  auto unprepared = begin();
  Postgres::session(*unprepared).exec("INSERT INTO t VALUES (3)");

  server_->kill_9();
  EXPECT_EQ(committed->commit().certainty, Certainty::unknown);
  EXPECT_EQ(unprepared->prepare().code, Code::resource_failed);
  EXPECT_EQ(resource_->commit(committed->xid(), {}).code, Code::resource_failed);
  server_->start();

  const auto listed = resource_->recover();
  ASSERT_TRUE(listed) << describe(listed.failure());
  EXPECT_EQ(listed->size(), 2U);
  // After a restart the locks stand under another virtual transaction.
  const auto impact = resource_->impact(committed->xid());
  ASSERT_TRUE(impact);
  EXPECT_GE(impact->locks.value_or(0), 2U);
  EXPECT_TRUE(resource_->commit(committed->xid(), {}).is_ok());
  EXPECT_TRUE(resource_->rollback(dropped->xid(), {}).is_ok());
  auto fate = resource_->fate(committed->xid(), committed->evidence());
  ASSERT_TRUE(fate);
  EXPECT_EQ(*fate, Fate::committed);
  fate = resource_->fate(dropped->xid(), dropped->evidence());
  ASSERT_TRUE(fate);
  EXPECT_EQ(*fate, Fate::rolled_back);
  auto reader = begin();
  EXPECT_EQ(Postgres::session(*reader).exec("SELECT sum(x) FROM t")[0][0].as<int>(), 1);
}

TEST_F(PostgresOwnServer, that_answers_in_the_place_of_another_is_refused) {
  const char* const url = std::getenv("ASSENT_TEST_POSTGRES_URL");
  ASSERT_NE(url, nullptr) << "run through scripts/test or scripts/with-servers";
  ResourceUrl shared = ResourceUrl::parse(url);
  const ResourceUrl own = ResourceUrl::parse(server_->url());
  auto admin = PlainSession::open(Settings::from(ResourceUrl::parse(server_->url("--admin"))));
  ASSERT_TRUE(admin) << describe(admin.failure());
  ASSERT_TRUE((*admin)->exec("ALTER ROLE assent PASSWORD " + text_literal(shared.password)).ok());
  TcpProxy proxy(shared.host, shared.port);
  Registry registry;
  Postgres::register_with(registry);
  ResourceSpec spec;
  spec.name = "ledger";
  spec.url = shared;
  spec.url.port = proxy.port();
  spec.url.parameters["connect_timeout"] = "60";  // a new server on a busy machine may be slow to answer
  resource_ = registry.open(spec);
  const auto probe = resource_->probe();
  ASSERT_TRUE(probe) << describe(probe.failure());
  proxy.lead_to(own.port);
  const auto branch = resource_->start(next_xid(), {});
  ASSERT_FALSE(branch) << "the servers tell themselves apart by " << probe->identity.text();
  EXPECT_EQ(branch.failure().code, Code::resource_error) << describe(branch.failure());
  EXPECT_EQ(branch.failure().certainty, Certainty::not_done);
  EXPECT_THAT(branch.failure().text, HasSubstr("another database answers"));
}

}  // namespace
}  // namespace assent::testing

// libpqxx 6.4 loses a result when a statement meets a session that was killed (connection_base::make_result throws
// first).
extern "C" const char* __lsan_default_suppressions();   // NOLINT(bugprone-reserved-identifier)
extern "C" const char* __lsan_default_suppressions() {  // NOLINT(bugprone-reserved-identifier)
  return "leak:libpqxx";
}
