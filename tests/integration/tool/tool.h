#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "assent/tools/assent/demo_bank.h"

namespace assent::testing {

struct Ran {
  int exit = -1;
  std::string out;
  std::string err;
};

/// Runs the built program to its end, without a terminal.
Ran run_tool(const std::vector<std::string>& arguments);

/// The built program in the background.
class RunningTool {
 public:
  explicit RunningTool(const std::vector<std::string>& arguments);
  /// Kills it if it still runs.
  ~RunningTool();
  RunningTool(const RunningTool&) = delete;
  RunningTool& operator=(const RunningTool&) = delete;

  /// Blocks until its output has a line with this in it; false when the output ended before.
  bool prints(const std::string& what);
  /// SIGINT, then its exit code.
  int interrupt();

 private:
  pid_t pid_ = -1;
  int out_ = -1;
  std::string read_;
};

/// A node of its own in a temporary directory, with two banks.
class Node {
 public:
  /// Two SQLite files by default.
  Node();
  Node(const std::string& north_url, const std::string& south_url);
  ~Node();
  Node(const Node&) = delete;
  Node& operator=(const Node&) = delete;

  std::string path(const std::string& name) const { return directory_ + '/' + name; }
  std::string config() const { return path("assent.toml"); }
  void write_config(const std::string& text) const;
  /// `node` and `log`, and this about the resources.
  void configure(const std::string& resources) const;
  std::string north() const { return "[resources.north]\nurl = \"" + urls_.at(0) + "\"\n"; }
  std::string south() const { return "[resources.south]\nurl = \"" + urls_.at(1) + "\"\n"; }

  Ran run(std::vector<std::string> arguments) const;
  /// A transfer of 10 from north to south that dies before "commit" (it is decided) or "force" (it is not).
  void crash_before(const std::string& verb);
  /// The only transaction that is in doubt, as `list` names it.
  std::string only_transaction() const;

  std::int64_t money_in_north() const { return north_->read().money; }
  std::int64_t money_in_south() const { return south_->read().money; }

 private:
  std::string directory_;
  std::string tables_;
  std::vector<std::string> urls_;
  std::unique_ptr<tool::Bank> north_;
  std::unique_ptr<tool::Bank> south_;
};

/// Contents of all files below a directory by path.
std::vector<std::pair<std::string, std::string>> bytes_below(const std::string& directory);

}  // namespace assent::testing
