#include "assent/tests/integration/tool/tool.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "assent/tm/config.h"

extern char** environ;

namespace assent::testing {
namespace {

struct Pipe {
  Pipe() {
    if (::pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("no pipe");
  }
  std::array<int, 2> ends{};
};

pid_t spawn(const std::vector<std::string>& arguments, int out, int err) {
  std::vector<std::string> words{ASSENT_TOOL};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> pointers;
  pointers.reserve(words.size() + 1);
  for (std::string& word : words) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
  if (err >= 0) posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
  pid_t pid = -1;
  const int failed = ::posix_spawn(&pid, ASSENT_TOOL, &actions, nullptr, pointers.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw std::runtime_error("cannot start " ASSENT_TOOL);
  return pid;
}

int wait_for(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

Ran run_tool(const std::vector<std::string>& arguments) {
  const Pipe out;
  const Pipe err;
  const pid_t pid = spawn(arguments, out.ends[1], err.ends[1]);
  ::close(out.ends[1]);
  ::close(err.ends[1]);
  Ran ran;
  std::array<pollfd, 2> waiting{{{out.ends[0], POLLIN, 0}, {err.ends[0], POLLIN, 0}}};
  std::array<std::string*, 2> texts{&ran.out, &ran.err};
  std::size_t open = 2;
  while (open > 0) {
    if (::poll(waiting.data(), waiting.size(), -1) < 0) continue;
    for (std::size_t i = 0; i < waiting.size(); ++i) {
      if (waiting[i].revents == 0) continue;
      std::array<char, 4096> bytes{};
      const ssize_t count = ::read(waiting[i].fd, bytes.data(), bytes.size());
      if (count > 0) {
        texts[i]->append(bytes.data(), static_cast<std::size_t>(count));
      } else {
        ::close(waiting[i].fd);
        waiting[i].fd = -1;
        --open;
      }
    }
  }
  ran.exit = wait_for(pid);
  return ran;
}

RunningTool::RunningTool(const std::vector<std::string>& arguments) {
  const Pipe out;
  pid_ = spawn(arguments, out.ends[1], -1);
  ::close(out.ends[1]);
  out_ = out.ends[0];
}

RunningTool::~RunningTool() {
  ::close(out_);
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  wait_for(pid_);
}

bool RunningTool::prints(const std::string& what) {
  while (true) {
    if (const std::size_t found = read_.find(what); found != std::string::npos) {
      read_.erase(0, found + what.size());
      return true;
    }
    std::array<char, 4096> bytes{};
    const ssize_t count = ::read(out_, bytes.data(), bytes.size());
    if (count <= 0) return false;
    read_.append(bytes.data(), static_cast<std::size_t>(count));
  }
}

int RunningTool::interrupt() {
  ::kill(pid_, SIGINT);
  const int exit = wait_for(pid_);
  pid_ = -1;
  return exit;
}

Node::Node() : Node("sqlite:///north.db?mode=rwc", "sqlite:///south.db?mode=rwc") {}

Node::Node(const std::string& north_url, const std::string& south_url)
    : tables_("assent_tool_" + std::to_string(::getpid())), urls_{north_url, south_url} {
  std::string name = (std::filesystem::temp_directory_path() / "assent-tool-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary directory");
  directory_ = name;
  configure(north() + south());
  const Config config = load_config(this->config());
  north_ = tool::open_bank(config.resources.at(0), tables_);
  south_ = tool::open_bank(config.resources.at(1), tables_);
  north_->open_accounts(1000);
  south_->open_accounts(1000);
}

Node::~Node() {
  // A branch that a failed test left prepared would make the next statements wait for it.
  configure(north() + south());
  static_cast<void>(run({"resolve"}));
  try {
    north_->remove();
    south_->remove();
  } catch (const std::exception&) {
    // SQLite files with a branch in doubt; they go now.
  }
  std::error_code error;
  std::filesystem::remove_all(directory_, error);
}

void Node::write_config(const std::string& text) const {
  std::ofstream(config()) << text;
}

void Node::configure(const std::string& resources) const {
  // Background recovery of the transaction manager in a test must not come before the tool.
  write_config("node = \"here\"\nlog = \"log\"\nrecovery_interval_ms = 86400000\n" + resources);
}

Ran Node::run(std::vector<std::string> arguments) const {
  arguments.insert(arguments.begin(), {"--config", config()});
  return run_tool(arguments);
}

void Node::crash_before(const std::string& verb) {
  const Ran ran = run({"demo-child", "--tables", tables_, "--die-before", verb});
  if (ran.exit != 128 + SIGKILL) throw std::runtime_error("it did not die: " + ran.out + ran.err);
}

std::string Node::only_transaction() const {
  const auto json = nlohmann::json::parse(run({"list", "--json"}).out);
  if (json.at("transactions").size() != 1) throw std::runtime_error("not one transaction: " + json.dump());
  return json.at("transactions").at(0).at("short");
}

std::vector<std::pair<std::string, std::string>> bytes_below(const std::string& directory) {
  std::vector<std::pair<std::string, std::string>> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    std::ifstream file(entry.path(), std::ios::binary);
    out.emplace_back(entry.path().string(), std::string(std::istreambuf_iterator<char>(file), {}));
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace assent::testing
