#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "assent/recovery/file_system.h"

namespace assent::test {

/// A disk in memory that can lose what was not synced. Thread-safe.
///
/// It holds everything twice: as the processes see it, and as it is on the disk. Contents come to the disk by sectors
/// of 512 bytes, at sync_data() all, at crash() any of them; names by sync_directory(), at crash() those of any prefix
/// of the changes made since (as a journalling file system does it).
class FakeFileSystem final : public FileSystem {
 public:
  static constexpr std::size_t sector = 512;

  explicit FakeFileSystem(std::uint64_t seed = 1);
  ~FakeFileSystem() override;

  // What goes wrong.

  /// All processes are gone and the machine with them: locks are free, open files answer errors, and of what was not
  /// synced a part chosen by the seed is on disk. Failures and death end.
  void crash();
  /// As crash(), but everything written is there: only the process died.
  void kill();
  /// The `number`-th call from now (from 1) fails with `error`; a write then brings half of its bytes, a sync half of
  /// its sectors (and the rest never comes, as on Linux). Then all goes on well.
  void fail_call(std::uint64_t number, std::errc error = std::errc::io_error);
  /// From the `number`-th call from now on nothing has an effect; that call itself may have half of its own.
  void die_at_call(std::uint64_t number);
  /// Calls since construction.
  std::uint64_t calls() const;
  /// The failure that was ordered has happened.
  bool failed() const;
  /// Room for so many bytes of files in all; nothing: endless.
  void set_capacity(std::optional<std::uint64_t> bytes);
  /// Every change of names and contents is refused with this error; nothing: none is.
  void refuse_changes(std::optional<std::errc> error);
  /// Every remove() is refused with this error; nothing: none is.
  void refuse_removals(std::optional<std::errc> error);
  /// The next write fails with this error before any byte.
  void refuse_next_write(std::errc error);
  void set_volume(Volume volume);
  /// Called in sync_data() before its effect, outside of all locks.
  void on_sync(std::function<void(const std::string& path)> hook);
  /// Called in read() before its effect, outside of all locks.
  void on_read(std::function<void()> hook);
  /// Every file gets another inode, as after a restore from a backup.
  void move_everything();

  // Looking and meddling, past the processes; contents are durable at once.

  std::string contents(const std::string& path) const;
  void set_contents(const std::string& path, std::string bytes);
  void flip_bit(const std::string& path, std::uint64_t byte, int bit);
  /// Would be found in some file after a crash now that lost everything unsynced.
  bool on_disk(std::string_view bytes) const;
  /// All files as such a crash would leave them.
  std::map<std::string, std::string> durable() const;
  /// Bytes of all files.
  std::uint64_t used() const;
  /// Calls of sync_data() that answered no error.
  std::uint64_t syncs() const;

  // FileSystem.

  Io<std::unique_ptr<File>> open(const std::string& path, Open how) override;
  std::error_code make_directory(const std::string& path) override;
  std::error_code sync_directory(const std::string& path) override;
  std::error_code rename(const std::string& from, const std::string& to) override;
  std::error_code rename_new(const std::string& from, const std::string& to) override;
  std::error_code remove(const std::string& path) override;
  Io<std::vector<std::string>> list(const std::string& path) override;
  Io<std::unique_ptr<FileLock>> lock(const std::string& path) override;
  Io<std::optional<std::int64_t>> lock_holder(const std::string& path) override;
  Io<Volume> volume(const std::string& path) override;

 private:
  friend class FakeFile;
  friend class FakeLock;

  struct Node {
    std::uint64_t inode = 0;
    std::string path;
    std::string seen;
    std::string on_disk;
    std::set<std::size_t> dirty;  // sectors
  };
  using NodePtr = std::shared_ptr<Node>;
  struct Directory {
    std::map<std::string, NodePtr> seen;  // null: a directory
    std::map<std::string, NodePtr> on_disk;
    std::vector<std::function<void(std::map<std::string, NodePtr>&)>> changes;  // since the last sync, in their order
  };
  enum class Fate { well, failing, dead };

  Fate next_call();
  std::optional<std::error_code> refusal(Fate fate) const;
  void change(const std::string& directory, std::function<void(std::map<std::string, NodePtr>&)> how);
  Directory* directory_of(const std::string& path);
  NodePtr find(const std::string& path) const;
  std::uint64_t used_locked() const;
  void end_of_processes();
  bool coin() { return (random_() & 1) != 0; }

  mutable std::mutex mutex_;
  std::mt19937_64 random_;
  std::map<std::string, Directory> directories_;
  std::set<std::string> locks_;
  std::uint64_t epoch_ = 0;
  std::uint64_t next_inode_ = 100;
  std::uint64_t calls_ = 0;
  std::uint64_t syncs_ = 0;
  std::uint64_t fail_at_ = 0;
  std::uint64_t die_at_ = 0;
  std::errc failure_ = std::errc::io_error;
  std::optional<std::uint64_t> capacity_;
  std::optional<std::errc> refuse_changes_;
  std::optional<std::errc> refuse_removals_;
  std::optional<std::errc> refuse_next_write_;
  Volume volume_{"fake", false};
  std::function<void(const std::string&)> sync_hook_;
  std::function<void()> read_hook_;
};

}  // namespace assent::test
