// The bench over real servers: what it counts, and that it proves the money. Nothing here looks at a time.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <pqxx/connection>
#include <pqxx/nontransaction>
#include <stdexcept>

#include "assent/bench/workload.h"
#include "assent/tests/integration/tool/tool.h"
#include "assent/tests/support/servers.h"

namespace assent::testing {
namespace {

using nlohmann::json;
using ::testing::HasSubstr;

std::string ask(const std::string& question) {
  pqxx::connection connection(*url(Server::postgres));
  pqxx::nontransaction sql(connection);
  return sql.exec1(question)[0].as<std::string>();
}

std::string tables_left() {
  return ask("SELECT count(*) FROM pg_tables WHERE tablename LIKE 'assent_bench_%'");
}

TEST(BenchServers, count_what_a_transfer_costs_and_nothing_is_left_of_it) {
  const Ran ran = run_tool({"bench", "--json", "--over", *url(Server::postgres), "--over", *url(Server::mariadb),
                            "--workload", "transfer", "--clients", "1", "--seconds", "0.1"});
  ASSERT_EQ(ran.exit, 0) << ran.err;
  const json printed = json::parse(ran.out);
  ASSERT_EQ(printed.at("results").size(), 1U);
  const json& result = printed.at("results").at(0);
  EXPECT_THAT(result.at("databases").at(0).get<std::string>(), HasSubstr("PostgreSQL"));
  EXPECT_THAT(result.at("databases").at(1).get<std::string>(), HasSubstr("MariaDB"));
  EXPECT_THAT(printed.at("settings").at(0).dump(), HasSubstr("fsync = on"));
  EXPECT_THAT(printed.at("settings").at(1).dump(), HasSubstr("innodb_flush_log_at_trx_commit = 1"));

  const json& floor = result.at("floor_cost").at("databases");
  EXPECT_NEAR(floor.at(0).at("syncs").get<double>(), 2, 0.1);
  EXPECT_NEAR(floor.at(1).at("syncs").get<double>(), 2, 0.1);
  EXPECT_NEAR(floor.at(0).at("round_trips").get<double>(), 4, 0.05) << "BEGIN, UPDATE, PREPARE, COMMIT PREPARED";
  EXPECT_NEAR(floor.at(1).at("round_trips").get<double>(), 5, 0.05) << "START, UPDATE, END, PREPARE, COMMIT";
  EXPECT_NEAR(floor.at(1).at("statements").get<double>(), 5, 0.1);
  EXPECT_TRUE(floor.at(0).at("statements").is_null()) << "PostgreSQL does not count them";
  EXPECT_EQ(result.at("floor_cost").at("log_syncs"), 0);
  const json& assent = result.at("assent_cost");
  EXPECT_NEAR(assent.at("databases").at(0).at("syncs").get<double>(), 2, 0.1);
  EXPECT_NEAR(assent.at("databases").at(1).at("syncs").get<double>(), 2, 0.1);
  EXPECT_NEAR(assent.at("log_syncs").get<double>(), 1, 0.05);
  EXPECT_NEAR(assent.at("databases").at(0).at("round_trips").get<double>(), 4, 0.1)
      << "BEGIN and UPDATE, PREPARE, COMMIT PREPARED, and the session's reset, which nobody waits for";
  EXPECT_NEAR(assent.at("databases").at(1).at("round_trips").get<double>(), 4, 0.1)
      << "START and witness, UPDATE, END and PREPARE, COMMIT";
  EXPECT_NEAR(assent.at("databases").at(1).at("statements").get<double>(), 10, 0.2)
      << "lock, START, witness; UPDATE; lock, END, PREPARE; COMMIT and two that reset the session";
  EXPECT_EQ(tables_left(), "0");
}

class BenchRun : public ::testing::Test {
 protected:
  BenchRun() {
    std::string pattern = (std::filesystem::temp_directory_path() / "assent-bench-test-XXXXXX").string();
    settings_.log_directory = mkdtemp(pattern.data());
    settings_.urls = {*url(Server::postgres)};
    settings_.workloads = {"one"};
    settings_.clients = {2};
    settings_.seconds = 60;
  }
  ~BenchRun() override { std::filesystem::remove_all(settings_.log_directory); }

  const std::string table_ = "assent_bench_" + std::to_string(getpid());
  bench::Settings settings_;
};

TEST_F(BenchRun, that_is_told_to_stop_proves_its_books_and_takes_its_tables_away) {
  int asked = 0;
  const bench::Report report = bench::run(settings_, [&](std::size_t) { return ++asked < 3; });
  ASSERT_EQ(report.results.size(), 1U);
  EXPECT_EQ(report.results[0].times.ratios.size(), 2U);
  EXPECT_EQ(tables_left(), "0");
}

TEST_F(BenchRun, notices_a_single_cent_that_it_did_not_move) {
  bool meddled = false;
  const auto meddle = [&](std::size_t) {
    if (!std::exchange(meddled, true)) {
      pqxx::connection connection(*url(Server::postgres));
      pqxx::nontransaction(connection).exec("UPDATE " + table_ + " SET cents = cents + 1 WHERE id = 1");
    }
    return false;
  };
  try {
    static_cast<void>(bench::run(settings_, meddle));
    ADD_FAILURE() << "the cent went unnoticed";
  } catch (const std::logic_error& error) {
    EXPECT_THAT(error.what(), HasSubstr("MONEY WAS LOST OR MADE"));
  }
  pqxx::connection connection(*url(Server::postgres));
  pqxx::nontransaction(connection).exec("DROP TABLE " + table_);
}

TEST_F(BenchRun, settles_what_it_left_in_doubt_for_the_bench_of_recovery) {
  // As many as the tests' PostgreSQL has room for.
  constexpr int transactions = 60;
  const auto database = [](const std::string& name, Server server) {
    ResourceSpec spec;
    spec.name = name;
    spec.url = ResourceUrl::parse(*url(server));
    return bench::open_database(spec, "assent_bench_" + std::to_string(getpid()));
  };
  const auto ledger = database("ledger", Server::postgres);
  const auto shop = database("shop", Server::mariadb);
  int prepared = 0;
  std::mutex mutex;
  const bench::Recovered recovered =
      bench::time_recovery(*ledger, *shop, transactions, settings_.log_directory + "/log", [&] {
        const std::lock_guard lock(mutex);
        ++prepared;
      });
  EXPECT_EQ(prepared, transactions);
  EXPECT_EQ(recovered.decided, transactions / 2);
  ASSERT_EQ(recovered.costs.size(), 2U);
  EXPECT_GE(recovered.costs[1].statements.value_or(0), std::uint64_t{transactions});
  EXPECT_EQ(tables_left(), "0");
}

}  // namespace
}  // namespace assent::testing
