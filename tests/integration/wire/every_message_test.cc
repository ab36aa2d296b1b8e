// Every verb of the contract over the real servers, with the line broken at every single message of it, requests and
// replies: before it, after it, and with the message held until everybody has given up. Whatever the verb then says is
// held against what the database has in the end: nothing is ever said to be committed, rolled back or prepared that is
// not. A lost reply needs no fault of its own: it is the line cut before the first message of it.
#include <cppconn/connection.h>
#include <cppconn/statement.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <pqxx/pqxx>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "assent/adapters/mysql/mysql.h"
#include "assent/adapters/mysql/session.h"
#include "assent/adapters/mysql/settings.h"
#include "assent/adapters/postgres/postgres.h"
#include "assent/adapters/postgres/session.h"
#include "assent/adapters/postgres/settings.h"
#include "assent/tests/integration/wire/frame_proxy.h"
#include "assent/tests/support/servers.h"
#include "assent/xa/registry.h"

namespace assent::testing {
namespace {

using Fault = FrameProxy::Fault;

const char* text_of(Fault fault) {
  return fault == Fault::cut_before ? "cut before" : fault == Fault::cut_after ? "cut after" : "held";
}

constexpr FinishOptions dead{.carrier_is_dead = true};

class EveryMessage : public ::testing::TestWithParam<Server> {
 protected:
  void SetUp() override {
    const auto found = url(GetParam());
    if (!found) GTEST_SKIP() << no_mysql;
    url_ = *found;
    const ResourceUrl parsed = ResourceUrl::parse(url_);
    proxy_ = std::make_unique<FrameProxy>(postgres() ? FrameProxy::Protocol::postgres : FrameProxy::Protocol::mysql,
                                          parsed.host, parsed.port);
    Postgres::register_with(registry_);
    MySql::register_with(registry_);
    open_plain_session();
    direct_ = registry_.open(spec());
    ASSERT_TRUE(direct_->probe());
    std::random_device random;
    log_ = LogId{(std::uint64_t{random()} << 32U) | random()};
    static int tables = 0;
    table_ = "wire_" + std::to_string(::getpid()) + '_' + std::to_string(++tables);
    ask("CREATE TABLE " + table_ + " (id INT PRIMARY KEY, v INT NOT NULL)");
  }

  void TearDown() override {
    if (direct_ == nullptr) return;
    wire_.reset();
    proxy_.reset();
    for (const Xid& xid : xids_) {
      if (HasFailure()) static_cast<void>(direct_->rollback(xid, dead));
    }
    static_cast<void>(direct_->forget(xids_));
    ask("DROP TABLE " + table_);
  }

  bool postgres() const { return GetParam() == Server::postgres; }

  ResourceSpec spec() const {
    ResourceSpec spec;
    spec.name = "wire";
    // Recoveries of the test's own fall silent, and stand in the way of the next.
    spec.url = ResourceUrl::parse(url_ + (postgres() ? "?sslmode=disable" : "?recovery_wait=1"));
    return spec;
  }

  /// The manager whose line is broken; its sessions are new.
  std::shared_ptr<ResourceManager> open_through_proxy() const {
    ResourceSpec there = spec();
    there.url.port = proxy_->port();
    return registry_.open(there);
  }

  void open_plain_session() {
    if (postgres()) {
      plain_postgres_ = detail::postgres::Session::open(detail::postgres::Settings::from(spec().url)).value();
    } else {
      plain_mysql_ = mysql::Session::open(mysql::Settings::from(spec())).value();
      ASSERT_TRUE(plain_mysql_->run({"SET SESSION lock_wait_timeout=5"}).ok());
    }
  }

  /// The first field of the answer to a session of the test's own, whose line holds.
  std::string ask(const std::string& sql) const {
    if (postgres()) {
      const auto answer = plain_postgres_->exec(sql);
      EXPECT_TRUE(answer.ok()) << sql << ": " << answer.text;
      return answer.field(0, 0);
    }
    const auto answer = plain_mysql_->run({sql});
    EXPECT_TRUE(answer.ok()) << sql << ": " << answer.failure->describe();
    return answer.value(0).value_or("");
  }

  /// Whether the row of this transaction says that it was committed.
  bool committed(const Xid& xid) const {
    return ask("SELECT v FROM " + table_ + " WHERE id = " + std::to_string(row(xid))) == "1";
  }
  static std::uint64_t row(const Xid& xid) { return xid.transaction()->sequence; }

  bool listed(const Xid& xid) const {
    const auto all = direct_->recover();
    EXPECT_TRUE(all) << describe(all.failure());
    return all && std::ranges::any_of(*all, [&](const PreparedBranch& each) { return each.xid == xid; });
  }

  Xid fresh() {
    xids_.push_back(Xid::of({DeciderKind::log, log_, Incarnation{1}, xids_.size() + 1}, "wire"));
    ask("INSERT INTO " + table_ + " VALUES (" + std::to_string(row(xids_.back())) + ", 0)");
    return xids_.back();
  }

  /// What the application does; false when it was told that it failed.
  bool work(Branch& branch) const {
    const std::string sql = "UPDATE " + table_ + " SET v = 1 WHERE id = " + std::to_string(row(branch.xid()));
    try {
      if (postgres()) {
        Postgres::session(branch).exec(sql);
      } else {
        const std::unique_ptr<sql::Statement> statement(MySql::session(branch).createStatement());
        statement->execute(sql);
      }
      return true;
    } catch (const std::exception&) {
      return false;
    }
  }

  /// Until the answer is another than "ask again"; as recovery does.
  template <class Ask>
  auto patiently(Ask&& ask) const {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(60);
    auto answer = ask();
    while (!answer && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
      answer = ask();
    }
    EXPECT_TRUE(answer) << "never answered";
    return answer;
  }

  void await_carrier_gone(const Xid& xid) const {
    patiently([&] {
      const auto gone = direct_->carrier_gone(xid, dead);
      return gone && *gone ? std::optional(true) : std::nullopt;
    });
  }

  /// As recovery finishes a decision, from another process.
  void commit_in_the_end(const Xid& xid, const std::string& evidence) const {
    patiently([&] {
      const Reply reply = direct_->commit(xid, dead);
      if (reply.is_ok()) return std::optional(true);
      if (reply.code != Code::not_found) return std::optional<bool>();
      const auto fate = direct_->fate(xid, evidence);
      if (!fate || *fate == Fate::in_progress) return std::optional<bool>();
      EXPECT_EQ(*fate, Fate::committed) << describe(reply);
      return std::optional(true);
    });
    EXPECT_TRUE(committed(xid)) << "it was prepared, and is lost";
    EXPECT_FALSE(listed(xid));
  }

  /// As recovery presumes an abort. `prepared`: false when it was certainly not.
  void roll_back_in_the_end(const Xid& xid, std::optional<bool> prepared) const {
    await_carrier_gone(xid);
    if (prepared == false) {
      EXPECT_FALSE(listed(xid)) << "it is prepared, though it was said not to be";
    }
    patiently([&] {
      if (!listed(xid)) return std::optional(true);
      static_cast<void>(direct_->rollback(xid, dead));
      return std::optional<bool>();
    });
    EXPECT_FALSE(committed(xid)) << "it was never committed, and is there";
  }

  void settle_in_the_end(const Xid& xid, std::optional<bool> said) const {
    await_carrier_gone(xid);
    const auto fate = patiently([&] { return direct_->settle(xid); });
    ASSERT_TRUE(*fate == Fate::committed || *fate == Fate::rolled_back);
    EXPECT_EQ(*fate == Fate::committed, committed(xid)) << "settled as " << to_string(*fate);
    if (said) {
      EXPECT_EQ(*fate == Fate::committed, *said) << "said otherwise before";
    }
    EXPECT_FALSE(listed(xid));
  }

  static std::optional<bool> certain(const Reply& reply) {
    if (reply.certainty == Certainty::unknown) return std::nullopt;
    return reply.certainty == Certainty::done;
  }

  /// Runs while the fault is armed.
  template <class Verb>
  auto on_the_broken_line(Verb&& verb) {
    proxy_->arm(number_, fault_);
    auto result = verb();
    proxy_->disarm();
    reached_ = true;
    return result;
  }

  /// Runs the scenario with each fault at the first message of its verb, the second, and so on, until the verb has no
  /// more. The scenario ends with what its database must have then; afterwards a message that was held arrives there,
  /// and may change nothing.
  void at_every_message(std::size_t at_least, const std::function<Xid()>& scenario) {
    messages_ = 0;
    for (const Fault fault : {Fault::cut_before, Fault::cut_after, Fault::stall}) {
      fault_ = fault;
      for (number_ = 1;; ++number_) {
        SCOPED_TRACE("message " + std::to_string(number_) + ' ' + text_of(fault));
        reached_ = false;
        wire_ = open_through_proxy();
        const auto probed = wire_->probe();
        ASSERT_TRUE(probed) << describe(probed.failure());
        const Xid xid = scenario();
        ASSERT_TRUE(reached_);
        const bool was_committed = committed(xid);
        const bool was_listed = listed(xid);
        wire_.reset();
        proxy_->let_go();
        EXPECT_EQ(committed(xid), was_committed) << "what was held has changed it";
        EXPECT_EQ(listed(xid), was_listed) << "what was held has changed it";
        if (HasFailure()) FAIL() << "the line was broken at " << proxy_->struck_at();
        if (!proxy_->struck()) break;
        messages_ += 1;
      }
      ASSERT_GT(number_, at_least) << "the verb has more messages than this";
    }
    RecordProperty("faults", static_cast<int>(messages_));
    std::cout << "             " << messages_ << " faults\n";
  }

  /// From prepare on, as the engine goes on: a decision when it was told of the prepare, else none.
  void decide(const Xid& xid, std::unique_ptr<Branch> branch, const Reply& prepared) {
    if (!prepared.is_ok()) {
      branch.reset();
      return roll_back_in_the_end(xid, certain(prepared));
    }
    const std::string evidence = branch->evidence();
    expect_commit(xid, branch->commit());
    branch.reset();
    commit_in_the_end(xid, evidence);
  }

  void expect_commit(const Xid& xid, const Reply& reply) const {
    const auto said = certain(reply);
    if (reply.is_ok()) {
      EXPECT_EQ(said, true);
    }
    if (said == true) {
      EXPECT_TRUE(committed(xid)) << "commit said: " << describe(reply);
    }
    if (said == false) {
      EXPECT_FALSE(committed(xid)) << "commit said: " << describe(reply);
    }
  }

  static std::unique_ptr<Branch> open_branch(ResourceManager& manager, const Xid& xid) {
    auto branch = manager.start(xid, {});
    if (!branch) throw std::runtime_error(describe(branch.failure()));
    return std::move(branch).value();
  }

  /// On MySQL and MariaDB one recovery at a time finishes a branch. That a silent one holds up the others for some
  /// seconds only is a test of its own; not at every message.
  void end_silent_recovery() const {
    if (!postgres()) proxy_->let_go();
  }

  /// A branch of the manager whose line holds, prepared, its session closed.
  std::string prepare_elsewhere(const Xid& xid) {
    const auto branch = open_branch(*direct_, xid);
    EXPECT_TRUE(work(*branch));
    EXPECT_TRUE(branch->prepare().is_ok());
    return branch->evidence();
  }

  std::string url_;
  Registry registry_;
  std::unique_ptr<FrameProxy> proxy_;
  std::unique_ptr<detail::postgres::Session> plain_postgres_;
  std::unique_ptr<mysql::Session> plain_mysql_;
  std::shared_ptr<ResourceManager> direct_;  ///< on a line that holds
  std::shared_ptr<ResourceManager> wire_;
  LogId log_{};
  std::string table_;
  std::vector<Xid> xids_;
  std::size_t number_ = 0;
  Fault fault_ = Fault::cut_before;
  bool reached_ = false;
  std::size_t messages_ = 0;
};

TEST_P(EveryMessage, of_start_leaves_nothing_or_a_branch_that_works) {
  at_every_message(10, [&] {
    const Xid xid = fresh();
    auto branch = on_the_broken_line([&] { return wire_->start(xid, {}); });
    if (!branch) {
      roll_back_in_the_end(xid, false);
    } else if (!work(**branch)) {
      static_cast<void>((*branch)->rollback());
      branch->reset();
      roll_back_in_the_end(xid, false);
    } else {
      const Reply prepared = (*branch)->prepare();
      decide(xid, std::move(branch).value(), prepared);
    }
    return xid;
  });
}

TEST_P(EveryMessage, of_work_is_told_to_the_application_or_leaves_the_branch_whole) {
  at_every_message(2, [&] {
    const Xid xid = fresh();
    auto branch = open_branch(*wire_, xid);
    if (on_the_broken_line([&] { return work(*branch); })) {
      const Reply prepared = branch->prepare();
      decide(xid, std::move(branch), prepared);
    } else {
      static_cast<void>(branch->rollback());
      branch.reset();
      roll_back_in_the_end(xid, false);
    }
    return xid;
  });
}

TEST_P(EveryMessage, of_prepare_leaves_it_prepared_or_not_as_was_said) {
  at_every_message(3, [&] {
    const Xid xid = fresh();
    auto branch = open_branch(*wire_, xid);
    EXPECT_TRUE(work(*branch));
    const Reply prepared = on_the_broken_line([&] { return branch->prepare(); });
    decide(xid, std::move(branch), prepared);
    return xid;
  });
}

TEST_P(EveryMessage, of_commit_never_loses_it_and_never_says_committed_too_early) {
  at_every_message(2, [&] {
    const Xid xid = fresh();
    auto branch = open_branch(*wire_, xid);
    EXPECT_TRUE(work(*branch));
    EXPECT_TRUE(branch->prepare().is_ok());
    const std::string evidence = branch->evidence();
    expect_commit(xid, on_the_broken_line([&] { return branch->commit(); }));
    branch.reset();
    commit_in_the_end(xid, evidence);
    return xid;
  });
}

TEST_P(EveryMessage, of_rollback_leaves_nothing) {
  for (const bool prepared : {false, true}) {
    SCOPED_TRACE(prepared ? "prepared" : "active");
    at_every_message(2, [&] {
      const Xid xid = fresh();
      auto branch = open_branch(*wire_, xid);
      EXPECT_TRUE(work(*branch));
      if (prepared) {
        EXPECT_TRUE(branch->prepare().is_ok());
      }
      const Reply reply = on_the_broken_line([&] { return branch->rollback(); });
      if (reply.is_ok()) {
        EXPECT_FALSE(listed(xid)) << "rolled back, it was said";
      }
      branch.reset();
      roll_back_in_the_end(xid, prepared ? std::nullopt : std::optional(false));
      return xid;
    });
  }
}

TEST_P(EveryMessage, of_a_one_phase_commit_is_settled_as_the_database_has_it) {
  at_every_message(3, [&] {
    const Xid xid = fresh();
    auto branch = open_branch(*wire_, xid);
    EXPECT_TRUE(work(*branch));
    const Reply reply = on_the_broken_line([&] { return branch->commit_one_phase(); });
    const auto said = certain(reply);
    if (said) {
      EXPECT_EQ(committed(xid), *said) << describe(reply);
    }
    branch.reset();
    settle_in_the_end(xid, said);
    return xid;
  });
}

TEST_P(EveryMessage, of_a_last_resources_commit_is_settled_as_the_database_has_it) {
  at_every_message(3, [&] {
    const Xid xid = fresh();
    auto branch = open_branch(*wire_, xid);
    EXPECT_TRUE(work(*branch));
    const Reply reply = on_the_broken_line([&] { return branch->commit_deciding("decision"); });
    const auto said = certain(reply);
    if (said) {
      EXPECT_EQ(committed(xid), *said) << describe(reply);
    }
    branch.reset();
    settle_in_the_end(xid, said);
    const auto kept = direct_->decisions();
    EXPECT_TRUE(kept) << describe(kept.failure());
    const bool decided = kept && std::ranges::any_of(*kept, [&](const KeptDecision& each) {
                           return each.branch == xid && each.fate == Fate::committed && each.decision == "decision";
                         });
    EXPECT_EQ(decided, committed(xid));
    return xid;
  });
}

TEST_P(EveryMessage, of_recoverys_commit_never_loses_it_and_never_says_committed_too_early) {
  at_every_message(2, [&] {
    const Xid xid = fresh();
    const std::string evidence = prepare_elsewhere(xid);
    expect_commit(xid, on_the_broken_line([&] { return wire_->commit(xid, dead); }));
    end_silent_recovery();
    commit_in_the_end(xid, evidence);
    return xid;
  });
}

TEST_P(EveryMessage, of_recoverys_rollback_leaves_nothing) {
  at_every_message(2, [&] {
    const Xid xid = fresh();
    prepare_elsewhere(xid);
    const Reply reply = on_the_broken_line([&] { return wire_->rollback(xid, dead); });
    end_silent_recovery();
    if (reply.is_ok()) {
      EXPECT_FALSE(listed(xid)) << "rolled back, it was said";
    }
    roll_back_in_the_end(xid, std::nullopt);
    return xid;
  });
}

TEST_P(EveryMessage, of_recover_gives_the_whole_list_or_a_failure) {
  const Xid xid = fresh();
  const std::string evidence = prepare_elsewhere(xid);
  at_every_message(3, [&] {
    const auto list = on_the_broken_line([&] { return wire_->recover(); });
    if (list) {
      EXPECT_TRUE(std::ranges::any_of(*list, [&](const PreparedBranch& each) { return each.xid == xid; }))
          << "a prepared branch is missing in a list of " << list->size();
    }
    return xid;
  });
  commit_in_the_end(xid, evidence);
}

TEST_P(EveryMessage, of_fate_tells_the_truth_or_a_failure) {
  for (const Fate truth : {Fate::in_progress, Fate::committed}) {
    SCOPED_TRACE(to_string(truth));
    const Xid xid = fresh();
    const std::string evidence = prepare_elsewhere(xid);
    if (truth == Fate::committed) commit_in_the_end(xid, evidence);
    at_every_message(3, [&] {
      const auto fate = on_the_broken_line([&] { return wire_->fate(xid, evidence); });
      if (fate) {
        EXPECT_EQ(*fate, truth);
      }
      return xid;
    });
    commit_in_the_end(xid, evidence);
  }
}

TEST_P(EveryMessage, of_settle_tells_the_truth_or_a_failure_and_stays_with_it) {
  for (const bool arrived : {true, false}) {
    SCOPED_TRACE(arrived ? "committed in one phase" : "never arrived");
    at_every_message(3, [&] {
      const Xid xid = fresh();
      auto branch = open_branch(*direct_, xid);
      EXPECT_TRUE(work(*branch));
      if (arrived) {
        EXPECT_TRUE(branch->commit_one_phase().is_ok());
      }
      branch.reset();
      const auto fate = on_the_broken_line([&] { return wire_->settle(xid); });
      if (fate) {
        EXPECT_EQ(*fate, arrived ? Fate::committed : Fate::rolled_back);
      }
      settle_in_the_end(xid, arrived);
      return xid;
    });
  }
}

TEST_P(EveryMessage, of_the_question_for_a_carrier_that_lives_is_never_answered_by_gone) {
  at_every_message(2, [&] {
    const Xid xid = fresh();
    auto branch = open_branch(*direct_, xid);
    EXPECT_TRUE(work(*branch));
    const auto gone = on_the_broken_line([&] { return wire_->carrier_gone(xid, {}); });
    if (gone) {
      EXPECT_FALSE(*gone);
    }
    const Reply prepared = branch->prepare();
    EXPECT_TRUE(prepared.is_ok()) << describe(prepared);
    decide(xid, std::move(branch), prepared);
    return xid;
  });
}

using PostgresBehindAPooler = EveryMessage;

TEST_P(PostgresBehindAPooler, opens_no_branch_when_changes_of_application_name_are_kept_from_it) {
  proxy_->withhold("application_name");
  const auto wire = open_through_proxy();
  ASSERT_TRUE(wire->probe());
  const auto branch = wire->start(fresh(), {});
  ASSERT_FALSE(branch);
  EXPECT_EQ(branch.failure().code, Code::resource_error);
  EXPECT_EQ(branch.failure().certainty, Certainty::not_done);
  EXPECT_NE(branch.failure().text.find("does not report a changed application_name"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(On, PostgresBehindAPooler, ::testing::Values(Server::postgres),
                         [](const auto& each) { return std::string(name(each.param)); });
INSTANTIATE_TEST_SUITE_P(On, EveryMessage, ::testing::Values(Server::postgres, Server::mariadb, Server::mysql),
                         [](const auto& each) { return std::string(name(each.param)); });

}  // namespace
}  // namespace assent::testing
