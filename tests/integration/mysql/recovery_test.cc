// Finishing branches from outside of their session, and finding out what became of them.

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>

#include "fixture.h"

namespace assent::mysql_test {
namespace {

class Recovery : public Server {
 protected:
  /// A manager of another process, as it were.
  std::shared_ptr<ResourceManager> another() { return registry_.open(spec_of(url_)); }
  /// Of the whole server.
  long status(const std::string& name) {
    return std::stol(sql("SELECT VARIABLE_VALUE FROM " +
                         std::string(mariadb() ? "information_schema" : "performance_schema") +
                         ".global_status WHERE VARIABLE_NAME='" + name + "'")
                         .value_or("0"));
  }
  long forced() { return status(mariadb() ? "Innodb_data_fsyncs" : "Innodb_os_log_fsyncs"); }
};
ASSENT_ON_EACH_SERVER(Recovery);

TEST_P(Recovery, finishes_at_once_or_says_who_must_end_first_while_the_owner_is_connected) {
  const Xid id = xid();
  auto branch = prepared(id, 5);
  const std::string owner = owner_of(id);
  ASSERT_NE(owner, "");
  const Reply reply = shop_->commit(id, {});
  if (mariadb()) {
    EXPECT_EQ(reply.code, Code::retry) << describe(reply);
    EXPECT_EQ(reply.certainty, Certainty::not_done);
    EXPECT_NE(reply.text.find("session " + owner), std::string::npos) << reply.text;
    EXPECT_EQ(branch->commit().code, Code::ok);
  } else {
    EXPECT_EQ(reply.code, Code::ok) << describe(reply);
    EXPECT_EQ(branch->commit().code, Code::not_found);
  }
  EXPECT_EQ(v(1), 5);
}

TEST_P(Recovery, is_refused_by_the_server_while_the_owner_is_connected_on_mariadb) {
  // The fact on which the carrier's lock rests.
  const Xid id = xid();
  auto branch = prepared(id, 5);
  EXPECT_TRUE(listed(id));
  EXPECT_EQ(error_of(*plain_, "XA COMMIT " + mysql::xid_literal(id)), mariadb() ? 1397 : 0);
  EXPECT_EQ(branch->rollback().code, mariadb() ? Code::ok : Code::not_found);
}

TEST_P(Recovery, ends_a_hung_owner_whose_incarnation_is_dead_and_waits_for_its_end) {
  const Xid one = xid();
  const Xid two = xid();
  auto hung = prepared(one, 5);
  auto other = start(two);
  write(*other, 6, 2);
  ASSERT_EQ(other->prepare().code, Code::ok);
  const std::string owner = owner_of(one);
  const Reply reply = shop_->commit(one, {.carrier_is_dead = true});
  EXPECT_EQ(reply.code, Code::ok) << describe(reply);
  EXPECT_EQ(v(1), 5);
  // The other one's session lives on.
  EXPECT_NE(owner_of(two), "");
  EXPECT_EQ(other->commit().code, Code::ok);
  EXPECT_NE(hung->commit().code, Code::ok);
  EXPECT_EQ(v(1), 5);
  // On MySQL the owner was left in peace; its session is closed only now.
  await_release_of(one);
}

TEST_P(Recovery, proves_that_a_carrier_is_gone) {
  const Xid id = xid();
  auto branch = start(id);
  write(*branch, 5);
  EXPECT_FALSE(shop_->carrier_gone(id, {}).value());
  EXPECT_EQ(shop_->fate(id, "").value(), Fate::in_progress);
  EXPECT_TRUE(shop_->carrier_gone(id, {.carrier_is_dead = true}).value());
  EXPECT_TRUE(shop_->carrier_gone(id, {}).value());
  // The late prepare that the proof excludes.
  EXPECT_NE(branch->prepare().code, Code::ok);
  EXPECT_FALSE(listed(id));
  EXPECT_EQ(shop_->fate(id, "").value(), Fate::rolled_back);
}

TEST_P(Recovery, notices_a_lock_that_the_application_released) {
  const Xid id = xid();
  auto branch = start(id);
  write(*branch, 5);
  run(*branch, "DO RELEASE_ALL_LOCKS()");
  EXPECT_EQ(owner_of(id), "");
  ASSERT_EQ(branch->prepare().code, Code::ok);
  EXPECT_NE(owner_of(id), "");
  EXPECT_EQ(branch->commit().code, Code::ok);
  await_release_of(id);
}

TEST_P(Recovery, does_not_prepare_when_recovery_took_the_lock_that_the_application_released) {
  const Xid id = xid();
  auto branch = start(id);
  write(*branch, 5);
  run(*branch, "DO RELEASE_ALL_LOCKS()");
  ASSERT_EQ(sql("SELECT GET_LOCK(" + mysql::carrier_lock(id) + ",0)"), "1");
  const Reply reply = branch->prepare();
  EXPECT_EQ(reply.code, Code::rb_other) << describe(reply);
  EXPECT_FALSE(listed(id));
  EXPECT_EQ(v(1), 0);
  sql("DO RELEASE_ALL_LOCKS()");
}

TEST_P(Recovery, leaves_a_connected_borrowed_owner_its_branch) {
  auto own = application_connection();
  const Xid id = xid();
  auto branch = MySql::adopt(*shop_, *own, id, {});
  ASSERT_TRUE(branch);
  write(**branch, 5);
  ASSERT_EQ((*branch)->prepare().code, Code::ok);
  branch->reset();
  const Reply reply = shop_->commit(id, {});
  EXPECT_EQ(reply.code, mariadb() ? Code::retry : Code::ok) << describe(reply);
  own.reset();
  if (!mariadb()) return;
  await_release_of(id);
  EXPECT_EQ(shop_->commit(id, {}).code, Code::ok);
  EXPECT_EQ(v(1), 5);
}

TEST_P(Recovery, lists_foreign_branches_and_leaves_them_alone) {
  const auto own = connect();
  const std::string gtrid = "foreign-" + std::to_string(getpid());
  const std::string foreign = "'" + gtrid + "','b',17";
  ASSERT_TRUE(own->run({"XA START " + foreign, "UPDATE " + table_ + " SET v=3 WHERE id=2", "XA END " + foreign,
                        "XA PREPARE " + foreign})
                  .ok());
  const auto branches = shop_->recover();
  ASSERT_TRUE(branches);
  const PreparedBranch* found = nullptr;
  for (const PreparedBranch& branch : *branches) {
    if (branch.xid.gtrid == gtrid) found = &branch;
  }
  ASSERT_NE(found, nullptr);
  EXPECT_EQ(found->xid.format_id, 17);
  EXPECT_EQ(found->xid.bqual, "b");
  EXPECT_FALSE(found->ours_to_finish);
  EXPECT_EQ(shop_->rollback(found->xid, {.carrier_is_dead = true}).code, Code::invalid);
  EXPECT_EQ(shop_->fate(found->xid, "").value(), Fate::unknown);
  EXPECT_TRUE(own->run({"XA ROLLBACK " + foreign}).ok());
  begin_binary_log();
}

TEST_P(Recovery, lists_foreign_branches_by_their_very_bytes) {
  // MariaDB can write such a list in SQL, too, and then quotes what is printable and gives the rest in hex.
  const std::string unique = std::to_string(getpid());
  std::string every_byte;
  for (int byte = 0; byte < 256; ++byte) every_byte += static_cast<char>(byte);
  std::vector<Xid> names = {{1, unique, "printable"}, {2, unique + "'quote\"", "back\\slash"},
                            {3, "0x" + unique, ""},   {4, "X'" + unique + "'", "\n\t,"},
                            {0, unique, "zero"},      {2147483647, unique, "largest"}};
  for (std::size_t at = 0; at < every_byte.size(); at += Xid::max_part) {
    names.push_back({5, every_byte.substr(at, Xid::max_part), unique});
  }
  const auto own = connect();
  for (const Xid& name : names) {
    const std::string literal = mysql::xid_literal(name);
    ASSERT_TRUE(own->run({"XA START " + literal, "UPDATE " + table_ + " SET v=3 WHERE id=2", "XA END " + literal,
                          "XA PREPARE " + literal})
                    .ok())
        << literal;
    const auto branches = shop_->recover();
    EXPECT_TRUE(own->run({"XA ROLLBACK " + literal}).ok()) << literal;
    ASSERT_TRUE(branches) << describe(branches.failure());
    const auto same = [&](const PreparedBranch& each) { return each.xid == name && each.raw == literal; };
    EXPECT_EQ(std::count_if(branches->begin(), branches->end(), same), 1) << literal;
  }
  begin_binary_log();
}

TEST_P(Recovery, names_the_session_that_still_carries_a_prepared_branch) {
  const Xid id = xid();
  auto branch = prepared(id);
  EXPECT_EQ(note_of(id), "session " + owner_of(id) + " still carries it");
  branch.reset();
  await_release_of(id);
  EXPECT_EQ(note_of(id), "");
}

TEST_P(Recovery, says_not_found_of_a_branch_that_never_was_and_claims_nothing) {
  const Reply reply = shop_->commit(xid(), {.carrier_is_dead = true});
  EXPECT_EQ(reply.code, Code::not_found) << describe(reply);
  EXPECT_EQ(reply.certainty, Certainty::unknown);
}

TEST_P(Recovery, settles_the_same_for_two_recoveries_at_once) {
  const auto other = another();
  for (int round = 0; round < 12; ++round) {
    const Xid id = xid();
    auto branch = start(id);
    write(*branch, 5);
    std::optional<Fate> first;
    std::optional<Fate> second;
    const auto settle = [&](ResourceManager& manager, std::optional<Fate>& fate) {
      while (!fate) {
        const auto answer = manager.settle(id);
        if (answer) {
          fate = *answer;
        } else {
          ASSERT_EQ(answer.failure().code, Code::retry) << describe(answer.failure());
        }
      }
    };
    std::thread one([&] { settle(*shop_, first); });
    std::thread two([&] { settle(*other, second); });
    // Both may wait for the row by now, or not yet: each order must end alike. Rolling back lets both in at once.
    const bool commit = round % 2 == 0;
    const Reply reply = commit ? branch->commit_one_phase() : branch->rollback();
    one.join();
    two.join();
    EXPECT_EQ(reply.code, Code::ok) << describe(reply);
    EXPECT_EQ(first, second);
    EXPECT_EQ(first, commit ? Fate::committed : Fate::rolled_back);
  }
}

TEST_P(Recovery, refuses_to_open_again_what_was_settled) {
  const Xid id = xid();
  EXPECT_EQ(shop_->settle(id).value(), Fate::rolled_back);
  const auto branch = shop_->start(id, {});
  ASSERT_FALSE(branch);
  EXPECT_EQ(branch.failure().code, Code::duplicate) << describe(branch.failure());
}

TEST_P(Recovery, forgets_many_and_is_not_held_up_by_an_open_branch) {
  std::vector<Xid> finished;
  for (int i = 0; i < 120; ++i) {
    finished.push_back(xid());
    auto branch = start(finished.back());
    ASSERT_EQ(branch->commit_one_phase().code, Code::ok);
  }
  const Xid open = xid();
  auto branch = start(open);
  const Xid after = xid();
  ASSERT_EQ(start(after)->commit_one_phase().code, Code::ok);
  finished.push_back(after);
  const Reply reply = shop_->forget(finished);
  EXPECT_EQ(reply.code, Code::ok) << describe(reply);
  EXPECT_EQ(sql("SELECT COUNT(*) FROM assent_witness WHERE gtrid IN (" + mysql::binary_literal(finished.front().gtrid) +
                "," + mysql::binary_literal(after.gtrid) + ")"),
            "0");
  EXPECT_EQ(branch->commit_one_phase().code, Code::ok);
  EXPECT_EQ(shop_->fate(open, "").value(), Fate::committed);
}

TEST_P(Recovery, does_not_trust_the_rows_of_another_database) {
  const Xid id = xid();
  auto branch = start(id);
  const std::string evidence = branch->evidence();
  EXPECT_TRUE(evidence.starts_with("my:mysql:")) << evidence;
  EXPECT_LE(evidence.size(), Branch::max_evidence);
  ASSERT_EQ(branch->commit_one_phase().code, Code::ok);
  EXPECT_EQ(shop_->fate(id, evidence).value(), Fate::committed);
  EXPECT_EQ(shop_->fate(id, "my:mysql:00000000-0000-0000-0000-000000000000").value(), Fate::unknown);
}

// The turn, the verb with what it needs before it and what proves it after, the turn's end. On MariaDB two more where
// its owner has not been gone for long.
TEST_P(Recovery, a_branch_that_nobody_carries_is_finished_in_few_statements) {
  std::vector<Xid> ids;
  for (int i = 0; i < 10; ++i) {
    ids.push_back(xid());
    auto branch = start(ids.back());
    run(*branch, "INSERT INTO " + table_ + " VALUES (" + std::to_string(100 + i) + ",1)");
    ASSERT_EQ(branch->prepare().code, Code::ok);
  }
  for (const Xid& id : ids) {
    while (note_of(id) != "") {
    }
  }
  long best = 1'000'000;
  for (const Xid& id : ids) {
    // The first waits out the grace for an owner that may just be leaving; those after it need none.
    const long before = status("Questions");
    ASSERT_EQ(shop_->commit(id, {}).code, Code::ok);
    best = std::min(best, status("Questions") - before);
  }
  const long this_question = 1;
  EXPECT_LE(best, (mariadb() ? 6 : 4) + this_question);
}

// The server shows a commit before it has forced it: killed then, it would list the branch again, or have lost what a
// last resource decided.
TEST_P(Recovery, a_commit_that_is_told_is_in_the_servers_log) {
  const auto least = [&](const std::function<void(const Xid&)>& ask) {
    long best = 1'000'000;
    for (int i = 0; i < 40; ++i) {
      const Xid id = xid();
      auto branch = start(id);
      write(*branch, i);
      EXPECT_EQ(branch->commit_one_phase().code, Code::ok);
      const long before = forced();
      ask(id);
      best = std::min(best, forced() - before);
    }
    return best;
  };
  EXPECT_GE(least([&](const Xid& id) { EXPECT_EQ(shop_->fate(id, "").value(), Fate::committed); }), 1);
  EXPECT_GE(least([&](const Xid& id) { EXPECT_EQ(shop_->settle(id).value(), Fate::committed); }), 1);
}

// The server answers a rollback before it has forced it: killed within the second, it would list the branch again, of a
// transaction that is over.
TEST_P(Recovery, a_rollback_of_what_was_prepared_is_in_the_servers_log_when_it_is_answered) {
  const auto least = [&](const std::function<void(const Xid&, std::unique_ptr<Branch>)>& roll_back) {
    long best = 1'000'000;
    for (int i = 0; i < 40; ++i) {
      const Xid id = xid();
      auto branch = start(id);
      write(*branch, i);
      EXPECT_EQ(branch->prepare().code, Code::ok);
      const long before = forced();
      roll_back(id, std::move(branch));
      best = std::min(best, forced() - before);
      EXPECT_FALSE(listed(id));
      EXPECT_EQ(sql("SELECT COUNT(*) FROM assent_witness WHERE gtrid=" + mysql::binary_literal(id.gtrid)), "0");
    }
    return best;
  };
  EXPECT_GE(least([](const Xid&, std::unique_ptr<Branch> branch) { EXPECT_EQ(branch->rollback().code, Code::ok); }), 1)
      << "by its own session";
  EXPECT_GE(least([&](const Xid& id, std::unique_ptr<Branch> branch) {
              branch.reset();
              Reply reply = shop_->rollback(id, {.carrier_is_dead = true});
              for (; reply.code == Code::retry; reply = shop_->rollback(id, {.carrier_is_dead = true})) {
              }
              EXPECT_EQ(reply.code, Code::ok) << describe(reply);
            }),
            1)
      << "by recovery";
  EXPECT_GE(least([&](const Xid& id, std::unique_ptr<Branch> branch) {
              EXPECT_EQ(branch->rollback().code, Code::ok);
              const long before = forced();
              EXPECT_EQ(shop_->fate(id, "").value(), Fate::rolled_back);
              EXPECT_GE(forced() - before, 1) << "that nothing is there is told of what may have just gone";
            }),
            1);
}

TEST_P(Recovery, counts_no_sync_for_a_branch_declared_read_only) {
  // MariaDB counts bytes of its redo log, MySQL syncs of it. Others use the server too, so the least of many tries is
  // what one branch costs.
  const auto redo = [&] { return status(mariadb() ? "Innodb_os_log_written" : "Innodb_os_log_fsyncs"); };
  const auto least = [&](const StartOptions& options) {
    long best = 1'000'000;
    for (int i = 0; i < 40 && best > 0; ++i) {
      const long before = redo();
      auto branch = start(xid(), options);
      query(*branch, "SELECT v FROM " + table_);
      const Code code = branch->prepare().code;
      EXPECT_TRUE(code == Code::read_only || code == Code::ok);
      if (code == Code::ok) {
        EXPECT_EQ(branch->commit().code, Code::ok);
      }
      best = std::min(best, redo() - before);
    }
    return best;
  };
  EXPECT_EQ(least({.read_only = true}), 0);
  EXPECT_GE(least({}), 1);
}

}  // namespace
}  // namespace assent::mysql_test
