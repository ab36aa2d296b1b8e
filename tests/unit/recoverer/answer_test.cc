// What recovery makes of each answer to the verb that settles a branch: one row an answer.
#include "assent/tests/unit/recoverer/fixture.h"

namespace assent {
namespace {

class Answering : public RecovererTest {
 protected:
  const TransactionId id = old_transaction(1);
  const Xid xid = Xid::of(id, "ledger");
};

TEST_F(Answering, a_commit_is_done_only_by_evidence) {
  struct Row {
    Reply reply;
    std::optional<Fate> witness;
    Verdict verdict;
    bool done;
  };
  const std::vector<Row> rows = {
      {{Code::ok, Certainty::done, ""}, {}, Verdict::commit, true},
      {{Code::heuristic_commit, Certainty::done, ""}, {}, Verdict::commit, true},
      {{Code::heuristic_rollback, Certainty::done, ""}, {}, Verdict::heuristic, false},
      {{Code::heuristic_mixed, Certainty::done, ""}, {}, Verdict::heuristic, false},
      {Reply::unknown(Code::heuristic_hazard, ""), Fate::committed, Verdict::finished, true},
      {Reply::unknown(Code::heuristic_hazard, ""), {}, Verdict::needs_person, false},
      {Reply::unknown(Code::not_found, ""), Fate::committed, Verdict::finished, true},
      {Reply::unknown(Code::not_found, ""), {}, Verdict::needs_person, false},
      {Reply::not_done(Code::rb_rollback, ""), Fate::committed, Verdict::finished, true},
      {Reply::not_done(Code::rb_rollback, ""), {}, Verdict::heuristic, false},
      {Reply::unknown(Code::resource_failed, ""), {}, Verdict::wait, false},
      {Reply::not_done(Code::protocol_error, ""), {}, Verdict::commit, false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(describe(row.reply) + (row.witness ? ", and a witness" : ""));
    const auto where = resource("ledger");
    configured = {{where, {}}, {shop, {}}};
    restart();
    log.decide(id, {"ledger"});
    where->add_prepared(xid);
    where->before(Verb::finish_commit, [&](const Xid&) {
      if (row.reply.certainty != Certainty::done) where->lose(xid);
      if (row.witness) where->set_fate(xid, *row.witness);
    });
    where->answer(Verb::finish_commit, row.reply);
    const RecoveryReport report = pass();
    const BranchReport& told = branch(report, xid);
    EXPECT_EQ(told.resolution.verdict, row.verdict) << to_string(told.resolution.verdict);
    EXPECT_EQ(told.done, row.done);
    EXPECT_EQ(log.unfinished().empty(), row.done) << "the decision leaves the log on evidence only";
    ASSERT_TRUE(told.answer);
    EXPECT_EQ(told.answer->code, row.reply.code);
    log.finish(id);
  }
}

TEST_F(Answering, a_rollback_is_done_only_when_it_is_said_so) {
  struct Row {
    Reply reply;
    DatabaseSays database;
    bool done;
  };
  const std::vector<Row> rows = {
      {{Code::ok, Certainty::done, ""}, DatabaseSays::listed, true},
      {{Code::heuristic_rollback, Certainty::done, ""}, DatabaseSays::listed, true},
      {Reply::not_done(Code::rb_rollback, ""), DatabaseSays::listed, true},
      {{Code::heuristic_commit, Certainty::done, ""}, DatabaseSays::committed, false},
      {{Code::heuristic_mixed, Certainty::done, ""}, DatabaseSays::committed, false},
      {Reply::unknown(Code::not_found, ""), DatabaseSays::in_progress, false},
      {Reply::unknown(Code::resource_failed, ""), DatabaseSays::unreachable, false},
      {Reply::not_done(Code::protocol_error, ""), DatabaseSays::listed, false},
  };
  for (const Row& row : rows) {
    SCOPED_TRACE(describe(row.reply));
    const auto where = resource("ledger");
    configured = {{where, {}}, {shop, {}}};
    restart();
    where->add_prepared(xid);
    where->answer(Verb::finish_rollback, row.reply);
    const RecoveryReport report = pass();
    const BranchReport& told = branch(report, xid);
    EXPECT_EQ(told.evidence.database, row.database) << to_string(told.evidence.database);
    EXPECT_EQ(told.done, row.done);
    ASSERT_TRUE(told.answer);
    EXPECT_EQ(told.answer->code, row.reply.code);
  }
}

TEST_F(Answering, a_listing_is_told_with_its_owner_and_database_and_by_the_servers_own_name) {
  PreparedBranch listed;
  listed.xid = xid;
  listed.owner = "alice";
  listed.database = "bank";
  ledger->add_listed(listed);
  PreparedBranch foreign;
  foreign.raw = "somebody's own gid";
  ledger->add_listed(foreign);
  std::string told;
  const RecoveryReport report = dry_run();
  for (const std::string& line : branch(report, xid).lines) told += line + '\n';
  EXPECT_NE(told.find(", owner alice"), std::string::npos) << told;
  EXPECT_NE(told.find(", database bank"), std::string::npos) << told;
  EXPECT_EQ(report.branches.size(), 2U);
  EXPECT_EQ(report.branches.back().raw, "somebody's own gid");
}

TEST_F(Answering, what_a_server_gives_no_name_of_its_own_is_told_apart_by_its_xid) {
  PreparedBranch foreign;
  for (const char* gtrid : {"one", "another"}) {
    foreign.xid = {4711, gtrid, "part"};
    ledger->add_listed(foreign);
  }
  EXPECT_EQ(dry_run().branches.size(), 2U);
}

TEST_F(Answering, what_two_databases_of_one_server_list_of_somebody_else_is_one_branch) {
  const auto other =
      std::make_shared<ScriptedResource>("other", Identity{identity("ledger").system, "another database"});
  configured.push_back({other, {}});
  PreparedBranch foreign;
  foreign.raw = "somebody's own gid";
  for (const auto& each : {ledger, other, shop}) each->add_listed(foreign);
  const RecoveryReport report = dry_run();
  ASSERT_EQ(report.branches.size(), 2U) << "one of the server that two of them are of, one of the shop's";
  std::string told;
  for (const BranchReport& each : report.branches) {
    EXPECT_EQ(each.evidence.owner, Owner::foreign);
    for (const std::string& line : each.lines) told += line + '\n';
  }
  for (const char* name : {"ledger", "other", "shop"}) {
    EXPECT_NE(told.find(std::string(name) + " lists it"), std::string::npos) << told;
  }
}

}  // namespace
}  // namespace assent
