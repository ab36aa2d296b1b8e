// Safety rule 8: is a configured resource the database that the log means?
#include <utility>

#include "assent/tests/unit/recoverer/fixture.h"

namespace assent {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Problem = ResourceReport::Problem;

class Identities : public RecovererTest {};

TEST_F(Identities, rule_8_a_changed_identity_stops_the_resource_and_shows_old_and_new) {
  prepare_everywhere(old_transaction(1));
  prepare_everywhere(old_transaction(2));
  log.decide(old_transaction(1), {"ledger", "shop"});
  shop->set_identity({"scripted:another", ""});

  const RecoveryReport report = pass();

  EXPECT_THAT(shop->transcript(), IsEmpty());
  EXPECT_THAT(ledger->prepared(), IsEmpty());
  const ResourceReport& stopped = *report.resource("shop");
  EXPECT_EQ(stopped.problem, Problem::identity_changed);
  EXPECT_THAT(stopped.text, HasSubstr("scripted:shop"));
  EXPECT_THAT(stopped.text, HasSubstr("scripted:another"));
  EXPECT_THAT(log.resources(),
              Not(Contains(testing::Field(&LoggedResource::identity, Identity{"scripted:another", ""}))));
  EXPECT_EQ(report.needing_person(), 2U);
}

TEST_F(Identities, rule_8_two_resources_that_are_one_database_are_refused) {
  shop->set_identity(identity("ledger"));
  prepare_everywhere(old_transaction(1));
  const RecoveryReport report = pass();
  EXPECT_EQ(report.resource("ledger")->problem, Problem::identity_shared);
  EXPECT_EQ(report.resource("shop")->problem, Problem::identity_shared);
  EXPECT_THAT(ledger->transcript(), IsEmpty());
  EXPECT_THAT(shop->transcript(), IsEmpty());
}

TEST_F(Identities, rule_8_a_new_name_for_the_database_of_another_resource_is_refused_also_while_that_one_is_down) {
  const auto twin = std::make_shared<ScriptedResource>("twin", identity("shop"));
  configured.push_back({twin, {}});
  shop->set_down(true);
  EXPECT_EQ(pass().resource("twin")->problem, Problem::identity_shared);
}

TEST_F(Identities, rule_8_a_renamed_resource_finishes_what_it_left_under_its_former_name) {
  const auto store = std::make_shared<ScriptedResource>("store", identity("shop"));
  configured = {{ledger, {}}, {store, {"shop"}}};
  log.decide(old_transaction(1), {"ledger", "shop"});
  ledger->add_prepared(Xid::of(old_transaction(1), "ledger"));
  store->add_prepared(Xid::of(old_transaction(1), "shop"));

  EXPECT_THAT(pass().finished, ElementsAre(old_transaction(1)));
  EXPECT_EQ(store->count(Verb::finish_commit, Xid::of(old_transaction(1), "shop")), 1U);
  EXPECT_THAT(log.resources(), Contains(testing::Field(&LoggedResource::name, "store")));
}

TEST_F(Identities, rule_8_a_renamed_resource_that_is_another_database_shows_what_it_was_under_its_former_name) {
  const auto store = std::make_shared<ScriptedResource>("store", Identity{"scripted:another", ""});
  configured = {{ledger, {}}, {store, {"shop"}}};
  store->add_prepared(Xid::of(old_transaction(1), "shop"));
  const RecoveryReport report = pass();
  EXPECT_EQ(report.resource("store")->problem, Problem::identity_changed);
  EXPECT_THAT(report.resource("store")->text, HasSubstr("store was scripted:shop and is now scripted:another"));
  EXPECT_EQ(store->prepared().size(), 1U);
}

TEST_F(Identities, rule_8_a_rename_without_formerly_stops_the_resource_and_says_what_to_write) {
  const auto store = std::make_shared<ScriptedResource>("store", identity("shop"));
  configured = {{ledger, {}}, {store, {}}};
  store->add_prepared(Xid::of(old_transaction(1), "shop"));

  const RecoveryReport report = pass();

  EXPECT_EQ(report.resource("store")->problem, Problem::renamed);
  EXPECT_THAT(report.resource("store")->hint, HasSubstr("formerly = [\"shop\"]"));
  EXPECT_EQ(store->prepared().size(), 1U);
  EXPECT_THAT(log.resources(), Not(Contains(testing::Field(&LoggedResource::name, "store"))));
  EXPECT_EQ(branch(report, Xid::of(old_transaction(1), "shop")).evidence.identity, IdentityIs::not_configured);
}

TEST_F(Identities, rule_8_records_a_new_resource_in_the_own_log) {
  const auto fresh = resource("fresh");
  configured.push_back({fresh, {}});
  EXPECT_TRUE(pass().resource("fresh")->usable());
  EXPECT_THAT(log.history, ElementsAre("note fresh"));
  pass();
  EXPECT_THAT(log.history, ElementsAre("note fresh"));
}

TEST_F(Identities, rule_8_does_not_act_on_a_branch_in_a_database_that_the_log_never_recorded) {
  const auto fresh = resource("fresh");
  configured.push_back({fresh, {}});
  fresh->add_prepared(Xid::of(old_transaction(1), "fresh"));
  EXPECT_EQ(pass().needing_person(), 1U);
  EXPECT_EQ(pass().needing_person(), 1U);
  EXPECT_EQ(fresh->prepared().size(), 1U);
}

TEST_F(Identities, does_not_touch_what_the_server_lists_for_another_owner) {
  PreparedBranch listed;
  listed.xid = Xid::of(old_transaction(1), "ledger");
  listed.raw = "raw";
  listed.ours_to_finish = false;
  listed.note = "owner other";
  ledger->add_listed(listed);
  const RecoveryReport report = pass();
  EXPECT_THAT(ledger->transcript(), IsEmpty());
  EXPECT_TRUE(branch(report, listed.xid).needs_person());
}

TEST_F(Identities, a_branch_that_two_schemas_of_one_server_list_is_settled_by_its_own_resource) {
  for (const auto& [own, other] : {std::pair{shop, ledger}, std::pair{ledger, shop}}) {
    const Xid xid = Xid::of(old_transaction(1), own->name());
    own->add_prepared(xid);
    PreparedBranch also;
    also.xid = xid;
    also.raw = "also";
    also.ours_to_finish = false;
    other->add_listed(also);
  }

  const RecoveryReport report = pass();

  EXPECT_EQ(report.branches.size(), 2U);
  for (const auto& own : {ledger, shop}) {
    const Xid xid = Xid::of(old_transaction(1), own->name());
    EXPECT_TRUE(branch(report, xid).done);
    EXPECT_EQ(own->count(Verb::finish_rollback), 1U);
    EXPECT_EQ(own->count(Verb::finish_rollback, xid), 1U);
  }
}

}  // namespace
}  // namespace assent
