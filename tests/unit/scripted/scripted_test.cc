#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>

#include "assent/adapters/scripted/null_resource.h"
#include "assent/adapters/scripted/scripted_resource.h"

namespace assent {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

const Xid xid = Xid::of({DeciderKind::log, LogId{1}, Incarnation{2}, 3}, "ledger");

std::unique_ptr<Branch> started(ResourceManager& resource, const StartOptions& options = {}) {
  auto branch = resource.start(xid, options);
  return branch ? std::move(branch).value() : nullptr;
}

TEST(scripted_resource, does_what_a_verb_says_without_a_script) {
  ScriptedResource resource("ledger");
  auto branch = started(resource);
  EXPECT_TRUE(branch->prepare().is_ok());
  EXPECT_THAT(resource.prepared(), ElementsAre(xid));
  EXPECT_TRUE(branch->commit().is_ok());
  EXPECT_THAT(resource.prepared(), IsEmpty());
  EXPECT_EQ(*resource.fate(xid, ""), Fate::committed);
  EXPECT_EQ(resource.transcript().size(), 3U);
}

TEST(scripted_resource, keeps_a_branch_prepared_when_its_session_ends) {
  ScriptedResource resource("ledger");
  started(resource)->prepare();
  EXPECT_EQ(resource.recover()->size(), 1U);
  EXPECT_TRUE(resource.rollback(xid, {}).is_ok());
  EXPECT_EQ(resource.rollback(xid, {}).code, Code::not_found);
}

TEST(scripted_resource, answers_what_it_was_told_once_and_in_order) {
  ScriptedResource resource("ledger");
  resource.answer(Verb::prepare, Reply::not_done(Code::rb_deadlock, "deadlock"));
  auto branch = started(resource);
  EXPECT_EQ(branch->prepare().code, Code::rb_deadlock);
  EXPECT_THAT(resource.prepared(), IsEmpty());
  EXPECT_EQ(branch->prepare().code, Code::protocol_error);  // the branch is over
}

TEST(scripted_resource, a_lost_answer_may_hide_an_effect_or_none) {
  ScriptedResource resource("ledger");
  resource.answer(Verb::prepare, Reply::unknown(Code::resource_failed, "lost"));
  started(resource)->prepare();
  EXPECT_THAT(resource.prepared(), IsEmpty());
  resource.answer(Verb::prepare, Reply::unknown(Code::resource_failed, "lost"), ScriptedResource::Effect::happens);
  EXPECT_EQ(started(resource)->prepare().code, Code::resource_failed);
  EXPECT_THAT(resource.prepared(), ElementsAre(xid));
}

TEST(scripted_resource, a_read_only_branch_is_over_at_prepare) {
  ScriptedResource resource("ledger");
  auto branch = started(resource, {.deadline = {}, .isolation = {}, .read_only = true});
  EXPECT_EQ(branch->prepare().code, Code::read_only);
  EXPECT_THAT(resource.prepared(), IsEmpty());
  EXPECT_EQ(resource.open_branches(), 0U);
}

TEST(scripted_resource, a_branch_that_is_let_go_is_open_no_more) {
  ScriptedResource resource("ledger");
  {
    const auto branch = started(resource);
    EXPECT_EQ(resource.open_branches(), 1U);
    EXPECT_FALSE(resource.start(xid, {}));
  }
  EXPECT_EQ(resource.open_branches(), 0U);
}

TEST(scripted_resource, a_blocked_verb_waits_for_the_test) {
  ScriptedResource resource("ledger");
  auto branch = started(resource);
  const auto gate = resource.block(Verb::prepare);
  std::jthread caller([&] { branch->prepare(); });
  gate->wait_for_call();
  EXPECT_THAT(resource.prepared(), IsEmpty());
  gate->open();
  caller.join();
  EXPECT_THAT(resource.prepared(), ElementsAre(xid));
}

TEST(scripted_resource, settle_makes_a_fate_definite) {
  ScriptedResource resource("ledger");
  EXPECT_EQ(*resource.fate(xid, ""), Fate::unknown);
  EXPECT_EQ(*resource.settle(xid), Fate::rolled_back);
  EXPECT_EQ(*resource.fate(xid, ""), Fate::rolled_back);
}

TEST(null_resource, votes_ok_at_once_and_keeps_nothing) {
  NullResource resource("null");
  auto branch = started(resource);
  EXPECT_TRUE(branch->prepare().is_ok());
  EXPECT_THAT(*resource.recover(), IsEmpty());
  EXPECT_TRUE(started(resource)->commit_deciding("a decision").is_ok());
  EXPECT_THAT(*resource.decisions(), IsEmpty());
  EXPECT_EQ(started(resource, {.deadline = {}, .isolation = {}, .read_only = true})->prepare().code, Code::read_only);
}

}  // namespace
}  // namespace assent
