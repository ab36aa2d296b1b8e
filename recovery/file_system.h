#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace assent {

/// A value, or the system's error. `value` is meaningful only without an error.
template <class T>
struct Io {
  T value{};
  std::error_code error;

  explicit operator bool() const { return !error; }
};

/// The disk, or what its user may have of it, is full. Of an error of a FileSystem.
inline bool is_out_of_room(std::error_code error) {
  return error.value() == ENOSPC || error.value() == EDQUOT;
}

/// Where a file is, as far as the system tells: another machine, disk or inode, or another birth of the same inode
/// number, is another file, whatever its name and contents (rule 2).
struct FileIdentity {
  std::string machine;  ///< the machine id (machine-id(5)), 32 hex digits, or empty where there is none
  std::uint64_t device = 0;
  std::uint64_t inode = 0;
  std::int64_t born_ns = 0;  ///< Unix time; 0 where the file system does not keep it

  bool operator==(const FileIdentity&) const = default;
};

/// What a path lies on.
struct Volume {
  std::string type;     ///< "ext4", "nfs", …; for people
  bool remote = false;  ///< another machine may write it, or serves it: locks and syncs cannot be relied on
};

/// An open file. One thread at a time. Closed by destruction.
class File {
 public:
  virtual ~File() = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  struct Written {
    std::size_t bytes = 0;  ///< how many may have come to the file before the error; 0: it is as it was
    std::error_code error;
  };
  /// All of `bytes` in one system call where the system takes them; less than all only with an error.
  virtual Written write(std::uint64_t offset, std::string_view bytes) = 0;
  /// From now on writes go past the system's cache, where the system can do that and they are whole sectors at a
  /// sector's place: a sync has less to do then. Others go through it as before.
  virtual void bypass_cache() {}
  /// Up to `size` bytes; fewer only at the end of the file.
  virtual Io<std::string> read(std::uint64_t offset, std::size_t size) = 0;
  /// fdatasync: contents and size are on disk when it answers no error. After an error nothing is known.
  virtual std::error_code sync_data() = 0;
  /// Reserves room for `size` bytes, or says at once that there is none. May do nothing; proves nothing.
  virtual std::error_code reserve(std::uint64_t size) = 0;
  virtual Io<std::uint64_t> size() = 0;
  virtual Io<FileIdentity> identity() = 0;

 protected:
  File() = default;
};

/// A lock that its process holds until destruction or death. Not inherited by fork.
class FileLock {
 public:
  virtual ~FileLock() = default;
  FileLock(const FileLock&) = delete;
  FileLock& operator=(const FileLock&) = delete;

 protected:
  FileLock() = default;
};

/// The one seam for all access to files, so that tests can lose unsynced writes, tear them, flip bits, fail the Nth
/// call and fill the disk. Thread-safe. Answers, never throws (but for lack of memory).
class FileSystem {
 public:
  enum class Open {
    read,        ///< must exist
    create_new,  ///< must not exist; for reading and writing, by its owner only
  };

  virtual ~FileSystem() = default;
  FileSystem(const FileSystem&) = delete;
  FileSystem& operator=(const FileSystem&) = delete;

  virtual Io<std::unique_ptr<File>> open(const std::string& path, Open how) = 0;
  virtual std::error_code make_directory(const std::string& path) = 0;
  /// Names made, changed or removed in a directory are durable only after this.
  virtual std::error_code sync_directory(const std::string& path) = 0;
  virtual std::error_code rename(const std::string& from, const std::string& to) = 0;
  /// As rename(), but file_exists when `to` is there already; atomically.
  virtual std::error_code rename_new(const std::string& from, const std::string& to) = 0;
  virtual std::error_code remove(const std::string& path) = 0;
  /// Names in a directory, sorted, without "." and "..".
  virtual Io<std::vector<std::string>> list(const std::string& path) = 0;

  /// Locks a file, making it where it is missing. Nothing when somebody holds it, this process included.
  virtual Io<std::unique_ptr<FileLock>> lock(const std::string& path) = 0;
  /// The process that holds the lock; 0 when the system cannot name it (another container). Nothing: nobody.
  virtual Io<std::optional<std::int64_t>> lock_holder(const std::string& path) = 0;

  virtual Io<Volume> volume(const std::string& path) = 0;

  /// The system's own. Files get mode 0600, directories 0700; descriptors are close-on-exec.
  static FileSystem& real();

 protected:
  FileSystem() = default;
};

}  // namespace assent
