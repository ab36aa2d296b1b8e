#include <gtest/gtest.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "assent/adapters/scripted/null_resource.h"
#include "assent/recovery/node_directory.h"
#include "assent/tests/support/bare.h"
#include "assent/tm/transaction_manager.h"

namespace assent::testing {
namespace {

constexpr int committers = 64;

/// A disk whose sync lasts until every committer waits for one: how many share it must not hang on how fast a disk is.
/// Takes the place of the system's fdatasync() in this program, and does what that does.
class PatientDisk {
 public:
  void serve(int threads) {
    const std::lock_guard lock(mutex_);
    at_work_ = threads;
  }
  void enter() { count(waiting_, 1); }
  void leave() { count(waiting_, -1); }
  void end() { count(at_work_, -1); }
  void await_all() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return waiting_ >= at_work_; });
  }

 private:
  void count(int& what, int by) {
    const std::lock_guard lock(mutex_);
    what += by;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  int at_work_ = 0;
  int waiting_ = 0;
};

PatientDisk& disk() {
  static auto* const patient = new PatientDisk;
  return *patient;
}

/// Tells the disk who waits for it.
struct Waits : Observer {
  void step(const Step& step) override {
    if (step.verb != "force") return;
    if (step.executed) {
      disk().leave();
    } else {
      disk().enter();
    }
  }
};

/// Prepares, and is out of reach when it shall commit: its decisions stay in the log.
class OutOfReach : public NullResource {
 public:
  using NullResource::NullResource;

  Result<std::unique_ptr<Branch>> start(const Xid& xid, const StartOptions& options) override {
    return std::unique_ptr<Branch>(std::make_unique<Lost>(NullResource::start(xid, options).value()));
  }
  Reply commit(const Xid&, const FinishOptions&) override { return gone(); }
  Result<Fate> fate(const Xid&, const std::string&) override { return gone(); }
  Result<std::vector<PreparedBranch>> recover() override { return gone(); }

 private:
  static Reply gone() { return Reply::not_done(Code::resource_failed, "out of reach"); }

  class Lost : public Branch {
   public:
    explicit Lost(std::unique_ptr<Branch> inner) : inner_(std::move(inner)) {}
    const Xid& xid() const override { return inner_->xid(); }
    Reply end() override { return inner_->end(); }
    Reply prepare() override { return inner_->prepare(); }
    Reply commit_one_phase() override { return inner_->commit_one_phase(); }
    Reply commit() override { return gone(); }
    Reply rollback() override { return inner_->rollback(); }
    Reply set_deadline(std::optional<std::chrono::steady_clock::time_point>) override { return Reply::ok(); }
    std::string evidence() const override { return {}; }

   private:
    const std::unique_ptr<Branch> inner_;
  };
};

class GroupCommit : public ::testing::Test {
 public:
  ~GroupCommit() override { std::filesystem::remove_all(config_.log_directory); }

 protected:
  GroupCommit() {
    std::string pattern = (std::filesystem::temp_directory_path() / "assent-group-XXXXXX").string();
    config_.node = "group";
    config_.log_directory = mkdtemp(pattern.data());
    for (const char* kind : {"null", "lost"}) {
      ResourceSpec spec;
      spec.name = kind;
      spec.url = ResourceUrl::parse(std::string(kind) + "://" + kind + "/");
      config_.resources.push_back(spec);
    }
  }

  /// 64 threads commit `each` transactions over both resources.
  template <class Second>
  DecisionLog::Counters commit_all(int each, const std::function<void(const Outcome&)>& took) {
    Registry registry;
    registry.add("null", [](const ResourceSpec& spec) { return std::make_shared<NullResource>(spec.name); });
    registry.add("lost", [](const ResourceSpec& spec) { return std::make_shared<Second>(spec.name); });
    auto tm = TransactionManager::open(config_, registry, std::make_shared<Waits>());
    const auto first = tm.resource<Bare>("null");
    const auto second = tm.resource<Bare>("lost");
    {
      Transaction first_use = tm.begin();  // the log is told who they are
      first_use.on(first, [](Branch&) {});
      first_use.on(second, [](Branch&) {});
    }
    disk().serve(committers);
    std::vector<std::thread> clients;
    clients.reserve(committers);
    for (int client = 0; client < committers; ++client) {
      clients.emplace_back([&] {
        for (int i = 0; i < each; ++i) {
          took(tm.run([&](Transaction& tx) {
            tx.on(first, [](Branch&) {});
            tx.on(second, [](Branch&) {});
          }));
        }
        disk().end();
      });
    }
    for (auto& client : clients) client.join();
    return tm.log_counters();
  }

  Config config_;
};

TEST_F(GroupCommit, sixty_four_committers_make_at_least_sixteen_decisions_a_sync) {
  constexpr int each = 500;
  std::atomic<int> committed{0};
  const DecisionLog::Counters counters =
      commit_all<NullResource>(each, [&](const Outcome& outcome) { committed += outcome.committed() ? 1 : 0; });
  EXPECT_EQ(committed, committers * each);
  EXPECT_EQ(counters.decisions, static_cast<std::uint64_t>(committers) * each);
  EXPECT_GE(counters.decisions / counters.syncs, 16U) << counters.syncs << " syncs";
  RecordProperty("syncs", static_cast<int>(counters.syncs));
}

TEST_F(GroupCommit, the_decisions_read_back_at_reopen_are_exactly_those_acknowledged) {
  std::mutex mutex;
  std::set<TransactionId> acknowledged;
  commit_all<OutOfReach>(20, [&](const Outcome& outcome) {
    ASSERT_TRUE(outcome.committed()) << outcome.text();
    const std::lock_guard lock(mutex);
    acknowledged.insert(outcome.id());
  });
  EXPECT_EQ(acknowledged.size(), static_cast<std::size_t>(committers) * 20);
  const auto directory = NodeDirectory::open(FileSystem::real(), config_.log_directory, config_.node);
  const auto slot = directory->claim();
  std::set<TransactionId> read_back;
  for (const auto& [id, decision] : slot->log().unfinished()) read_back.insert(id);
  EXPECT_EQ(read_back, acknowledged);
}

}  // namespace

void await_all_committers() {
  disk().await_all();
}

}  // namespace assent::testing

extern "C" int fdatasync(int descriptor) {
  assent::testing::await_all_committers();
  return static_cast<int>(::syscall(SYS_fdatasync, descriptor));
}
