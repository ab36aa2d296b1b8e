// Records as people read them, and the bounds that a record is held to before it is written.
#include <cstdint>
#include <limits>
#include <vector>

#include "assent/recovery/log_bytes.h"
#include "assent/recovery/log_record.h"
#include "assent/tests/unit/recovery/log_fixture.h"

namespace assent::test {
namespace {

const TransactionId id{DeciderKind::log, LogId{1}, Incarnation{2}, 3};
const FileIdentity place{"m\x01", 4, 5, 6'000'000'000};

TEST(LogText, tells_every_record_in_one_line) {
  struct Row {
    log::Record record;
    std::string name;
    std::string text;
  };
  const std::string who = id.text();
  const std::vector<Row> rows = {
      {Decision{id, "order\n", 1000, {{"ledger", "\x01\xff"}, {"sh\x7fop", ""}}}, "decision",
       who + " commit, 1970-01-01T00:00:01Z, \"order?\", ledger (evidence 01ff), sh?op"},
      {Decision{id, "", 0, {}}, "decision", who + " commit, 1970-01-01T00:00:00Z"},
      {log::Finished{id}, "finished", who},
      {log::Recovered{id}, "recovered", who + " committed by recovery"},
      {log::Forgotten{id}, "forgotten", who + " given up by a person"},
      {log::Over{Incarnation{0x1234}, 5, 9}, "over", "0000000000001234, over from 5 to before 9"},
      {log::Begun{{Incarnation{255}, 60'000, 77, 8, 0, true, false}, place}, "incarnation",
       "00000000000000ff, opened 1970-01-01T00:01:00Z by process 77, over below 8, abort may be presumed; machine m?, "
       "device 4, inode 5, born 1970-01-01T00:00:06Z"},
      {log::Begun{{Incarnation{1}, 0, 77, 8, 0, false, true}, {}}, "incarnation",
       "0000000000000001, opened 1970-01-01T00:00:00Z by process 77, over below 8, presumes nothing, adopted; machine "
       "?, device 0, inode 0, born 1970-01-01T00:00:00Z"},
      {log::Moved{2000, place}, "moved",
       "found copied or restored, 1970-01-01T00:00:02Z; was machine m?, device 4, inode 5, born 1970-01-01T00:00:06Z"},
      {log::Adopted{3000}, "adopted", "adopted by a person, 1970-01-01T00:00:03Z"},
      {LoggedResource{"ledger", {"postgresql:1", "bank"}}, "resource", "ledger is postgresql:1/bank"},
      {log::PersonNote{4000, id, "ledger", "by hand"}, "person", who + "/ledger, 1970-01-01T00:00:04Z: by hand"},
      {log::Adopted{std::numeric_limits<std::int64_t>::max()}, "adopted",
       "adopted by a person, 292278994-08-17T07:12:55Z"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(log::name_of(row.record), row.name);
    EXPECT_EQ(log::text_of(row.record), row.text);
    // And the same again from its bytes.
    std::string bytes;
    log::append(bytes, row.record);
    const auto again = log::decode(static_cast<std::uint8_t>(bytes[4]), std::string_view(bytes).substr(16));
    ASSERT_TRUE(again) << row.text;
    EXPECT_EQ(log::text_of(*again), row.text);
    EXPECT_EQ(log::get<std::uint32_t>(bytes.data()), bytes.size() - log::record_head);
    // Of every cut or lengthened one nothing is taken.
    for (std::size_t size = 16; size < bytes.size(); ++size) {
      EXPECT_FALSE(log::decode(static_cast<std::uint8_t>(bytes[4]), std::string_view(bytes).substr(16, size - 16)));
    }
    EXPECT_FALSE(log::decode(static_cast<std::uint8_t>(bytes[4]), bytes.substr(16) + '\0'));
  }
}

TEST(LogText, holds_a_record_to_its_bounds_to_the_byte) {
  const auto decision = [](std::size_t label, std::size_t branches, std::size_t evidence) {
    Decision out{id, std::string(label, 'l'), 0, {}};
    out.branches.assign(branches, {"ledger", std::string(evidence, 'e')});
    return log::unfit(out);
  };
  EXPECT_EQ(decision(256, 64, 128), "");
  EXPECT_EQ(decision(257, 1, 0), "its label is longer than 256 bytes");
  EXPECT_EQ(decision(0, 65, 0), "it has more than 64 branches");
  EXPECT_EQ(decision(0, 1, 129), "the evidence of a branch is longer than 128 bytes");
  EXPECT_EQ(log::unfit(Decision{id, "", 0, {{"", ""}}}), "a branch's resource has no usable name");
  const auto resource = [](std::size_t name, std::size_t system, std::size_t database) {
    return log::unfit(LoggedResource{std::string(name, 'n'), {std::string(system, 's'), std::string(database, 'd')}});
  };
  EXPECT_EQ(resource(64, 512, 512), "");
  EXPECT_EQ(resource(0, 1, 1), "the resource has no usable name");
  EXPECT_EQ(resource(65, 1, 1), "the resource has no usable name");
  EXPECT_EQ(resource(1, 513, 1), "a part of the resource's identity is longer than 512 bytes");
  EXPECT_EQ(resource(1, 1, 513), "a part of the resource's identity is longer than 512 bytes");
  const auto note = [](std::size_t name, std::size_t what) {
    return log::unfit(log::PersonNote{0, id, std::string(name, 'n'), std::string(what, 'w')});
  };
  EXPECT_EQ(note(64, 1024), "");
  EXPECT_EQ(note(65, 1), "the resource's name is longer than 64 bytes");
  EXPECT_EQ(note(1, 1025), "the note is longer than 1024 bytes");
  EXPECT_EQ(log::unfit(log::Finished{id}), "");
}

TEST(LogText, takes_no_record_that_breaks_a_bound) {
  std::string bytes;
  log::append(bytes, log::Over{Incarnation{1}, 5, 5});
  EXPECT_FALSE(log::decode(3, std::string_view(bytes).substr(16))) << "an empty interval";
  bytes.clear();
  Decision many{id, "", 0, {}};
  many.branches.assign(65, {"ledger", ""});
  log::append(bytes, many);
  EXPECT_FALSE(log::decode(1, std::string_view(bytes).substr(16)));
  for (const log::Record& record : {log::Record{log::Finished{id}}, log::Record{Decision{id, "", 0, {}}}}) {
    bytes.clear();
    log::append(bytes, record);
    bytes[16] = 9;
    EXPECT_FALSE(log::decode(static_cast<std::uint8_t>(bytes[4]), std::string_view(bytes).substr(16)))
        << "another kind of decider";
  }
  bytes.clear();
  log::append(bytes, log::PersonNote{0, id, "ledger", "x"});
  bytes[16 + 8] = 9;
  EXPECT_FALSE(log::decode(8, std::string_view(bytes).substr(16)));
  EXPECT_FALSE(log::decode(0, ""));
  EXPECT_FALSE(log::decode(11, ""));
}

TEST(LogText, counts_whole_records_up_to_a_limit) {
  std::string bytes;
  log::append(bytes, log::Finished{id});
  const std::size_t one = bytes.size();
  log::append(bytes, log::Recovered{id});
  EXPECT_EQ(log::whole_records(bytes, 0), 0U);
  EXPECT_EQ(log::whole_records(bytes, one - 1), 0U);
  EXPECT_EQ(log::whole_records(bytes, one), one);
  EXPECT_EQ(log::whole_records(bytes, 2 * one - 1), one);
  EXPECT_EQ(log::whole_records(bytes, 1000), 2 * one);
  EXPECT_EQ(log::whole_records(std::string_view(bytes).substr(0, one), 1000), one) << "what follows is not its own";
}

}  // namespace
}  // namespace assent::test
