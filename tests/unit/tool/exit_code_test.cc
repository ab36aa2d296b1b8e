#include "assent/tools/assent/exit_code.h"

#include <gtest/gtest.h>

namespace assent::tool {
namespace {

TEST(ExitCode, is_the_one_that_asks_most_of_the_operator) {
  EXPECT_EQ(graver(Exit::done, Exit::in_doubt), Exit::in_doubt);
  EXPECT_EQ(graver(Exit::unreachable, Exit::in_doubt), Exit::unreachable);
  EXPECT_EQ(graver(Exit::needs_person, Exit::unreachable), Exit::needs_person);
  EXPECT_EQ(graver(Exit::log_damaged, Exit::needs_person), Exit::log_damaged);
  EXPECT_EQ(graver(Exit::done, Exit::done), Exit::done);
}

TEST(ExitCode, tells_a_damaged_log_from_a_foreign_one) {
  EXPECT_EQ(exit_for(ErrorCode::log_damaged), Exit::log_damaged);
  EXPECT_EQ(exit_for(ErrorCode::log_foreign), Exit::log_held);
  EXPECT_EQ(exit_for(ErrorCode::configuration), Exit::usage);
  EXPECT_EQ(exit_for(ErrorCode::resource_down), Exit::unreachable);
}

}  // namespace
}  // namespace assent::tool
