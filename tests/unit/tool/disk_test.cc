#include "assent/tools/assent/disk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>

namespace assent::tool {
namespace {

using ::testing::HasSubstr;
using Severity = Finding::Severity;

TEST(Disk, on_a_network_is_a_problem_with_a_mend) {
  const Finding finding = judge_volume({.type = "nfs", .remote = true}, "/log");
  EXPECT_EQ(finding.severity, Severity::problem);
  EXPECT_THAT(finding.what, HasSubstr("/log lies on a network file system (nfs)"));
  EXPECT_THAT(finding.mend, HasSubstr("local disk"));
}

TEST(Disk, in_memory_is_a_problem) {
  EXPECT_EQ(judge_volume({.type = "tmpfs", .remote = false}, "/log").severity, Severity::problem);
  EXPECT_EQ(judge_volume({.type = "ext4", .remote = false}, "/log").severity, Severity::good);
}

TEST(Disk, that_is_nearly_full_is_told_before_it_is_full) {
  EXPECT_EQ(judge_space(1 << 20, "/log").severity, Severity::problem);
  EXPECT_EQ(judge_space(500ULL << 20, "/log").severity, Severity::advice);
  EXPECT_EQ(judge_space(500ULL << 30, "/log").severity, Severity::good);
}

TEST(Disk, that_syncs_faster_than_a_disk_can_is_doubted_but_not_condemned) {
  const Finding finding = judge_syncs(20000);
  EXPECT_EQ(finding.severity, Severity::advice);
  EXPECT_THAT(finding.what, HasSubstr("battery"));
  EXPECT_EQ(judge_syncs(200).severity, Severity::good);
  EXPECT_EQ(judge_syncs(10).severity, Severity::advice);
}

TEST(Disk, is_examined_without_leaving_anything_behind) {
  const auto directory = std::filesystem::temp_directory_path() / "assent-disk-test-XXXXXX";
  std::string name = directory.string();
  ASSERT_NE(::mkdtemp(name.data()), nullptr);
  const auto findings = examine_disk(name);
  EXPECT_TRUE(std::any_of(findings.begin(), findings.end(),
                          [](auto& each) { return each.what.find("syncs a second") != std::string::npos; }));
  EXPECT_TRUE(std::filesystem::is_empty(name));
  std::filesystem::remove(name);
}

}  // namespace
}  // namespace assent::tool
