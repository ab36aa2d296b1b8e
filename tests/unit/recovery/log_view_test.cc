// A log read beside the process that has it open, and what it answers to whoever wants to change it.
#include "assent/recovery/log_view.h"

#include "assent/tests/unit/recovery/log_fixture.h"

namespace assent::test {
namespace {

class ViewedLog : public LogFixture {
 protected:
  Error refused_view() {
    try {
      LogView::read(disk, "slot");
    } catch (const Error& error) {
      return error;
    }
    ADD_FAILURE() << "the log was read";
    return {ErrorCode::misuse, "", ""};
  }
};

TEST_F(ViewedLog, tells_what_the_open_one_has_on_disk) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  const Decision kept = decision_of(*log, incarnation, 1);
  const Decision given_up = decision_of(*log, incarnation, 2);
  ASSERT_EQ(log->force(kept), Forced::durable);
  ASSERT_EQ(log->force(given_up), Forced::durable);
  log->forget(given_up.id);
  log->note_resource({"ledger", {"postgresql:1", "bank"}});
  log->note_person(kept.id, "ledger", "by hand");
  const auto view = LogView::read(disk, "slot");
  EXPECT_EQ(view->id(), log->id());
  EXPECT_EQ(view->repaired(), "");
  EXPECT_FALSE(view->moved());
  EXPECT_EQ(view->find(kept.id), kept);
  EXPECT_EQ(view->find(given_up.id), std::nullopt);
  EXPECT_EQ(view->unfinished().size(), 1U);
  EXPECT_TRUE(view->forgotten(given_up.id));
  EXPECT_TRUE(view->is_over(given_up.id));
  EXPECT_FALSE(view->is_over(kept.id));
  ASSERT_EQ(view->incarnations().size(), 1U);
  EXPECT_EQ(view->incarnations()[0].incarnation, incarnation);
  EXPECT_EQ(view->incarnations()[0].over_to, 3U);
  ASSERT_EQ(view->resources().size(), 1U);
  EXPECT_EQ(view->resources()[0].name, "ledger");
  ASSERT_EQ(view->notes().size(), 1U);
  EXPECT_EQ(view->notes()[0].what, "by hand");
}

TEST_F(ViewedLog, refuses_to_be_changed) {
  auto log = open();
  const Decision decision = decision_of(*log, log->begin_incarnation(), 1);
  const auto view = LogView::read(disk, "slot");
  const std::string before = disk.contents(newest_path());
  EXPECT_EQ(view->force(decision), Forced::refused);
  EXPECT_FALSE(view->flush());
  EXPECT_THROW(view->adopt(), Error);
  EXPECT_THROW(view->begin_incarnation(), Error);
  EXPECT_THROW(view->forget(decision.id), Error);
  EXPECT_THROW(view->note_resource({"ledger", {"postgresql:1", "bank"}}), Error);
  EXPECT_THROW(view->note_person(decision.id, "ledger", "by hand"), Error);
  view->finish(decision.id);
  view->raise_mark(decision.id.incarnation, 9);
  EXPECT_FALSE(view->is_over(decision.id));
  EXPECT_EQ(disk.contents(newest_path()), before);
}

TEST_F(ViewedLog, of_a_copy_presumes_nothing) {
  open()->begin_incarnation();
  disk.move_everything();
  const auto view = LogView::read(disk, "slot");
  EXPECT_TRUE(view->moved());
  ASSERT_EQ(view->incarnations().size(), 1U);
  EXPECT_FALSE(view->incarnations()[0].presumable);
}

TEST_F(ViewedLog, with_a_torn_tail_tells_all_before_it) {
  auto log = open();
  const Incarnation incarnation = log->begin_incarnation();
  const Decision kept = decision_of(*log, incarnation, 1);
  ASSERT_EQ(log->force(kept), Forced::durable);
  std::string bytes = disk.contents(newest_path());
  const Decision torn = decision_of(*log, incarnation, 2, std::string(256, 'x'));
  ASSERT_EQ(log->force(torn), Forced::durable);
  bytes = disk.contents(newest_path());
  bytes[bytes.find_last_not_of('\0')] = '\0';
  disk.set_contents(newest_path(), bytes);
  const auto view = LogView::read(disk, "slot");
  EXPECT_NE(view->repaired(), "");
  EXPECT_EQ(view->find(kept.id), kept);
  EXPECT_EQ(view->find(torn.id), std::nullopt);
}

TEST_F(ViewedLog, that_cannot_be_read_says_why) {
  EXPECT_EQ(refused_view().code(), ErrorCode::environment);
  EXPECT_NE(std::string(refused_view().what()).find("there is none"), std::string::npos);
  auto log = open();
  disk.fail_call(1);
  EXPECT_EQ(refused_view().code(), ErrorCode::environment) << "listing";
  disk.fail_call(2);
  EXPECT_NE(std::string(refused_view().what()).find(newest_path() + " cannot be read"), std::string::npos);
  disk.fail_call(2, std::errc::no_such_file_or_directory);
  EXPECT_EQ(LogView::read(disk, "slot")->id(), log->id()) << "rotated away meanwhile: read again";
  disk.set_contents("slot/" + log::segment_name(99), "no segment");
  EXPECT_EQ(refused_view().code(), ErrorCode::log_damaged);
}

}  // namespace
}  // namespace assent::test
