#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "assent/recovery/decision_log.h"
#include "assent/recovery/log_reader.h"
#include "assent/tests/support/fake_file_system.h"
#include "assent/xa/branch.h"
#include "assent/xa/error.h"

namespace assent::test {

inline Decision decision_of(const DecisionLog& log, Incarnation incarnation, std::uint64_t sequence,
                            const std::string& label = "order") {
  return {{DeciderKind::log, log.id(), incarnation, sequence}, label, 1000, {{"ledger", "xid8 77"}, {"shop", ""}}};
}

/// A log in the directory "slot" of a disk in memory.
class LogFixture : public ::testing::Test {
 protected:
  LogFixture() {
    EXPECT_FALSE(disk.make_directory("slot"));
    EXPECT_FALSE(disk.sync_directory(""));
  }

  std::unique_ptr<DecisionLog> open() { return DecisionLog::open(disk, "slot", options); }

  /// As if kill -9 came: what was written is there, what was only said is not.
  void kill(std::unique_ptr<DecisionLog>& log) {
    disk.kill();
    bury(log);
  }
  /// As if the power went: what was not synced may be there or not.
  void power_cut(std::unique_ptr<DecisionLog>& log) {
    disk.crash();
    bury(log);
  }

  std::uint64_t newest() {
    const auto segments = log::list_segments(disk, "slot");
    EXPECT_TRUE(segments);
    EXPECT_FALSE(segments.value.empty());
    return segments.value.back();
  }
  std::string newest_path() { return "slot/" + log::segment_name(newest()); }

  /// The Error that opening throws.
  Error refusal() {
    try {
      open();
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "the log was opened";
    return {ErrorCode::misuse, "", ""};
  }

  /// Of a dead process: what its destructor does, such as flushing into a new segment, never happened.
  void bury(std::unique_ptr<DecisionLog>& log) {
    disk.refuse_changes(std::errc::io_error);
    log.reset();
    disk.refuse_changes(std::nullopt);
  }

  FakeFileSystem disk;
  LogOptions options{.segment_bytes = 64 << 10, .random = {}, .now_ms = {}};
};

}  // namespace assent::test
