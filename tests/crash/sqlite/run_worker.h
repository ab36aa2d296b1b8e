#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string>

namespace assent::test {

struct Ran {
  bool killed = false;
  bool acknowledged = false;
  std::string output;
};

/// Runs the worker with the watching library preloaded; fails the test when it neither succeeded nor was killed.
inline Ran run_worker(const std::string& database, const std::string& deed, int sequence, long kill_at) {
  int ends[2];
  if (::pipe(ends) != 0) std::abort();
  const std::string sequence_text = std::to_string(sequence);
  const std::string kill_text = std::to_string(kill_at);
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(ends[1], STDOUT_FILENO);
    ::close(ends[0]);
    ::close(ends[1]);
    ::setenv("LD_PRELOAD", ASSENT_FILE_CALLS, 1);
    ::execl(ASSENT_WORKER, ASSENT_WORKER, database.c_str(), deed.c_str(), sequence_text.c_str(), kill_text.c_str(),
            static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ::close(ends[1]);
  Ran ran;
  char buffer[4096];
  for (ssize_t size = 0; (size = ::read(ends[0], buffer, sizeof buffer)) > 0;) {
    ran.output.append(buffer, static_cast<std::size_t>(size));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  ran.killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
  ran.acknowledged = ran.output.starts_with("acknowledged\n");
  if (ran.acknowledged) ran.output.erase(0, std::string("acknowledged\n").size());
  EXPECT_TRUE(ran.killed || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
      << deed << ", killed before call " << kill_at << ", status " << status << ": " << ran.output;
  return ran;
}

/// A directory of its own, removed at the end.
class ScratchDirectory {
 public:
  ScratchDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "assent-sqlite-crash-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path_ = std::filesystem::canonical(name).string();
  }
  ~ScratchDirectory() { std::filesystem::remove_all(path_); }
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;

  const std::string& path() const { return path_; }
  void clear() const {
    std::filesystem::remove_all(path_);
    std::filesystem::create_directory(path_);
  }

 private:
  std::string path_;
};

}  // namespace assent::test
