#pragma once

#include <string>
#include <vector>

#include "assent/tools/assent/exit_code.h"
#include "assent/tools/assent/terminal.h"

namespace assent::tool {

/// What every command is given.
struct Context {
  std::string config_path = "assent.toml";
  bool json = false;
  ColourMode colour = ColourMode::automatic;
  /// How commands to type are shown; empty: as they must be typed to use the same configuration.
  std::string shown_program;

  std::string program() const;
};

// One function a command, each in a file of its own name. They throw Error and Stop.

struct ListOptions {
  bool all = false;  ///< foreign branches and those of other nodes, too
};
Exit list(const Context& context, const ListOptions& options, Terminal& terminal);

Exit explain(const Context& context, const std::string& typed, Terminal& terminal);

struct ResolveOptions {
  bool dry_run = false;
  bool watch = false;
  unsigned interval_s = 5;
};
Exit resolve(const Context& context, const ResolveOptions& options, Terminal& terminal);

struct ForceOptions {
  std::string branch;
  std::string verb;  ///< "commit" or "rollback"
  bool yes = false;
  bool against_the_decision = false;
  bool without_its_log = false;
};
Exit force(const Context& context, const ForceOptions& options, Terminal& terminal);

struct ForgetOptions {
  std::string transaction;
  std::vector<std::string> gone;  ///< resources whose databases will never come back
  bool yes = false;
};
Exit forget(const Context& context, const ForgetOptions& options, Terminal& terminal);

struct LogCommandOptions {
  std::string slot;  ///< empty: all
  bool yes = false;
};
Exit dump_log(const Context& context, const LogCommandOptions& options, Terminal& terminal);
Exit verify_log(const Context& context, const LogCommandOptions& options, Terminal& terminal);
Exit adopt_log(const Context& context, const LogCommandOptions& options, Terminal& terminal);

Exit doctor(const Context& context, Terminal& terminal);

struct DemoOptions {
  std::string keep;               ///< a directory to leave everything in; empty: a temporary one
  std::vector<std::string> over;  ///< URLs of two databases; empty: two SQLite files
};
Exit demo(const Context& context, const DemoOptions& options, Terminal& terminal);

struct BenchOptions {
  std::vector<std::string> over;       ///< URLs of databases; none: only what needs no database
  std::vector<std::string> workloads;  ///< names; empty: all usual ones
  std::vector<int> clients{1, 16};
  double seconds = 10;  ///< of each workload and number of clients
  std::string log;      ///< a directory on the disk to measure; empty: the temporary one
};
Exit bench(const Context& context, const BenchOptions& options, Terminal& terminal);

/// What `demo` starts and has killed: opens the node, transfers money, ends itself by SIGKILL where it is told to.
struct DemoChildOptions {
  std::string config_path;
  std::string tables;
  std::string die_before;  ///< "commit": decided, but nobody was told; "force": prepared, but not decided; or empty
  int first_transfer = 1;
  int transfers = 1;
};
Exit demo_child(const DemoChildOptions& options);

/// Asks a person to type `word`; true at once with `yes`. Throws Stop{refused} when it was not typed, or nobody is
/// there.
void confirm(const std::string& question, const std::string& word, bool yes);

/// "root (uid 0), process 4711": for the audit.
std::string who_am_i();

}  // namespace assent::tool
