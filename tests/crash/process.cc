#include "assent/tests/crash/process.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <stdexcept>
#include <system_error>
#include <thread>
#include <utility>

namespace assent::testing {
namespace {

using std::chrono::steady_clock;

[[noreturn]] void fail(const char* what) {
  throw std::system_error(errno, std::generic_category(), what);
}

}  // namespace

bool eventually(const std::function<bool()>& condition, std::chrono::seconds limit) {
  const auto until = steady_clock::now() + limit;
  while (!condition()) {
    if (steady_clock::now() >= until) return false;
    // Between two questions only: nothing depends on its length.
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

Process::Process(const std::vector<std::string>& command) {
  std::array<int, 2> in{};
  std::array<int, 2> out{};
  if (::pipe2(in.data(), O_CLOEXEC) != 0 || ::pipe2(out.data(), O_CLOEXEC) != 0) fail("pipe");
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& each : command) arguments.push_back(const_cast<char*>(each.c_str()));
  arguments.push_back(nullptr);
  pid_ = ::fork();
  if (pid_ < 0) fail("fork");
  if (pid_ == 0) {
    ::dup2(in[0], STDIN_FILENO);
    ::dup2(out[1], STDOUT_FILENO);
    ::execv(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(in[0]);
  ::close(out[1]);
  input_ = in[1];
  output_ = out[0];
}

Process::~Process() {
  if (!reaped_) kill_9();
  say_no_more();
  ::close(output_);
}

void Process::say(const std::string& line) {
  const std::string text = line + '\n';
  // The process may be dead, which the test then learns from what it does not say.
  struct sigaction ignore {};
  struct sigaction before {};
  ignore.sa_handler = SIG_IGN;
  ::sigaction(SIGPIPE, &ignore, &before);
  static_cast<void>(!::write(input_, text.data(), text.size()));
  ::sigaction(SIGPIPE, &before, nullptr);
}

void Process::say_no_more() {
  if (input_ >= 0) ::close(std::exchange(input_, -1));
}

bool Process::read_more() {
  pollfd ready{output_, POLLIN, 0};
  const int milliseconds = static_cast<int>(std::chrono::milliseconds(generous).count());
  int answered = 0;
  do {
    answered = ::poll(&ready, 1, milliseconds);
  } while (answered < 0 && errno == EINTR);
  std::string all;
  if (answered == 0) {
    for (const std::string& line : heard_) all += "\n  " + line;
    throw std::runtime_error("the worker is silent; it said:" + all);
  }
  std::array<char, 4096> bytes;
  const ssize_t size = ::read(output_, bytes.data(), bytes.size());
  if (size <= 0) return false;
  buffer_.append(bytes.data(), static_cast<std::size_t>(size));
  return true;
}

std::string Process::hear(std::string_view beginning) {
  while (true) {
    const std::size_t end = buffer_.find('\n');
    if (end != std::string::npos) {
      heard_.push_back(buffer_.substr(0, end));
      buffer_.erase(0, end + 1);
      if (heard_.back().starts_with(beginning)) return heard_.back();
    } else if (!read_more()) {
      std::string all;
      for (const std::string& line : heard_) all += "\n  " + line;
      throw std::runtime_error("the worker ended without saying '" + std::string(beginning) + "'; it said:" + all);
    }
  }
}

std::string Process::ask(const std::string& line, std::string_view beginning) {
  say(line);
  // Another answer of the same kind is an answer, too: not one to wait on.
  std::string answer = hear(beginning.substr(0, beginning.find(' ')));
  if (!answer.starts_with(beginning)) {
    throw std::runtime_error("asked '" + line + "', the worker says '" + answer + "', not '" + std::string(beginning) +
                             "'");
  }
  return answer;
}

void Process::hear_all() {
  while (read_more()) {
  }
  for (std::size_t end = 0; (end = buffer_.find('\n')) != std::string::npos; buffer_.erase(0, end + 1)) {
    heard_.push_back(buffer_.substr(0, end));
  }
}

void Process::signal(int number) const {
  if (!reaped_) ::kill(pid_, number);
}

void Process::await_stop() const {
  siginfo_t info{};
  if (::waitid(P_PID, static_cast<id_t>(pid_), &info, WSTOPPED | WNOWAIT) != 0) fail("waitid");
}

int Process::wait() {
  while (!reaped_) {
    if (::waitpid(pid_, &status_, 0) == pid_) {
      reaped_ = true;
    } else if (errno != EINTR) {
      fail("waitpid");
    }
  }
  return status_;
}

void Process::kill_9() {
  signal(SIGKILL);
  wait();
}

bool Process::was_killed() const {
  return reaped_ && WIFSIGNALED(status_) && WTERMSIG(status_) == SIGKILL;
}

}  // namespace assent::testing
