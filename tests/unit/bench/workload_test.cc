#include "assent/bench/workload.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "assent/bench/null.h"
#include "assent/bench/transfer.h"
#include "assent/recovery/log_format.h"
#include "assent/xa/error.h"

namespace assent::bench {
namespace {

class OwnDirectory {
 public:
  OwnDirectory() {
    std::string pattern = (std::filesystem::temp_directory_path() / "assent-bench-test-XXXXXX").string();
    path = mkdtemp(pattern.data());
  }
  ~OwnDirectory() { std::filesystem::remove_all(path); }
  OwnDirectory(const OwnDirectory&) = delete;
  OwnDirectory& operator=(const OwnDirectory&) = delete;
  std::string path;
};

TEST(Workload, that_was_asked_for_is_refused_when_it_is_unknown_or_lacks_databases) {
  const OwnDirectory directory;
  const auto refused = [&](const Settings& settings) {
    try {
      static_cast<void>(run(settings, [](std::size_t) { return true; }));
      return false;
    } catch (const Error& error) {
      return error.code() == ErrorCode::configuration;
    }
  };
  EXPECT_TRUE(refused({.urls = {}, .workloads = {"tpcc"}, .log_directory = directory.path}));
  EXPECT_TRUE(refused({.urls = {}, .workloads = {"transfer"}, .log_directory = directory.path}));
  EXPECT_TRUE(refused({.urls = {"sqlite:///a.db"}, .workloads = {}, .log_directory = directory.path}));
  EXPECT_TRUE(refused({.urls = {}, .workloads = {}, .clients = {0}, .log_directory = directory.path}));
}

TEST(Workload, that_is_told_to_stop_reports_what_was_measured_and_leaves_nothing) {
  const OwnDirectory directory;
  const Settings settings{
      .urls = {}, .workloads = {"null", "null-400"}, .seconds = 60, .log_directory = directory.path};
  int asked = 0;
  const Report report = run(settings, [&](std::size_t) { return ++asked < 2; });
  ASSERT_EQ(report.results.size(), 1U) << "the second was never begun";
  EXPECT_EQ(report.results[0].times.ratios.size(), 1U);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path));
}

TEST(Workload, of_coroutines_ends_with_every_commit_in_the_log) {
  const OwnDirectory directory;
  const Settings settings{.urls = {}, .workloads = {"asynchronous"}, .seconds = 60, .log_directory = directory.path};
  int asked = 0;
  // It throws when the log has decided other than was committed.
  const Report report = run(settings, [&](std::size_t) { return ++asked < 2; });
  ASSERT_EQ(report.results.size(), 1U);
  EXPECT_GT(report.results[0].times.assent.transactions, 0U);
  EXPECT_TRUE(std::filesystem::is_empty(directory.path));
}

TEST(Workload, of_the_raw_disk_writes_what_the_log_writes) {
  const OwnDirectory directory;
  const std::vector<Batch> batches = record_log_writes(directory.path + "/record", 100);
  ASSERT_EQ(batches.size(), 100U) << "one write a decision";
  for (std::size_t i = 1; i < batches.size(); ++i) {
    EXPECT_EQ(batches[i].bytes % log::block_bytes, 0U);
    EXPECT_EQ(batches[i].offset, batches[i - 1].offset + batches[i - 1].bytes);
  }
  EXPECT_TRUE(std::filesystem::is_empty(directory.path));
}

TEST(Workload, of_transfers_makes_no_money) {
  const auto database = [] {
    ResourceSpec spec;
    spec.name = "db";
    spec.url = ResourceUrl::parse("postgresql://a@localhost/b");
    return open_database(spec, "t");
  }();
  for (const std::size_t databases : {2U, 3U}) {
    const Transfer transfer{.written = std::vector<Database*>(databases, database.get()), .read = {}};
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < databases; ++i) sum += transfer.expected_sum(i, 1000);
    EXPECT_EQ(sum, static_cast<std::int64_t>(databases) * accounts * opening_balance);
    EXPECT_NE(transfer.expected_sum(0, 1000), transfer.expected_sum(0, 0));
  }
}

}  // namespace
}  // namespace assent::bench
