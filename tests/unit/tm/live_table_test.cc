// The table of live transactions beside its log: what others see in between.
#include "assent/tm/live_table.h"

#include <gtest/gtest.h>

#include "assent/tests/unit/recoverer/memory_log.h"
#include "assent/tm/outcome.h"

namespace assent::detail {
namespace {

/// Looks at the table at the moment at which it is told that a transaction is over.
class LookingLog final : public MemoryLog {
 public:
  using MemoryLog::MemoryLog;

  void finish(const TransactionId& id) override {
    MemoryLog::finish(id);
    was_active = table->is_active(id);
    engine_said = table->state(id).says;
    was_known = table->known(id).has_value();
  }

  LiveTable* table = nullptr;
  std::optional<bool> was_active;
  std::optional<bool> was_known;
  std::optional<EngineSays> engine_said;
};

class TableBesideItsLog : public testing::Test {
 protected:
  TableBesideItsLog() { log_.table = &table_; }

  /// A decided transaction ends with its only branch in that state.
  void complete(const std::string& state) {
    const std::vector<std::string> evidence = {""};
    table_.complete(Outcome(OutcomeKind::committed, id_, "", Reply::ok(), {{"a", state, Reply::ok()}}),
                    {true, false, evidence});
  }

  LookingLog log_{LogId{7}};
  Observer observer_;
  LiveTable table_{log_, log_.add_incarnation(1), observer_};
  const TransactionId id_ = table_.begin();
};

TEST_F(TableBesideItsLog, tells_it_before_it_forgets_and_is_locked_for_nobody_meanwhile) {
  complete("committed");
  EXPECT_EQ(log_.was_active, true) << "else recovery could take it for one that never decided";
  EXPECT_EQ(log_.engine_said, EngineSays::active);
  EXPECT_EQ(log_.was_known, false);
  EXPECT_FALSE(table_.is_active(id_));
  ASSERT_TRUE(table_.known(id_));
  EXPECT_TRUE(table_.known(id_)->committed());
}

TEST_F(TableBesideItsLog, keeps_what_is_not_finished_and_tells_it_nothing) {
  complete("pending");
  EXPECT_FALSE(log_.was_active) << "it was told";
  EXPECT_FALSE(table_.is_active(id_));
  EXPECT_EQ(table_.state(id_).says, EngineSays::decided);
}

}  // namespace
}  // namespace assent::detail
