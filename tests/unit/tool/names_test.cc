#include "assent/tools/assent/names.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "assent/tools/assent/stop.h"

namespace assent::tool {
namespace {

using ::testing::HasSubstr;

TransactionId id(std::uint64_t incarnation, std::uint64_t sequence) {
  return {DeciderKind::log, LogId{0x0123456789abcdef}, Incarnation{incarnation}, sequence};
}

const TransactionId first = id(0x9c1f042200000000, 42);
const TransactionId second = id(0x9c1f042200000000, 43);
const TransactionId third = id(0x9c1f04ff00000000, 42);

std::string refusal(std::string_view typed, const std::set<TransactionId>& known) {
  try {
    static_cast<void>(find_named(typed, known));
  } catch (const Stop& stop) {
    EXPECT_EQ(stop.exit(), Exit::usage);
    return stop.what() + std::string(" -> ") + stop.hint();
  }
  return "taken";
}

TEST(ShortNames, are_as_long_as_it_takes_to_tell_all_apart) {
  EXPECT_EQ(short_names({first, second}).at(first), "9c1f04-42");
  const auto names = short_names({first, second, third});
  EXPECT_EQ(names.at(first), "9c1f042-42");
  EXPECT_EQ(names.at(third), "9c1f04f-42");
}

TEST(ShortNames, are_full_ids_when_only_the_log_differs) {
  TransactionId copy = first;
  copy.log = LogId{7};
  EXPECT_EQ(short_names({first, copy}).at(copy), copy.text());
}

TEST(FindNamed, takes_what_the_listing_showed) {
  const std::set<TransactionId> known{first, second, third};
  for (const auto& [transaction, name] : short_names(known)) {
    EXPECT_EQ(find_named(name, known).transaction, transaction);
    const Named branch = find_named(name + "/ledger", known);
    EXPECT_EQ(branch.transaction, transaction);
    EXPECT_EQ(branch.resource, "ledger");
  }
}

TEST(FindNamed, takes_full_ids_prefixes_and_gids) {
  const std::set<TransactionId> known{first, third};
  EXPECT_EQ(find_named(first.text(), known).transaction, first);
  EXPECT_EQ(find_named(first.text().substr(0, 27), known).transaction, first);
  const Named named = find_named(to_gid(Xid::of(third, "ledger")), known);
  EXPECT_EQ(named.transaction, third);
  EXPECT_EQ(named.resource, "ledger");
  EXPECT_TRUE(named.known);
}

TEST(FindNamed, takes_a_full_id_that_is_not_in_doubt_and_says_so) {
  EXPECT_FALSE(find_named(second.text(), {first}).known);
}

TEST(FindNamed, prefers_the_whole_id_to_a_longer_one_that_it_begins) {
  const TransactionId longer = id(0x9c1f042200000000, 421);
  EXPECT_EQ(find_named(first.text(), {first, longer}).transaction, first);
  EXPECT_EQ(find_named("9c1f04-42", {first, longer}).transaction, first);
}

TEST(FindNamed, refuses_what_is_damaged) {
  const std::set<TransactionId> known{first};
  for (const char* damaged : {"", "/", "-", "-42", "9C1F04-42", "l-0123456789abcdeg", "9c1f04-42/", "9c1f04-42/a/b",
                              "9c1f04-42\x1b[31m", "9c1f04- 42", "9c1f04-99999999999999999999999"}) {
    EXPECT_THAT(refusal(damaged, known), HasSubstr(" -> ")) << damaged;
  }
  EXPECT_THAT(refusal("9c1f04-42\x1b[31m", known), ::testing::Not(HasSubstr("\x1b")));
  EXPECT_THAT(refusal(std::string(100000, 'a'), known), HasSubstr("too long"));
}

TEST(FindNamed, refuses_what_is_ambiguous_and_shows_the_choices) {
  EXPECT_THAT(refusal("9c1f04-42", {first, third}), HasSubstr(first.text() + ", " + third.text()));
}

TEST(FindNamed, refuses_another_managers_gid) {
  EXPECT_THAT(refusal(to_gid({131077, "abc", "def"}), {first}), HasSubstr("another transaction manager"));
}

}  // namespace
}  // namespace assent::tool
