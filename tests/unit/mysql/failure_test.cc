#include "assent/adapters/mysql/failure.h"

#include <gtest/gtest.h>

namespace assent::mysql {
namespace {

Failure of(int number) {
  return {number, "", "text", loses_session(number)};
}

TEST(Failures, are_told_by_xopen_codes) {
  EXPECT_EQ(code_of(of(1397)), Code::not_found);
  EXPECT_EQ(code_of(of(1399)), Code::protocol_error);
  EXPECT_EQ(code_of(of(1440)), Code::duplicate);
  EXPECT_EQ(code_of(of(1614)), Code::rb_deadlock);
  EXPECT_EQ(code_of(of(1213)), Code::rb_deadlock);
  EXPECT_EQ(code_of(of(1205)), Code::rb_timeout);
  EXPECT_EQ(code_of(of(1402)), Code::rb_rollback);
  EXPECT_EQ(code_of(of(1045)), Code::resource_error);
  EXPECT_EQ(code_of(of(1040)), Code::resource_failed);
}

TEST(Failures, that_lose_the_session_leave_the_effect_unknown) {
  for (const int number : {0, 1053, 1156, 1927, 2006, 2013, 2014, 3169, 4031}) {
    EXPECT_EQ(failed(of(number)).code, Code::resource_failed) << number;
    EXPECT_EQ(failed(of(number)).certainty, Certainty::unknown) << number;
  }
  EXPECT_EQ(failed(of(1205)).certainty, Certainty::not_done);
}

}  // namespace
}  // namespace assent::mysql
