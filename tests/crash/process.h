#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace assent::testing {

/// Longer than anything takes on a slow machine; a test that waits so long has failed.
inline constexpr std::chrono::seconds generous{60};

/// Asks again until the answer is yes; false when it never came.
bool eventually(const std::function<bool()>& condition, std::chrono::seconds limit = generous);

/// A child process that is spoken to by lines: its standard input and output. Killed and reaped at the end. Not
/// thread-safe.
class Process {
 public:
  /// fork and exec; throws std::runtime_error.
  explicit Process(const std::vector<std::string>& command);
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;
  ~Process();

  pid_t pid() const { return pid_; }

  void say(const std::string& line);
  /// The process reads the end of its input.
  void say_no_more();
  /// The next line that begins with `beginning`; those before it are kept in heard(). Throws std::runtime_error when
  /// the process says no more, or nothing for too long.
  std::string hear(std::string_view beginning);
  /// say(), then hear() the answer; throws at once when the answer has the same first word but goes on otherwise.
  std::string ask(const std::string& line, std::string_view beginning);
  /// All lines until the process closes its output.
  void hear_all();
  /// What it said so far, all of it, in order.
  const std::vector<std::string>& heard() const { return heard_; }

  void signal(int number) const;
  /// Returns when every thread of it is stopped by a signal.
  void await_stop() const;
  /// Waits for its end; what waitpid said.
  int wait();
  void kill_9();
  bool was_killed() const;

 private:
  bool read_more();

  pid_t pid_ = -1;
  int input_ = -1;
  int output_ = -1;
  bool reaped_ = false;
  int status_ = 0;
  std::string buffer_;
  std::vector<std::string> heard_;
};

}  // namespace assent::testing
