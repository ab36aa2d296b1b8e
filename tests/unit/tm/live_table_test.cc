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

TEST(LiveTable, tells_the_log_before_it_forgets_and_is_locked_for_nobody_meanwhile) {
  LookingLog log(LogId{7});
  Observer observer;
  LiveTable table(log, log.add_incarnation(1), observer);
  log.table = &table;
  const TransactionId id = table.begin();
  const std::vector<std::string> evidence = {""};
  table.complete(Outcome(OutcomeKind::committed, id, "", Reply::ok(), {{"a", "committed", Reply::ok()}}),
                 {true, false, evidence});
  EXPECT_EQ(log.was_active, true) << "else recovery could take it for one that never decided";
  EXPECT_EQ(log.engine_said, EngineSays::active);
  EXPECT_EQ(log.was_known, false);
  EXPECT_FALSE(table.is_active(id));
  ASSERT_TRUE(table.known(id));
  EXPECT_TRUE(table.known(id)->committed());
}

TEST(LiveTable, keeps_what_is_not_finished_and_tells_the_log_nothing) {
  LookingLog log(LogId{7});
  Observer observer;
  LiveTable table(log, log.add_incarnation(1), observer);
  log.table = &table;
  const TransactionId id = table.begin();
  const std::vector<std::string> evidence = {""};
  table.complete(Outcome(OutcomeKind::committed, id, "", Reply::ok(), {{"a", "pending", Reply::ok()}}),
                 {true, false, evidence});
  EXPECT_FALSE(log.was_active) << "it was told";
  EXPECT_FALSE(table.is_active(id));
  EXPECT_EQ(table.state(id).says, EngineSays::decided);
}

}  // namespace
}  // namespace assent::detail
