// What an open log refuses, and the way on that it tells.
#include <cerrno>

#include "assent/recovery/log_view.h"
#include "assent/tests/unit/recovery/log_fixture.h"

namespace assent::test {
namespace {

using RefusingLog = LogFixture;

template <class Call>
Error error_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "nothing was refused";
  return {ErrorCode::misuse, "", ""};
}

TEST_F(RefusingLog, tells_of_a_full_disk_and_of_missing_rights_what_to_do) {
  const auto hint = [&](std::errc why) {
    disk.refuse_changes(why);
    const Error error = refusal();
    disk.refuse_changes(std::nullopt);
    EXPECT_EQ(error.code(), ErrorCode::environment);
    return error.hint();
  };
  EXPECT_NE(hint(std::errc::no_space_on_device).find("make room"), std::string::npos);
  EXPECT_NE(hint(static_cast<std::errc>(EDQUOT)).find("make room"), std::string::npos);
  EXPECT_NE(hint(std::errc::permission_denied).find("the right to write"), std::string::npos);
  EXPECT_NE(hint(std::errc::read_only_file_system).find("the right to write"), std::string::npos);
  EXPECT_NE(hint(std::errc::io_error).find("check the disk"), std::string::npos);
}

TEST_F(RefusingLog, keeps_a_quota_apart_from_a_failed_write) {
  auto log = open();
  const Decision decision = decision_of(*log, log->begin_incarnation(), 1);
  disk.refuse_next_write(static_cast<std::errc>(EDQUOT));
  EXPECT_EQ(log->force(decision), Forced::refused);
  EXPECT_FALSE(log->poisoned());
  EXPECT_EQ(log->force(decision), Forced::durable);
}

TEST_F(RefusingLog, takes_1024_resources_and_no_more) {
  auto log = open();
  log->begin_incarnation();
  for (int i = 0; i < 1024; ++i) log->note_resource({"r" + std::to_string(i), {"sqlite:x", ""}});
  const Error error = error_of([&] { log->note_resource({"r1024", {"sqlite:x", ""}}); });
  EXPECT_EQ(error.code(), ErrorCode::misuse);
  EXPECT_STREQ(error.what(), "the log knows 1024 resources and takes no more");
  log->note_resource({"r7", {"sqlite:y", ""}});
  ASSERT_EQ(log->resources().size(), 1024U);
  kill(log);
  EXPECT_EQ(open()->resources().size(), 1024U);
}

TEST_F(RefusingLog, takes_no_decision_of_another_log_or_out_of_bounds) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  Decision decision = decision_of(*log, incarnation, 1);
  decision.id.log = LogId{static_cast<std::uint64_t>(log->id()) + 1};
  EXPECT_EQ(error_of([&] { log->force(decision); }).code(), ErrorCode::misuse);
  decision.id.log = log->id();
  decision.id.kind = static_cast<DeciderKind>(9);
  EXPECT_EQ(error_of([&] { log->force(decision); }).code(), ErrorCode::misuse);
  decision = decision_of(*log, incarnation, 1, std::string(257, 'x'));
  EXPECT_EQ(error_of([&] { log->force(decision); }).code(), ErrorCode::misuse);
  const std::string too_long(1025, 'x');
  EXPECT_EQ(error_of([&] { log->note_person(decision.id, "ledger", too_long); }).code(), ErrorCode::misuse);
  EXPECT_EQ(error_of([&] { log->forget(decision.id); }).code(), ErrorCode::misuse) << "there is none";
  EXPECT_TRUE(log->unfinished().empty());
  EXPECT_EQ(log->counters().decisions, 0U);
}

TEST_F(RefusingLog, keeps_256_notes_and_forgets_the_oldest) {
  auto log = open();
  const TransactionId id = decision_of(*log, log->begin_incarnation(), 1).id;
  for (int i = 0; i < 257; ++i) log->note_person(id, "ledger", "note " + std::to_string(i) + ".");
  kill(log);
  log = open();
  std::string first;
  int count = 0;
  log_dump(disk, "slot", [&](const DumpedRecord& record) {
    if (record.type != "person") return;
    if (count++ == 0) first = record.text;
  });
  EXPECT_EQ(count, 256);
  EXPECT_NE(first.find("note 1."), std::string::npos) << first;
}

TEST_F(RefusingLog, that_is_poisoned_takes_what_is_over_for_itself_only) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  disk.fail_call(2);
  ASSERT_EQ(log->force(decision_of(*log, incarnation, 1)), Forced::uncertain);
  ASSERT_TRUE(log->poisoned());
  log->raise_mark(incarnation, 1);
  EXPECT_TRUE(log->is_over({DeciderKind::log, log->id(), incarnation, 0}));
  EXPECT_FALSE(log->flush());
  EXPECT_EQ(error_of([&] { log->note_resource({"ledger", {"sqlite:x", ""}}); }).code(), ErrorCode::log_failed);
  EXPECT_EQ(log->force(decision_of(*log, incarnation, 2)), Forced::refused);
}

TEST_F(RefusingLog, says_what_could_not_be_written_and_why) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  const auto words = [&](ErrorCode code) {
    const Error error = error_of([&] { log->note_resource({"ledger", {"sqlite:x", ""}}); });
    EXPECT_EQ(error.code(), code);
    return std::string(error.what());
  };
  const std::string full = std::make_error_code(std::errc::no_space_on_device).message();
  disk.refuse_next_write(std::errc::no_space_on_device);
  EXPECT_EQ(words(ErrorCode::environment),
            "the resource's identity was not forced to the log: writing " + newest_path() + ": " + full);
  disk.set_capacity(disk.used());
  for (std::uint64_t i = 1; log->force(decision_of(*log, incarnation, i)) == Forced::durable;) ++i;
  EXPECT_EQ(words(ErrorCode::environment),
            "the resource's identity was not forced to the log: a new segment cannot be made in slot: " + full);
  disk.set_capacity(std::nullopt);
  disk.fail_call(1);
  const std::string failed = std::make_error_code(std::errc::io_error).message();
  ASSERT_EQ(log->force(decision_of(*log, incarnation, 5000)), Forced::refused) << "of a new segment, without a name";
  disk.refuse_next_write(std::errc::io_error);
  words(ErrorCode::environment);
  log->note_resource({"shop", {"sqlite:x", ""}});
  disk.refuse_next_write(std::errc::io_error);
  const std::string poisoned =
      "the resource's identity was not forced to the log: writing " + newest_path() + ": " + failed;
  EXPECT_EQ(words(ErrorCode::log_failed), poisoned);
  EXPECT_EQ(words(ErrorCode::log_failed), poisoned) << "for as long as it is open";
}

TEST_F(RefusingLog, gives_one_incarnation_to_each_opening) {
  auto log = open();
  log->begin_incarnation();
  EXPECT_EQ(error_of([&] { log->begin_incarnation(); }).code(), ErrorCode::misuse);
}

TEST_F(RefusingLog, takes_what_was_never_decided_for_over_and_not_for_recovered) {
  auto log = open();
  const TransactionId id = decision_of(*log, log->begin_incarnation(), 7).id;
  log->finish(id);
  EXPECT_TRUE(log->is_over(id));
  EXPECT_FALSE(log->recovered(id));
}

TEST_F(RefusingLog, loses_nothing_when_any_file_is_said_to_be_missing) {
  auto log = open();
  const Decision decision = decision_of(*log, log->begin_incarnation(), 1);
  ASSERT_EQ(log->force(decision), Forced::durable);
  kill(log);
  std::uint64_t number = 0;
  do {
    disk.fail_call(++number, std::errc::no_such_file_or_directory);
    try {
      log = open();
      EXPECT_EQ(log->find(decision.id), decision) << "call " << number;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::environment) << "call " << number;
    }
    if (log != nullptr) kill(log);
  } while (disk.failed());
  EXPECT_GT(number, 10U);
  EXPECT_EQ(open()->find(decision.id), decision);
}

TEST_F(RefusingLog, that_is_adopted_twice_still_says_so) {
  open()->begin_incarnation();
  disk.move_everything();
  auto log = open();
  ASSERT_TRUE(log->moved());
  log->adopt();
  log->adopt();
  ASSERT_EQ(log->incarnations().size(), 1U);
  EXPECT_TRUE(log->incarnations()[0].adopted);
  EXPECT_TRUE(log->incarnations()[0].presumable);
}

TEST_F(RefusingLog, raises_no_mark_to_nothing_and_tells_the_time_it_is_given) {
  options.now_ms = [] { return std::int64_t{1234}; };
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  EXPECT_EQ(log->incarnations()[0].opened_at_ms, 1234);
  const std::string before = disk.contents(newest_path());
  log->raise_mark(incarnation, 0);
  EXPECT_TRUE(log->flush());
  EXPECT_EQ(disk.contents(newest_path()), before);
}

TEST(RefusingState, says_of_an_unknown_incarnation_that_nothing_of_it_is_over) {
  log::State state;
  EXPECT_EQ(state.mark(Incarnation{2}), 0U);
  EXPECT_EQ(state.over_to(Incarnation{2}), 0U);
  EXPECT_TRUE(state.over(Incarnation{2}).empty());
  state.apply(log::Begun{{Incarnation{2}, 0, 1, 0, true, false}, {}});
  EXPECT_TRUE(state.over(Incarnation{2}).empty());
  state.apply(log::Over{Incarnation{2}, 0, 1});
  ASSERT_EQ(state.over(Incarnation{2}).size(), 1U);
  EXPECT_EQ(state.over(Incarnation{2})[0].to, 1U);
}

TEST(RefusingState, remembers_a_recovered_commit_once) {
  log::State state;
  const TransactionId id{DeciderKind::log, LogId{1}, Incarnation{2}, 3};
  state.apply(log::Recovered{id});
  state.apply(log::Recovered{id});
  int count = 0;
  state.checkpoint([&](const log::Record& record) { count += std::holds_alternative<log::Recovered>(record) ? 1 : 0; });
  EXPECT_EQ(count, 1);
}

TEST_F(RefusingLog, that_is_replaced_faster_than_it_can_be_read_is_said_so) {
  // A segment that is listed, and is gone whenever it is opened.
  ASSERT_FALSE(disk.make_directory("slot/" + log::segment_name(7)));
  const std::string words = "the log in slot is replaced faster than it can be read";
  for (const Error& error :
       {error_of([&] { log_verify(disk, "slot"); }), error_of([&] { LogView::read(disk, "slot"); })}) {
    EXPECT_EQ(error.what(), words);
    EXPECT_EQ(error.code(), ErrorCode::environment);
  }
}

}  // namespace
}  // namespace assent::test
