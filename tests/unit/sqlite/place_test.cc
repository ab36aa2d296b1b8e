#include "assent/adapters/sqlite/database_place.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "assent/tests/unit/sqlite/database.h"

namespace assent::sqlite {
namespace {

using ::testing::IsEmpty;
using ::testing::SizeIs;

class DatabasePlaceTest : public test::WithDatabase {
 protected:
  void write(const std::string& name) const { std::ofstream(name) << "x"; }
  const DatabasePlace place_{path()};
};

TEST_F(DatabasePlaceTest, names_of_branches_come_back) {
  const Xid foreign{4711, std::string("\0\xff", 2), ""};
  for (const Xid& each : {xid(0), xid(~std::uint64_t{0}, std::string(64, 'z')), foreign}) {
    EXPECT_EQ(from_file_name(to_file_name(each)), each);
  }
  for (const char* name : {"", "trial.1.0.d", "l-0-0-0@bank", "a/b", "l-0000000000000001-0000000000000001-1@a@b"}) {
    EXPECT_FALSE(from_file_name(name)) << name;
  }
}

TEST_F(DatabasePlaceTest, tells_every_pair_of_journal_and_parked_name_apart) {
  enum { nothing, file, folder };
  for (const int at_journal : {nothing, file, folder}) {
    for (const int at_parked : {nothing, file, folder}) {
      for (const auto& [what, name] :
           {std::pair{at_journal, place_.journal()}, std::pair{at_parked, place_.parked(xid(1))}}) {
        std::filesystem::remove_all(name);
        if (what == file) write(name);
        if (what == folder) std::filesystem::create_directory(name);
      }
      const PlaceState state = place_.look().value();
      EXPECT_EQ(state.in_doubt(xid(1)) != nullptr, at_journal == folder && at_parked == file);
      EXPECT_EQ(state.find(xid(1)) != nullptr, at_parked != nothing);
      EXPECT_EQ(state.in_doubt(xid(2)), nullptr);
      EXPECT_FALSE(state.ambiguous());
    }
  }
}

TEST_F(DatabasePlaceTest, another_databases_branches_are_not_ours) {
  write(path("bank.db2-assent-" + to_file_name(xid(1))));
  write(path("bank.db-assent-other.db-assent-" + to_file_name(xid(1))));
  EXPECT_THAT(place_.look().value().parked, IsEmpty());
}

TEST_F(DatabasePlaceTest, a_park_without_journal_changes_nothing) {
  const Moved moved = place_.park(xid(1));
  EXPECT_EQ(moved.error, ENOENT);
  EXPECT_TRUE(moved.certain);
  EXPECT_THAT(beside(), IsEmpty());
}

TEST_F(DatabasePlaceTest, a_guard_with_something_in_it_is_not_removed) {
  write(place_.journal());
  ASSERT_TRUE(place_.park(xid(1)).ok());
  write(place_.journal() + "/note");
  EXPECT_EQ(place_.commit(xid(1)).error, ENOTEMPTY);
  EXPECT_NE(place_.look().value().in_doubt(xid(1)), nullptr);
}

TEST_F(DatabasePlaceTest, leftovers_go_only_where_there_is_no_guard) {
  write(place_.parked(xid(1)));
  std::filesystem::create_directory(place_.parked(xid(2)));
  std::filesystem::create_directory(place_.journal());
  ASSERT_TRUE(place_.remove_leftovers(place_.look().value()).ok());
  EXPECT_THAT(beside(), SizeIs(3));
  std::filesystem::remove(place_.journal());
  ASSERT_TRUE(place_.remove_leftovers(place_.look().value()).ok());
  EXPECT_THAT(beside(), IsEmpty());
}

}  // namespace
}  // namespace assent::sqlite
