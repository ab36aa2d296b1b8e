#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "assent/adapters/postgres/answer.h"

namespace assent::detail::postgres {
namespace {

Reply reply_to(const std::string& sqlstate, bool lost = false) {
  Answer answer;
  answer.sqlstate = sqlstate;
  answer.text = "words of the server";
  answer.lost = lost;
  return failure_of(answer);
}

TEST(PostgresReplies, an_error_is_certain_and_has_its_code) {
  const std::pair<const char*, Code> codes[] = {
      {"40001", Code::rb_deadlock},    {"40P01", Code::rb_deadlock},    {"23505", Code::rb_integrity},
      {"23503", Code::rb_integrity},   {"57014", Code::rb_timeout},     {"55P03", Code::rb_timeout},
      {"0A000", Code::resource_error}, {"53200", Code::resource_error}, {"55000", Code::resource_error},
      {"42710", Code::duplicate},      {"25P02", Code::rb_rollback},    {"P0001", Code::rb_other},
      {"42501", Code::resource_error},
  };
  for (const auto& [sqlstate, code] : codes) {
    const Reply reply = reply_to(sqlstate);
    EXPECT_EQ(reply.code, code) << sqlstate;
    EXPECT_EQ(reply.certainty, Certainty::not_done) << sqlstate;
    EXPECT_THAT(reply.text, ::testing::HasSubstr("words of the server"));
  }
}

TEST(PostgresReplies, a_session_that_ended_leaves_everything_open) {
  for (const char* sqlstate : {"57P01", "", "08006", "40001"}) {
    const Reply reply = reply_to(sqlstate, true);
    EXPECT_EQ(reply.code, Code::resource_failed);
    EXPECT_EQ(reply.certainty, Certainty::unknown);
  }
}

TEST(PostgresReplies, an_idle_timeout_is_certain_though_the_session_ended) {
  EXPECT_EQ(reply_to("25P03", true).code, Code::rb_timeout);
  EXPECT_EQ(reply_to("25P03", true).certainty, Certainty::not_done);
}

TEST(PostgresReplies, to_the_finishing_of_a_prepared_branch_are_never_a_rollback) {
  const std::pair<const char*, Code> codes[] = {{"57014", Code::retry},          {"55P03", Code::retry},
                                                {"40001", Code::retry},          {"55000", Code::retry},
                                                {"42501", Code::resource_error}, {"0A000", Code::resource_error}};
  for (const auto& [sqlstate, code] : codes) {
    Answer answer;
    answer.sqlstate = sqlstate;
    EXPECT_EQ(finish_reply(answer).code, code) << sqlstate;
    EXPECT_EQ(finish_reply(answer).certainty, Certainty::not_done) << sqlstate;
  }
  Answer unknown_gid;
  unknown_gid.sqlstate = "42704";
  EXPECT_EQ(finish_reply(unknown_gid).code, Code::not_found);
  EXPECT_EQ(finish_reply(unknown_gid).certainty, Certainty::unknown);
}

TEST(PostgresReplies, what_was_not_sent_did_nothing) {
  Answer answer;
  answer.unsent = true;
  answer.text = "closed";
  EXPECT_EQ(failure_of(answer).certainty, Certainty::not_done);
}

TEST(PostgresReplies, say_how_to_mend_a_server_without_prepared_transactions) {
  EXPECT_THAT(reply_to("55000").text, ::testing::HasSubstr("max_prepared_transactions"));
  EXPECT_THAT(reply_to("53200").text, ::testing::HasSubstr("max_prepared_transactions"));
}

TEST(PostgresReplies, are_one_bounded_line) {
  EXPECT_EQ(one_line("a\n b\t\tc  \n"), "a b c");
  EXPECT_LE(one_line(std::string(100000, 'x')).size(), 500U);
}

}  // namespace
}  // namespace assent::detail::postgres
