#include "assent/tm/alarm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>
#include <string>
#include <vector>

namespace assent::detail {
namespace {

using testing::ElementsAre;

TEST(Alarm, calls_in_the_order_of_times_and_not_what_was_cancelled) {
  std::promise<void> all;
  std::vector<std::string> called;
  Alarm alarm;
  const auto now = steady_now();
  const auto holds_the_thread = std::make_shared<std::promise<void>>();
  alarm.at(now, [holds_the_thread] { holds_the_thread->get_future().wait(); });
  alarm.at(now + std::chrono::nanoseconds(3), [&] { all.set_value(); });
  alarm.at(now + std::chrono::nanoseconds(2), [&] { called.emplace_back("third"); });
  const Alarm::Id second = alarm.at(now + std::chrono::nanoseconds(1), [&] { called.emplace_back("second"); });
  alarm.at(now + std::chrono::nanoseconds(1), [&] { called.emplace_back("at the same time"); });
  alarm.cancel(second);
  alarm.cancel(second);
  holds_the_thread->set_value();
  all.get_future().wait();
  EXPECT_THAT(called, ElementsAre("at the same time", "third"));
}

TEST(Alarm, an_earlier_time_is_not_kept_waiting_by_a_later_one) {
  Alarm alarm;
  std::promise<void> called;
  alarm.at(steady_now() + std::chrono::hours(1), [] { ADD_FAILURE(); });
  alarm.at(steady_now() + std::chrono::milliseconds(1), [&] { called.set_value(); });
  called.get_future().wait();
}

TEST(Alarm, what_is_called_may_set_and_cancel_others) {
  Alarm alarm;
  std::promise<void> called;
  const Alarm::Id later = alarm.at(steady_now() + std::chrono::hours(1), [] { ADD_FAILURE(); });
  alarm.at(steady_now(), [&] {
    alarm.cancel(later);
    alarm.at(steady_now(), [&] { called.set_value(); });
  });
  called.get_future().wait();
}

TEST(Alarm, destruction_forgets_what_has_not_come) {
  const auto kept = std::make_shared<int>(1);
  {
    Alarm alarm;
    alarm.at(steady_now() + std::chrono::hours(1), [kept] { ADD_FAILURE(); });
    EXPECT_EQ(kept.use_count(), 2);
  }
  EXPECT_EQ(kept.use_count(), 1);
}

}  // namespace
}  // namespace assent::detail
