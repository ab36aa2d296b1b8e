#include "assent/tools/assent/text.h"

#include <gtest/gtest.h>

namespace assent::tool {
namespace {

using std::chrono::seconds;

TEST(Text, tells_durations_in_the_unit_that_fits) {
  EXPECT_EQ(duration_text(seconds(-5)), "0 s");
  EXPECT_EQ(duration_text(seconds(119)), "119 s");
  EXPECT_EQ(duration_text(seconds(120)), "2 min");
  EXPECT_EQ(duration_text(seconds(7200)), "2 h");
  EXPECT_EQ(duration_text(seconds(48 * 3600)), "2 d");
}

TEST(Text, from_outside_cannot_steer_the_terminal) {
  EXPECT_EQ(printable("a\x1b[2Jb\nc\x7f"), "a?[2Jb?c?");
  EXPECT_EQ(printable("\xc2\x9b"
                      "31m"),
            "?31m");
  EXPECT_EQ(printable("größe"), "größe");
}

TEST(Text, is_as_wide_as_it_looks) {
  EXPECT_EQ(width_of("größe"), 5U);
  EXPECT_EQ(width_of("\033[31mred\033[0m"), 3U);
}

TEST(Text, is_shortened_without_cutting_a_character_in_two) {
  EXPECT_EQ(shortened("größe", 5), "größe");
  EXPECT_EQ(shortened("größer", 4), "grö…");
}

TEST(Text, is_wrapped_between_words) {
  EXPECT_EQ(wrapped("one two three", 7), (std::vector<std::string>{"one two", "three"}));
  EXPECT_EQ(wrapped("", 7), (std::vector<std::string>{""}));
  EXPECT_EQ(wrapped("muchtoolong x", 4), (std::vector<std::string>{"muchtoolong", "x"}));
}

}  // namespace
}  // namespace assent::tool
