// Every call on real files fails once, and every allocation: what was acknowledged holds, what was refused did not
// happen, and the next process finishes what is left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <sstream>
#include <string>
#include <vector>

#include "assent/tests/crash/faults/fault_bank.h"

namespace assent::testing {
namespace {

namespace fs = std::filesystem;

struct Ran {
  int status = 0;  ///< as waitpid() has it
  long calls = 0;
  std::map<int, std::string> outcomes;  ///< of the transfers that were told
  std::string said;
};

class Fault : public ::testing::Test {
 protected:
  Fault() {
    // In memory where there is such a place: thousands of runs need not wait for a disk, and the calls are the same.
    const fs::path memory = "/dev/shm";
    std::string name =
        ((fs::is_directory(memory) ? memory : fs::temp_directory_path()) / "assent-fault-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    root_ = fs::canonical(name).string();
    fs::create_directory(fresh());
    for (const char* each : {"a", "b"}) {
      sqlite3* database = nullptr;
      EXPECT_EQ(sqlite3_open((fresh() + '/' + each + ".db").c_str(), &database), SQLITE_OK);
      execute(*database, "CREATE TABLE account(balance INTEGER NOT NULL); INSERT INTO account VALUES(" +
                             std::to_string(begin_with) + ")");
      sqlite3_close(database);
    }
    // A life before: the log has something to copy, the databases have Assent's tables.
    auto tm = open_bank(fresh());
    EXPECT_TRUE(transfer(tm, 1 << transfers).committed());
  }
  ~Fault() override { fs::remove_all(root_); }

  std::string fresh() const { return root_ + "/fresh"; }
  std::string used() const { return root_ + "/used"; }

  Ran run(const std::string& phase, const std::string& calls, long number, int error) {
    // Moved there, not copied: the log knows its file's inode, and a copy would presume nothing.
    fs::remove_all(used());
    fs::rename(fresh(), used());
    int ends[2];
    if (::pipe(ends) != 0) std::abort();
    const pid_t child = ::fork();
    if (child == 0) {
      ::dup2(ends[1], STDOUT_FILENO);
      ::close(ends[0]);
      ::close(ends[1]);
      const rlimit no_core{0, 0};
      ::setrlimit(RLIMIT_CORE, &no_core);
      ::setenv("LD_PRELOAD", ASSENT_FAILING_CALLS, 1);
      ::execl(ASSENT_FAULT_WORKER, ASSENT_FAULT_WORKER, used().c_str(), phase.c_str(), calls.c_str(),
              std::to_string(number).c_str(), std::to_string(error).c_str(), static_cast<char*>(nullptr));
      ::_exit(127);
    }
    ::close(ends[1]);
    Ran ran;
    char buffer[4096];
    for (ssize_t size = 0; (size = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
      ran.said.append(buffer, static_cast<std::size_t>(size));
    }
    ::close(ends[0]);
    ::waitpid(child, &ran.status, 0);
    std::istringstream lines(ran.said);
    for (std::string line; std::getline(lines, line);) {
      std::istringstream words(line);
      std::string verb;
      words >> verb;
      if (verb == "calls") words >> ran.calls;
      int number_of = 0;
      std::string kind;
      if (verb == "transfer" && words >> number_of && std::getline(words >> std::ws, kind))
        ran.outcomes[number_of] = kind;
    }
    return ran;
  }

  int balance(const char* name) {
    sqlite3* database = nullptr;
    sqlite3_stmt* statement = nullptr;
    int found = -1;
    EXPECT_EQ(sqlite3_open((used() + '/' + name + ".db").c_str(), &database), SQLITE_OK);
    EXPECT_EQ(sqlite3_prepare_v2(database, "SELECT balance FROM account", -1, &statement, nullptr), SQLITE_OK);
    if (sqlite3_step(statement) == SQLITE_ROW) found = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(database);
    return found;
  }

  /// The next process, without faults, finishes all, and what the first one was told is so.
  void check(const Ran& ran) {
    {
      auto tm = open_bank(used());
      const RecoveryReport report = tm.recover_now();
      for (const BranchReport& branch : report.branches) {
        EXPECT_TRUE(branch.done) << branch.xid.text() << ": " << branch.resolution.text;
      }
      for (const ResourceReport& resource : report.resources) EXPECT_TRUE(resource.usable()) << resource.text;
    }
    const int moved = begin_with - balance("a");
    EXPECT_EQ(balance("b"), begin_with + moved) << "money was made or lost";
    for (int i = 0; i < transfers; ++i) {
      const auto told = ran.outcomes.find(i);
      if (told == ran.outcomes.end() || told->second == "in doubt") continue;
      EXPECT_EQ((moved >> i & 1) != 0, told->second == "committed") << "transfer " << i << " was told " << told->second;
    }
    EXPECT_NE(moved >> transfers & 1, 0) << "an earlier transfer is gone";
    // All is as before: ready for the next.
    fs::remove_all(fresh());
    fs::rename(used(), fresh());
    reset();
  }

  void reset() {
    for (const char* each : {"a", "b"}) {
      sqlite3* database = nullptr;
      EXPECT_EQ(sqlite3_open((fresh() + '/' + each + ".db").c_str(), &database), SQLITE_OK);
      const int moved = 1 << transfers;
      execute(*database,
              "UPDATE account SET balance = " + std::to_string(begin_with + (*each == 'a' ? -moved : moved)));
      sqlite3_close(database);
    }
  }

  /// Call 1, 2, 3, … fails, until a run survives because it makes fewer.
  void sweep(const std::string& phase, const std::string& calls, const std::vector<int>& errors, bool may_end) {
    for (const int error : errors) {
      long number = 1;
      for (;; ++number) {
        ASSERT_LT(number, 20000);
        const Ran ran = run(phase, calls, number, error);
        SCOPED_TRACE(phase + ", call " + std::to_string(number) + " of " + calls + " failed with " +
                     std::to_string(error) + ": " + ran.said);
        const bool ended = WIFSIGNALED(ran.status) && WTERMSIG(ran.status) == SIGABRT;
        EXPECT_TRUE((WIFEXITED(ran.status) && WEXITSTATUS(ran.status) == 0) || (may_end && ended)) << ran.status;
        check(ran);
        if (HasFailure()) return;
        const bool survived = !ended && ran.calls < number;
        if (!survived) continue;
        EXPECT_EQ(ran.outcomes.size(), static_cast<std::size_t>(transfers)) << "nothing failed, and yet";
        break;
      }
      RecordProperty("calls_" + std::to_string(error), static_cast<int>(number - 1));
      EXPECT_GT(number, 10) << "the library that fails calls saw none";
    }
  }

  std::string root_;
};

TEST_F(Fault, of_any_file_call_while_it_opens_is_refused_or_survived_and_loses_nothing) {
  sweep("open", "files", {EIO, ENOSPC}, false);
}

TEST_F(Fault, of_any_file_call_while_it_commits_is_refused_or_survived_and_loses_nothing) {
  sweep("commit", "files", {EIO, ENOSPC}, false);
}

// Without memory between commit() and its outcome the process ends, and the next one settles.
TEST_F(Fault, of_any_allocation_is_refused_or_survived_or_ends_the_process_and_loses_nothing) {
  sweep("first", "memory", {ENOMEM}, true);
}

}  // namespace
}  // namespace assent::testing
