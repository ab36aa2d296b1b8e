#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "assent/recovery/file_system.h"
#include "assent/tests/simulation/scheduler.h"
#include "assent/tests/support/fake_file_system.h"
#include "assent/xa/xid.h"

namespace assent::simulation {

/// The disk of one node, shared by its processes. Every call takes time, so that anything may happen between two of
/// them; unsynced writes may vanish, tear or come in any order when the power fails.
class Disk {
 public:
  Disk(Scheduler& scheduler, std::uint64_t seed);

  /// What processes of this node open. Lives as long as the disk.
  FileSystem& files();

  /// The process is gone: its files are closed and its locks free; what it wrote is there.
  void forget(const Process& process);
  /// The machine loses power, with all processes on it.
  void lose_power();

  /// The next call of some process fails, as calls of a disk do.
  void fail_soon(std::uint64_t within);
  void stop_failing();
  void fail_call(std::uint64_t number) { under_.fail_call(number); }
  std::uint64_t calls() const { return under_.calls(); }
  /// From now on nothing more fits / everything fits again.
  void fill();
  void empty();
  void slow_down(Time each);

  /// Brings back the directory as it was; every file is another one (rule 2).
  using Copy = std::map<std::string, std::string>;
  /// What is on the disk, without what is in the page cache only: who copies a log must sync first
  /// (docs/model/README.md, COPY_OF_PAGE_CACHE; seed 138428 found the same when this copied everything).
  Copy copy() const { return under_.durable(); }
  void restore(const Copy& copy);
  void move() { under_.move_everything(); }

  /// A power failure now would leave the decision in some log, at the least.
  bool holds_decision(const TransactionId& id) const;
  std::uint64_t used() const { return under_.used(); }

 private:
  friend class SeenFile;
  friend class SeenFiles;
  friend class SeenLock;

  struct Open {
    const Process* process;
    std::unique_ptr<File> file;
  };
  struct Held {
    const Process* process;
    std::unique_ptr<FileLock> lock;
  };

  void pass_time(bool sync = false);

  Scheduler& scheduler_;
  test::FakeFileSystem under_;
  std::unique_ptr<FileSystem> seen_;
  Time slow_{0};
  std::uint64_t next_handle_ = 1;
  std::map<std::uint64_t, Open> open_;
  std::map<std::string, Held> held_;
  std::set<std::string> paths_;  // ever made: the fake lists no tree
};

}  // namespace assent::simulation
