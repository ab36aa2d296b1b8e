#include <condition_variable>
#include <mutex>
#include <thread>

#include <gmock/gmock.h>

#include "assent/tests/unit/tm/engine_fixture.h"
#include "assent/xa/error.h"

namespace assent {
namespace {

class InterleavingTest : public EngineFixture {};

/// What a test's threads tell each other. Waits end after long enough, so that a hang is a failure that says so.
class Signal {
 public:
  void give() {
    const std::lock_guard lock(mutex_);
    given_ = true;
    changed_.notify_all();
  }
  bool await() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [this] { return given_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool given_ = false;
};

// PostgreSQL checks a deferred unique constraint inside PREPARE TRANSACTION, and waits there for the other transaction
// with that key, however long that stays prepared.
TEST_F(InterleavingTest, a_prepare_that_waits_for_another_transactions_commit_does_not_keep_it_from_committing) {
  Config one_thread = config();
  one_thread.threads = 1;
  Signal second_waits;
  Signal first_committed;
  class Decided : public Observer {
   public:
    Decided(Signal& first_may_go_on, Signal& now) : may_go_on_(first_may_go_on), now_(now) {}
    void decided(const TransactionId&) override {
      if (std::exchange(done_, true)) return;
      now_.give();
      may_go_on_.await();
    }

   private:
    Signal& may_go_on_;
    Signal& now_;
    bool done_ = false;
  };
  Signal first_decided;
  auto manager =
      TransactionManager::open(one_thread, registry(), std::make_shared<Decided>(second_waits, first_decided));
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  Transaction first = manager.begin();
  Transaction second = manager.begin();
  for (Transaction* each : {&first, &second}) {
    each->on(a, [](Branch&) {});
    each->on(b, [](Branch&) {});
  }
  bool ended_by_itself = false;
  b_->before(Verb::prepare, [&](const Xid& xid) {
    if (xid.transaction() != second.id()) return;
    second_waits.give();
    ended_by_itself = first_committed.await();
  });
  b_->before(Verb::commit, [&](const Xid& xid) {
    if (xid.transaction() == first.id()) first_committed.give();
  });
  std::thread commits_first([&] { EXPECT_TRUE(first.commit().committed()); });
  ASSERT_TRUE(first_decided.await());
  EXPECT_TRUE(second.commit().committed());
  commits_first.join();
  EXPECT_TRUE(ended_by_itself) << "the commit stood in the queue behind the prepare that waited for it";
}

TEST_F(InterleavingTest, a_node_directory_that_cannot_be_read_does_not_end_the_program) {
  auto manager = open();
  manager.recover_now();
  const std::string slot = directory_ + "/log/slot-0007";
  std::filesystem::create_directory(slot);
  std::filesystem::create_symlink("lock", slot + "/lock");
  manager.recover_now();
  EXPECT_THAT(observer_->lines(), testing::Contains("log stalled"));
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  b_->answer(Verb::commit, Reply::unknown(Code::resource_failed, "connection lost"));
  const Outcome outcome = manager.run([&](Transaction& transaction) {
    transaction.on(a, [](Branch&) {});
    transaction.on(b, [](Branch&) {});
  });
  EXPECT_TRUE(outcome.committed());
  EXPECT_FALSE(outcome.pending().empty());
  std::filesystem::remove_all(slot);
  manager.recover_now();
  EXPECT_TRUE(b_->prepared().empty()) << "recovery goes on once the directory can be read again";
}

TEST_F(InterleavingTest, two_resources_that_are_one_database_are_refused_also_when_first_used_at_the_same_moment) {
  b_->set_identity({"scripted:a", ""});
  auto manager = open();
  manager.recover_now();
  const auto a = manager.resource<Scripted>("a");
  const auto b = manager.resource<Scripted>("b");
  // Each probe answers only when the other has been asked.
  Signal a_asked;
  Signal b_asked;
  a_->before(Verb::probe, [&](const Xid&) {
    a_asked.give();
    b_asked.await();
  });
  b_->before(Verb::probe, [&](const Xid&) {
    b_asked.give();
    a_asked.await();
  });
  int admitted = 0;
  std::mutex mutex;
  const auto use = [&](const Resource<Scripted>& resource) {
    Transaction transaction = manager.begin();
    try {
      transaction.on(resource, [](Branch&) {});
      const std::lock_guard lock(mutex);
      ++admitted;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::resource_unfit);
    }
    static_cast<void>(transaction.rollback());
  };
  std::thread other([&] { use(b); });
  use(a);
  other.join();
  EXPECT_LE(admitted, 1);
}

// Two applications of one node, with different databases: what one of them cannot finish must be left to the other.
TEST_F(InterleavingTest, an_adopted_log_whose_database_is_not_configured_here_is_given_back) {
  auto theirs = std::make_shared<ScriptedResource>("z", Identity{"scripted:z", ""});
  const auto with_z = [&] {
    Config config = this->config();
    ResourceSpec spec;
    spec.name = "z";
    spec.url = ResourceUrl::parse("scripted://z/");
    config.resources.push_back(spec);
    scripted_["z"] = theirs;
    Registry registry = this->registry();
    scripted_.erase("z");
    return TransactionManager::open(config, registry, observer_);
  };
  auto first = std::make_unique<TransactionManager>(with_z());  // slot 0
  auto holder = open();                                         // slot 1; does not know z
  theirs->answer(Verb::commit, Reply::unknown(Code::resource_failed, "connection lost"));
  for (int i = 0; i < 5; ++i) theirs->answer(Verb::finish_commit, Reply::not_done(Code::resource_failed, "away"));
  {
    Transaction transaction = first->begin();
    transaction.on(first->resource<Scripted>("a"), [](Branch&) {});
    transaction.on(first->resource<Scripted>("z"), [](Branch&) {});
    EXPECT_TRUE(transaction.commit().committed());
  }
  first.reset();
  ASSERT_FALSE(theirs->prepared().empty());
  holder.recover_now();
  auto second = with_z();
  for (int i = 0; i < 10 && !theirs->prepared().empty(); ++i) {
    holder.recover_now();
    second.recover_now();
  }
  EXPECT_TRUE(theirs->prepared().empty());
}

TEST_F(InterleavingTest, outcome_does_not_take_for_rolled_back_what_may_be_committed_where_it_cannot_ask) {
  auto z = std::make_shared<ScriptedResource>("z", Identity{"scripted:z", ""});
  TransactionId id;
  {
    Config with_z = config();
    ResourceSpec spec;
    spec.name = "z";
    spec.url = ResourceUrl::parse("scripted://z/");
    with_z.resources.push_back(spec);
    scripted_["z"] = z;
    auto manager = TransactionManager::open(with_z, registry(), observer_);
    scripted_.erase("z");
    Transaction transaction = manager.begin();
    transaction.on(manager.resource<Scripted>("z"), [](Branch&) {});
    id = transaction.id();
    // As if the process had died in the middle of its one-phase commit: nothing is said to the log.
    z->answer(Verb::commit_one_phase, Reply::unknown(Code::resource_failed, "lost"), ScriptedResource::Effect::happens);
    z->answer(Verb::settle, Reply::not_done(Code::resource_failed, "down"));
    EXPECT_EQ(transaction.commit().kind(), OutcomeKind::in_doubt);
    for (int i = 0; i < 5; ++i) z->answer(Verb::settle, Reply::not_done(Code::resource_failed, "down"));
  }
  auto manager = open();
  EXPECT_EQ(manager.outcome(id).kind(), OutcomeKind::in_doubt);
}

TEST_F(InterleavingTest, outcome_does_not_ask_another_database_that_stands_behind_the_old_name) {
  TransactionId id;
  {
    auto manager = open();
    Transaction transaction = manager.begin();
    transaction.on(manager.resource<Scripted>("a"), [](Branch&) {});
    id = transaction.id();
    a_->answer(Verb::commit_one_phase, Reply::unknown(Code::resource_failed, "lost"),
               ScriptedResource::Effect::happens);
    for (int i = 0; i < 5; ++i) a_->answer(Verb::settle, Reply::not_done(Code::resource_failed, "down"));
    EXPECT_EQ(transaction.commit().kind(), OutcomeKind::in_doubt);
  }
  scripted_["a"] = std::make_shared<ScriptedResource>("a", Identity{"scripted:another", ""});
  auto manager = open();
  EXPECT_EQ(manager.outcome(id).kind(), OutcomeKind::in_doubt);
}

// Another process has written the decision and not yet synced it: a power loss would take it away again, and then abort
// is presumed.
TEST_F(InterleavingTest, outcome_of_a_decision_that_another_process_is_still_writing_is_not_yet_committed) {
  auto one = open();
  auto two = open();
  a_->answer(Verb::commit, Reply::unknown(Code::resource_failed, "lost"));
  b_->answer(Verb::commit, Reply::unknown(Code::resource_failed, "lost"));
  for (int i = 0; i < 5; ++i) {
    a_->answer(Verb::finish_commit, Reply::not_done(Code::resource_failed, "down"));
    b_->answer(Verb::finish_commit, Reply::not_done(Code::resource_failed, "down"));
  }
  // What `two` reads is the same whether the sync has come or not: no branch is committed, so nothing proves it.
  const Outcome outcome = one.run([&](Transaction& transaction) {
    transaction.on(one.resource<Scripted>("a"), [](Branch&) {});
    transaction.on(one.resource<Scripted>("b"), [](Branch&) {});
  });
  ASSERT_EQ(outcome.pending().size(), 2U);
  EXPECT_EQ(two.outcome(outcome.id()).kind(), OutcomeKind::in_doubt);
}

}  // namespace
}  // namespace assent
