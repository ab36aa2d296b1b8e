#include <gtest/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "assent/recovery/node_directory.h"
#include "assent/xa/error.h"

namespace assent::test {
namespace {

/// What a child tells when a decision of its was acknowledged (or, before, that it is about to finish one).
struct Told {
  LogId log{};
  Incarnation incarnation{};
  std::uint64_t sequence = 0;
  bool finishing = false;

  TransactionId id() const { return {DeciderKind::log, log, incarnation, sequence}; }
};
static_assert(std::is_trivially_copyable_v<Told>, "its bytes go through a pipe");

class KilledLog : public ::testing::Test {
 public:
  ~KilledLog() override { std::filesystem::remove_all(root); }

 protected:
  KilledLog() {
    std::string name = (std::filesystem::temp_directory_path() / "assent-kill-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "no directory for the test";
    root = name;
  }

  std::unique_ptr<NodeDirectory> open() {
    return NodeDirectory::open(FileSystem::real(), root + "/node", "bank", options);
  }

  std::string root;
  LogOptions options{.segment_bytes = 40 << 10, .random = {}, .now_ms = {}};
};

[[noreturn]] void commit_until_killed(DecisionLog& log, int pipe) {
  const Incarnation incarnation = log.begin_incarnation();
  std::vector<std::thread> threads;
  for (std::uint64_t t = 0; t < 4; ++t) {
    threads.emplace_back([&log, incarnation, pipe, t] {
      for (std::uint64_t i = 0;; ++i) {
        const Decision decision{{DeciderKind::log, log.id(), incarnation, i * 4 + t}, "order", 1, {{"ledger", "x"}}};
        if (log.force(decision) != Forced::durable) ::_exit(1);
        Told told{log.id(), incarnation, decision.id.sequence, false};
        if (::write(pipe, &told, sizeof told) != sizeof told) ::_exit(1);
        if (i % 16 == 0) continue;
        told.finishing = true;
        if (::write(pipe, &told, sizeof told) != sizeof told) ::_exit(1);
        log.finish(decision.id);
      }
    });
  }
  for (;;) ::pause();
}

TEST_F(KilledLog, loses_nothing_acknowledged_when_its_process_is_killed_at_any_moment) {
  std::set<TransactionId> acknowledged;
  std::set<TransactionId> finishing;
  for (int round = 0; round < 12; ++round) {
    int ends[2];
    ASSERT_EQ(::pipe(ends), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      ::close(ends[0]);
      try {
        const auto directory = open();
        const auto slot = directory->claim();
        if (slot->number() != 0) ::_exit(2);
        commit_until_killed(slot->log(), ends[1]);
      } catch (const std::exception&) {
        ::_exit(3);
      }
    }
    ::close(ends[1]);
    // Killed after so many words of it: each time in another place of the life of a segment.
    const int words = 50 + 137 * round;
    Told told;
    for (int i = 0; i < words; ++i) {
      ASSERT_EQ(::read(ends[0], &told, sizeof told), static_cast<ssize_t>(sizeof told)) << "the child gave up";
      (told.finishing ? finishing : acknowledged).insert(told.id());
    }
    ::kill(child, SIGKILL);
    while (::read(ends[0], &told, sizeof told) == static_cast<ssize_t>(sizeof told)) {
      (told.finishing ? finishing : acknowledged).insert(told.id());
    }
    ::close(ends[0]);
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_TRUE(WIFSIGNALED(status)) << status;

    const auto directory = open();
    const auto slot = directory->adopt(0);
    ASSERT_NE(slot, nullptr) << "the dead process still holds its slot";
    const auto found = slot->log().unfinished();
    for (const TransactionId& id : acknowledged) {
      EXPECT_TRUE(found.contains(id) || finishing.contains(id)) << "lost " << id.text();
    }
    EXPECT_EQ(slot->log().incarnations().size(), static_cast<std::size_t>(round + 1));
    EXPECT_FALSE(slot->log().moved());
    if (HasFailure()) return;
  }
}

TEST_F(KilledLog, says_that_a_copied_directory_is_a_copy) {
  LogId id{};
  {
    const auto directory = open();
    const auto slot = directory->claim();
    slot->log().begin_incarnation();
    id = slot->log().id();
  }
  std::filesystem::copy(root + "/node", root + "/copy", std::filesystem::copy_options::recursive);
  const auto copy = NodeDirectory::open(FileSystem::real(), root + "/copy", "bank", options);
  const auto slot = copy->claim();
  EXPECT_EQ(slot->log().id(), id);
  EXPECT_TRUE(slot->log().moved());
  EXPECT_FALSE(slot->log().incarnations().at(0).presumable);
  // Another name for the same files is the same log.
  std::filesystem::rename(root + "/node", root + "/renamed");
  const auto renamed = NodeDirectory::open(FileSystem::real(), root + "/renamed", "bank", options);
  EXPECT_FALSE(renamed->claim()->log().moved());
}

/// Runs in a process with a mount namespace of its own, on a file system of that size, which goes with the process.
/// Answers its exit status; -1 where mounting is not allowed.
int on_small_disk(const std::string& at, const std::string& size, const std::function<int()>& work) {
  constexpr int not_allowed = 77;
  const pid_t child = ::fork();
  if (child == 0) {
    if (::unshare(CLONE_NEWNS) != 0 || ::mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", at.c_str(), "tmpfs", 0, ("size=" + size).c_str()) != 0) {
      ::_exit(not_allowed);
    }
    int result = 99;
    try {
      result = work();
    } catch (const std::exception& error) {
      static_cast<void>(!::write(2, error.what(), std::string(error.what()).size()));
    }
    ::_exit(result);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  if (WIFEXITED(status) && WEXITSTATUS(status) == not_allowed) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

TEST_F(KilledLog, a_full_disk_refuses_loses_nothing_and_goes_on_when_there_is_room) {
  const int result = on_small_disk(root, "512k", [this] {
    std::set<TransactionId> acknowledged;
    {
      const auto directory = open();
      const auto slot = directory->claim();
      DecisionLog& log = slot->log();
      const Incarnation incarnation = log.begin_incarnation();
      std::uint64_t sequence = 0;
      const auto commit = [&] {
        const Decision decision{{DeciderKind::log, log.id(), incarnation, ++sequence}, "o", 1, {{"ledger", "x"}}};
        const Forced forced = log.force(decision);
        if (forced == Forced::durable) acknowledged.insert(decision.id);
        return forced;
      };
      const std::string ballast = root + "/ballast";
      {
        // Takes what is left of the disk.
        const auto file = FileSystem::real().open(ballast, FileSystem::Open::create_new);
        std::uint64_t at = 0;
        while (!file.value->write(at, std::string(4096, 'x')).error) at += 4096;
      }
      Forced forced = Forced::durable;
      while (forced == Forced::durable && sequence < 100'000) forced = commit();
      if (forced != Forced::refused || acknowledged.empty()) return 1;
      if (log.poisoned()) return 2;
      if (FileSystem::real().remove(ballast)) return 3;
      if (commit() != Forced::durable) return 4;
    }
    const auto directory = open();
    const auto slot = directory->claim();
    std::set<TransactionId> found;
    for (const auto& [id, decision] : slot->log().unfinished()) found.insert(id);
    return found == acknowledged ? 0 : 5;
  });
  if (result == -1) GTEST_SKIP() << "mounting a small disk needs root; the same is tested on a disk in memory";
  EXPECT_EQ(result, 0);
}

TEST_F(KilledLog, a_disk_mounted_read_only_is_refused_with_a_hint) {
  const int result = on_small_disk(root, "512k", [this] {
    open()->claim();
    if (::mount("none", root.c_str(), nullptr, MS_REMOUNT | MS_RDONLY, nullptr) != 0) return 1;
    try {
      open()->claim();
    } catch (const Error& error) {
      const bool clear = error.hint().find("read-only") != std::string::npos;
      return error.code() == ErrorCode::environment && clear ? 0 : 2;
    }
    return 3;
  });
  if (result == -1) GTEST_SKIP() << "mounting a small disk needs root; the same is tested on a disk in memory";
  EXPECT_EQ(result, 0);
}

}  // namespace
}  // namespace assent::test
