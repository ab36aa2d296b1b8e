#include "assent/recovery/node_directory.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <set>
#include <string>
#include <vector>

#include "assent/tests/support/fake_file_system.h"
#include "assent/xa/error.h"

namespace assent::test {
namespace {

/// Real files below a directory of its own.
class Node : public ::testing::Test {
 protected:
  Node() {
    std::string name = (std::filesystem::temp_directory_path() / "assent-node-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) ADD_FAILURE() << "no directory for the test";
    root = name;
    path = root + "/node";
  }
  ~Node() override {
    for (const pid_t child : children) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
    }
    std::filesystem::remove_all(root);
  }

  std::unique_ptr<NodeDirectory> open(const std::string& node = "bank") {
    return NodeDirectory::open(FileSystem::real(), path, node, options);
  }

  template <class Call>
  static Error refusal(Call call) {
    try {
      call();
    } catch (const Error& error) {
      EXPECT_FALSE(error.hint().empty());
      return error;
    }
    ADD_FAILURE() << "nothing was refused";
    return {ErrorCode::misuse, "", ""};
  }

  /// A child that claims a slot, tells its number, and waits to be killed.
  int claim_in_child() {
    int ends[2];
    if (::pipe(ends) != 0) return -1;
    const pid_t child = ::fork();
    if (child == 0) {
      int number = -1;
      try {
        const auto directory = open();
        const auto slot = directory->claim();
        slot->log().begin_incarnation();
        number = slot->number();
        if (::write(ends[1], &number, sizeof number) != sizeof number) ::_exit(1);
        for (;;) ::pause();
      } catch (const std::exception&) {
        static_cast<void>(!::write(ends[1], &number, sizeof number));
      }
      ::_exit(1);
    }
    children.push_back(child);
    ::close(ends[1]);
    return ends[0];
  }
  static int told(int pipe) {
    int number = -1;
    EXPECT_EQ(::read(pipe, &number, sizeof number), static_cast<ssize_t>(sizeof number));
    ::close(pipe);
    return number;
  }

  std::string root;
  std::string path;
  LogOptions options{.segment_bytes = 40 << 10, .random = {}, .now_ms = {}};
  std::vector<pid_t> children;
};

TEST_F(Node, gives_each_claim_a_slot_of_its_own_and_the_lowest_free_one_again) {
  const auto directory = open();
  auto first = directory->claim();
  auto second = directory->claim();
  EXPECT_EQ(first->number(), 0);
  EXPECT_EQ(second->number(), 1);
  EXPECT_NE(first->log().id(), second->log().id());
  const LogId id = first->log().id();
  first.reset();
  first = directory->claim();
  EXPECT_EQ(first->number(), 0);
  EXPECT_EQ(first->log().id(), id);
}

TEST_F(Node, a_slot_whose_log_does_not_fit_is_left_to_others_and_not_held) {
  const auto directory = open();
  const LogId other = directory->claim()->log().id();
  int asked = 0;
  const auto mine = directory->claim([&](const DecisionLog& log) {
    ++asked;
    return log.id() != other;
  });
  EXPECT_EQ(mine->number(), 1);
  EXPECT_EQ(asked, 2);
  EXPECT_FALSE(directory->slots().at(0).holder_pid.has_value());
  EXPECT_EQ(directory->claim()->log().id(), other);
}

TEST_F(Node, two_openings_in_one_process_never_share_a_slot) {
  const auto one = open();
  const auto other = open();
  const auto slot = one->claim();
  EXPECT_EQ(other->claim()->number(), 1);
  EXPECT_EQ(other->adopt(0), nullptr);
  // Looking at the lock must not drop it.
  EXPECT_EQ(other->slots().at(0).holder_pid, ::getpid());
  const int pipe = claim_in_child();
  EXPECT_EQ(told(pipe), 1);
}

TEST_F(Node, shows_who_holds_a_slot_and_whose_log_it_is) {
  const auto directory = open();
  const auto mine = directory->claim();
  const int pipe = claim_in_child();
  ASSERT_EQ(told(pipe), 1);
  const auto slots = directory->slots();
  ASSERT_EQ(slots.size(), 2u);
  EXPECT_EQ(slots[0].holder_pid, ::getpid());
  EXPECT_EQ(slots[0].log, mine->log().id());
  EXPECT_EQ(slots[1].holder_pid, children[0]);
  EXPECT_TRUE(slots[1].log.has_value());
  EXPECT_EQ(slots[1].directory, path + "/slot-0001");
}

TEST_F(Node, processes_that_race_for_slots_get_different_ones) {
  constexpr int count = 12;
  std::vector<int> ends;
  for (int i = 0; i < count; ++i) ends.push_back(claim_in_child());
  std::set<int> numbers;
  for (const int end : ends) numbers.insert(told(end));
  EXPECT_EQ(numbers.size(), static_cast<std::size_t>(count));
  EXPECT_EQ(*numbers.begin(), 0);
  EXPECT_EQ(*numbers.rbegin(), count - 1);
}

TEST_F(Node, a_slot_is_adopted_only_when_its_process_is_gone) {
  const auto directory = open();
  ASSERT_EQ(told(claim_in_child()), 0);
  EXPECT_EQ(directory->adopt(0), nullptr);
  ::kill(children[0], SIGSTOP);
  int status = 0;
  ASSERT_EQ(::waitpid(children[0], &status, WUNTRACED), children[0]);
  ASSERT_TRUE(WIFSTOPPED(status));
  EXPECT_EQ(directory->adopt(0), nullptr) << "a stopped process may go on";
  EXPECT_EQ(directory->claim()->number(), 1);
  ::kill(children[0], SIGKILL);
  ASSERT_EQ(::waitpid(children[0], nullptr, 0), children[0]);
  children.clear();
  EXPECT_FALSE(directory->slots().at(0).holder_pid.has_value());
  const auto slot = directory->adopt(0);
  ASSERT_NE(slot, nullptr);
  EXPECT_EQ(slot->log().incarnations().size(), 1u);
  EXPECT_EQ(directory->adopt(77), nullptr);
  EXPECT_EQ(directory->adopt(-1), nullptr);
}

TEST_F(Node, a_forked_child_neither_holds_nor_releases_its_parents_slot) {
  const auto directory = open();
  auto slot = directory->claim();
  const pid_t child = ::fork();
  if (child == 0) {
    // The child's end of everything, as at exit of a worker.
    slot.reset();
    const auto own = directory->claim();
    ::_exit(own->number() == 1 ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_EQ(told(claim_in_child()), 1) << "the child took the parent's lock with it";
}

TEST_F(Node, refuses_another_nodes_directory) {
  open();
  const Error error = refusal([&] { open("shop"); });
  EXPECT_EQ(error.code(), ErrorCode::log_foreign);
  EXPECT_NE(std::string(error.what()).find("belongs to node 'bank', not to 'shop'"), std::string::npos);
  EXPECT_EQ(refusal([&] { open("no name"); }).code(), ErrorCode::configuration);
}

TEST_F(Node, refuses_a_directory_that_cannot_be_made_or_written) {
  EXPECT_EQ(refusal([&] { NodeDirectory::open(FileSystem::real(), root + "/not/there", "bank"); }).code(),
            ErrorCode::environment);
  // As root every directory can be written: give up root for it, in a child.
  open();
  std::filesystem::permissions(root, std::filesystem::perms(0755));
  std::filesystem::permissions(path, std::filesystem::perms(0555));
  std::filesystem::permissions(path + "/node", std::filesystem::perms(0444));
  const pid_t child = ::fork();
  if (child == 0) {
    if (::getuid() == 0 && ::setuid(65534) != 0) ::_exit(2);
    try {
      open()->claim();
    } catch (const Error& error) {
      const bool clear = error.hint().find("right to read and write") != std::string::npos;
      ::_exit(error.code() == ErrorCode::environment && clear ? 0 : 3);
    }
    ::_exit(4);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  std::filesystem::permissions(path, std::filesystem::perms(0700));
}

TEST(NodeOnFakeDisk, refuses_a_network_file_system) {
  FakeFileSystem disk;
  disk.set_volume({"nfs", true});
  try {
    NodeDirectory::open(disk, "node", "bank");
    ADD_FAILURE() << "it was opened";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::log_foreign);
    EXPECT_NE(std::string(error.what()).find("nfs"), std::string::npos);
  }
}

TEST(NodeOnFakeDisk, refuses_a_disk_that_takes_no_changes) {
  FakeFileSystem disk;
  NodeDirectory::open(disk, "node", "bank");
  disk.refuse_changes(std::errc::read_only_file_system);
  try {
    NodeDirectory::open(disk, "node", "bank")->claim();
    ADD_FAILURE() << "a slot was claimed";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::environment);
    EXPECT_NE(error.hint().find("read-only"), std::string::npos);
  }
}

TEST(NodeOnFakeDisk, a_power_cut_while_it_is_made_leaves_nothing_that_cannot_be_opened) {
  const LogOptions options{.segment_bytes = 20 << 10, .random = {}, .now_ms = {}};
  bool survived = false;
  for (std::uint64_t n = 1; !survived; ++n) {
    ASSERT_LT(n, 500u);
    FakeFileSystem disk(n);
    disk.die_at_call(n);
    std::optional<Incarnation> told;
    try {
      const auto directory = NodeDirectory::open(disk, "node", "bank", options);
      const auto slot = directory->claim();
      told = slot->log().begin_incarnation();
      survived = !disk.failed();
      disk.crash();
    } catch (const Error&) {
      disk.crash();
    }
    const auto directory = NodeDirectory::open(disk, "node", "bank", options);
    const auto slot = directory->claim();
    EXPECT_EQ(slot->number(), 0);
    if (told) {
      ASSERT_EQ(slot->log().incarnations().size(), 1u) << n;
      EXPECT_EQ(slot->log().incarnations()[0].incarnation, *told);
    }
  }
}

}  // namespace
}  // namespace assent::test
