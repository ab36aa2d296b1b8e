#include "assent/recovery/file_system.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <mutex>
#include <set>
#include <sstream>

#include "assent/xa/fork_guard.h"

namespace assent {
namespace {

std::error_code last_error() {
  return {errno, std::system_category()};
}

template <class Call>
auto without_interruption(Call call) {
  auto result = call();
  while (result == -1 && errno == EINTR) result = call();
  return result;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }

 private:
  int fd_;
};

Descriptor open_path(const std::string& path, int flags, mode_t mode = 0) {
  return Descriptor(without_interruption([&] { return ::open(path.c_str(), flags | O_CLOEXEC, mode); }));
}

std::string machine_id() {
  for (const char* path : {"/etc/machine-id", "/var/lib/dbus/machine-id"}) {
    std::ifstream file(path);
    std::string id(32, '\0');
    if (file.read(id.data(), 32)) return id;
  }
  return {};
}

class RealFile final : public File {
 public:
  explicit RealFile(Descriptor fd) : fd_(std::move(fd)) {}

  Written write(std::uint64_t offset, std::string_view bytes) override {
    if (!direct_) return write_all(offset, bytes);
    Written written = write_all(offset, aligned(bytes));
    if (!written.error) return written;
    if (written.bytes == 0 && written.error == std::errc::invalid_argument) {
      // Not on this file system, or not so small a part: that is looked at before anything is written.
      use_direct(false);
      return write_all(offset, bytes);
    }
    // What the disk itself answers does not say what is on it.
    if (!is_out_of_room(written.error)) written.bytes = bytes.size();
    return written;
  }

  void bypass_cache() override { use_direct(true); }

  Io<std::string> read(std::uint64_t offset, std::size_t size) override {
    const bool direct = direct_;
    if (direct) use_direct(false);
    auto out = read_all(offset, size);
    if (direct) use_direct(true);
    return out;
  }

  std::error_code sync_data() override {
    // Never repeated, not even after EINTR: a second answer would speak of what is left, not of what was lost.
    return ::fdatasync(fd_.get()) == 0 ? std::error_code{} : last_error();
  }

  std::error_code reserve(std::uint64_t size) override {
    if (without_interruption([&] { return ::fallocate(fd_.get(), 0, 0, static_cast<off_t>(size)); }) == 0) return {};
    return errno == EOPNOTSUPP ? std::error_code{} : last_error();
  }

  Io<std::uint64_t> size() override {
    struct stat status {};
    if (::fstat(fd_.get(), &status) != 0) return {0, last_error()};
    return {static_cast<std::uint64_t>(status.st_size), {}};
  }

  Io<FileIdentity> identity() override {
    struct statx status {};
    if (::statx(fd_.get(), "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &status) != 0) return {{}, last_error()};
    FileIdentity identity;
    identity.machine = machine_id();
    identity.device = makedev(status.stx_dev_major, status.stx_dev_minor);
    identity.inode = status.stx_ino;
    if ((status.stx_mask & STATX_BTIME) != 0) {
      identity.born_ns = status.stx_btime.tv_sec * 1'000'000'000 + status.stx_btime.tv_nsec;
    }
    return {std::move(identity), {}};
  }

 private:
  Written write_all(std::uint64_t offset, std::string_view bytes) const {
    std::size_t done = 0;
    while (done < bytes.size()) {
      const ssize_t count = without_interruption([&] {
        return ::pwrite(fd_.get(), bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
      });
      if (count < 0) return {done, last_error()};
      if (count == 0) return {done, std::make_error_code(std::errc::io_error)};
      done += static_cast<std::size_t>(count);
    }
    return {done, {}};
  }

  Io<std::string> read_all(std::uint64_t offset, std::size_t size) const {
    std::string out(size, '\0');
    std::size_t done = 0;
    while (done < size) {
      const ssize_t count = without_interruption(
          [&] { return ::pread(fd_.get(), out.data() + done, size - done, static_cast<off_t>(offset + done)); });
      if (count < 0) return {{}, last_error()};
      if (count == 0) break;
      done += static_cast<std::size_t>(count);
    }
    out.resize(done);
    return {std::move(out), {}};
  }

  void use_direct(bool direct) {
    const int flags = ::fcntl(fd_.get(), F_GETFL);
    direct_ = flags >= 0 && ::fcntl(fd_.get(), F_SETFL, direct ? flags | O_DIRECT : flags & ~O_DIRECT) == 0 && direct;
  }

  /// The same bytes, where a device can take them from.
  std::string_view aligned(std::string_view bytes) {
    if (bytes.size() > room_) {
      room_ = (bytes.size() + page - 1) / page * page;
      buffer_.reset(static_cast<char*>(std::aligned_alloc(page, room_)));
      if (buffer_ == nullptr) throw std::bad_alloc();
    }
    bytes.copy(buffer_.get(), bytes.size());
    return {buffer_.get(), bytes.size()};
  }

  static constexpr std::size_t page = 4096;
  struct Free {
    void operator()(char* memory) const { std::free(memory); }
  };

  Descriptor fd_;
  bool direct_ = false;
  std::unique_ptr<char, Free> buffer_;
  std::size_t room_ = 0;
};

using FileKey = std::pair<dev_t, ino_t>;

/// The locks of this process. POSIX record locks belong to the process: a second lock of the same file in the same
/// process succeeds, and closing any descriptor of the file drops the lock (fcntl(2)). So a locked file is never opened
/// twice: it is looked up here first, under the mutex that every opening of a lock file holds.
struct HeldLocks {
  ForkGuard born_in;
  std::mutex mutex;
  std::set<FileKey> held;
};

HeldLocks& held_locks() {
  // A forked child holds none of its parent's locks, and may have been forked while the mutex was taken: it starts anew
  // and leaks the parent's table.
  static std::atomic<HeldLocks*> table{new HeldLocks};
  HeldLocks* current = table.load();
  if (current->born_in.in_child()) {
    auto* fresh = new HeldLocks;
    if (table.compare_exchange_strong(current, fresh)) return *fresh;
    delete fresh;
  }
  return *current;
}

std::optional<FileKey> key_of(const std::string& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return FileKey{status.st_dev, status.st_ino};
}

class RealLock final : public FileLock {
 public:
  RealLock(Descriptor fd, FileKey key) : fd_(std::in_place, std::move(fd)), key_(key) {}
  ~RealLock() override {
    // In a child closing releases nothing of the parent's, and the table there is another one.
    HeldLocks& locks = held_locks();
    const std::lock_guard guard(locks.mutex);
    fd_.reset();
    if (!born_in_.in_child()) locks.held.erase(key_);
  }

 private:
  ForkGuard born_in_;
  std::optional<Descriptor> fd_;
  FileKey key_;
};

struct flock whole_file() {
  struct flock region {};
  region.l_type = F_WRLCK;
  region.l_whence = SEEK_SET;
  return region;
}

struct KnownVolume {
  unsigned long magic;
  const char* type;
  bool remote;
};

constexpr KnownVolume known_volumes[] = {
    {EXT4_SUPER_MAGIC, "ext4", false},
    {XFS_SUPER_MAGIC, "xfs", false},
    {BTRFS_SUPER_MAGIC, "btrfs", false},
    {TMPFS_MAGIC, "tmpfs", false},
    {OVERLAYFS_SUPER_MAGIC, "overlayfs", false},
    {0x2FC12FC1, "zfs", false},
    {NFS_SUPER_MAGIC, "nfs", true},
    {SMB_SUPER_MAGIC, "smb", true},
    {CIFS_SUPER_MAGIC, "cifs", true},
    {SMB2_SUPER_MAGIC, "smb", true},
    {V9FS_MAGIC, "9p", true},
    {AFS_SUPER_MAGIC, "afs", true},
    {AFS_FS_MAGIC, "afs", true},
    {CODA_SUPER_MAGIC, "coda", true},
    {NCP_SUPER_MAGIC, "ncp", true},
    {CEPH_SUPER_MAGIC, "ceph", true},
    {OCFS2_SUPER_MAGIC, "ocfs2", true},
    {0x01161970, "gfs2", true},
    {0x0BD00BD0, "lustre", true},
    {0x47504653, "gpfs", true},
    {0x19830326, "beegfs", true},
    {0x786F4256, "vboxsf", true},
};

/// The type that mountinfo names for a device (proc(5)): FUSE has one magic number for local disks, sshfs and shares
/// of a virtual machine's host alike.
std::string mounted_type(dev_t device) {
  std::ifstream mounts("/proc/self/mountinfo");
  const std::string wanted = std::to_string(major(device)) + ':' + std::to_string(minor(device));
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream words(line);
    std::string id, parent, number;
    words >> id >> parent >> number;
    const std::size_t dash = line.find(" - ");
    if (number != wanted || dash == std::string::npos) continue;
    return line.substr(dash + 3, line.find(' ', dash + 3) - dash - 3);
  }
  return "fuse";
}

class RealFileSystem final : public FileSystem {
 public:
  Io<std::unique_ptr<File>> open(const std::string& path, Open how) override {
    Descriptor fd =
        how == Open::read ? open_path(path, O_RDONLY) : open_path(path, O_RDWR | O_CREAT | O_EXCL, S_IRUSR | S_IWUSR);
    if (!fd.is_open()) return {nullptr, last_error()};
    return {std::make_unique<RealFile>(std::move(fd)), {}};
  }

  std::error_code make_directory(const std::string& path) override {
    return ::mkdir(path.c_str(), S_IRWXU) == 0 ? std::error_code{} : last_error();
  }

  std::error_code sync_directory(const std::string& path) override {
    const Descriptor fd = open_path(path, O_RDONLY | O_DIRECTORY);
    if (!fd.is_open()) return last_error();
    return ::fsync(fd.get()) == 0 ? std::error_code{} : last_error();
  }

  std::error_code rename(const std::string& from, const std::string& to) override {
    return ::rename(from.c_str(), to.c_str()) == 0 ? std::error_code{} : last_error();
  }

  std::error_code rename_new(const std::string& from, const std::string& to) override {
    // link(2) fails where the name is taken, on every file system; a crash after it leaves both names.
    if (::link(from.c_str(), to.c_str()) != 0) return last_error();
    return remove(from);
  }

  std::error_code remove(const std::string& path) override {
    return ::unlink(path.c_str()) == 0 ? std::error_code{} : last_error();
  }

  Io<std::vector<std::string>> list(const std::string& path) override {
    DIR* directory = ::opendir(path.c_str());
    if (directory == nullptr) return {{}, last_error()};
    Io<std::vector<std::string>> out;
    errno = 0;
    while (const dirent* entry = ::readdir(directory)) {
      const std::string name = entry->d_name;
      if (name != "." && name != "..") out.value.push_back(name);
      errno = 0;
    }
    if (errno != 0) out.error = last_error();
    ::closedir(directory);
    std::sort(out.value.begin(), out.value.end());
    return out;
  }

  Io<std::unique_ptr<FileLock>> lock(const std::string& path) override {
    HeldLocks& locks = held_locks();
    const std::lock_guard guard(locks.mutex);
    if (const auto key = key_of(path); key && locks.held.contains(*key)) return {};
    Descriptor fd = open_path(path, O_RDWR | O_CREAT, S_IRUSR | S_IWUSR);
    if (!fd.is_open()) return {nullptr, last_error()};
    struct stat status {};
    if (::fstat(fd.get(), &status) != 0) return {nullptr, last_error()};
    struct flock region = whole_file();
    if (without_interruption([&] { return ::fcntl(fd.get(), F_SETLK, &region); }) != 0) {
      if (errno == EACCES || errno == EAGAIN) return {};
      return {nullptr, last_error()};
    }
    const FileKey key{status.st_dev, status.st_ino};
    locks.held.insert(key);
    return {std::make_unique<RealLock>(std::move(fd), key), {}};
  }

  Io<std::optional<std::int64_t>> lock_holder(const std::string& path) override {
    HeldLocks& locks = held_locks();
    const std::lock_guard guard(locks.mutex);
    const auto key = key_of(path);
    if (!key) {
      if (errno == ENOENT) return {};
      return {std::nullopt, last_error()};
    }
    if (locks.held.contains(*key)) return {::getpid(), {}};
    const Descriptor fd = open_path(path, O_RDONLY);
    if (!fd.is_open()) return {std::nullopt, last_error()};
    struct flock region = whole_file();
    if (::fcntl(fd.get(), F_GETLK, &region) != 0) return {std::nullopt, last_error()};
    if (region.l_type == F_UNLCK) return {};
    return {std::max<std::int64_t>(region.l_pid, 0), {}};
  }

  Io<Volume> volume(const std::string& path) override {
    struct statfs status {};
    if (without_interruption([&] { return ::statfs(path.c_str(), &status); }) != 0) return {{}, last_error()};
    // f_type is signed and, on some architectures, sign-extended.
    const auto magic = static_cast<unsigned long>(static_cast<std::uint32_t>(status.f_type));
    for (const KnownVolume& known : known_volumes) {
      if (known.magic == magic) return {{known.type, known.remote}, {}};
    }
    if (magic == FUSE_SUPER_MAGIC) {
      struct stat file {};
      if (::stat(path.c_str(), &file) != 0) return {{}, last_error()};
      const std::string type = mounted_type(file.st_dev);
      return {{type, type != "fuseblk"}, {}};
    }
    char number[32];
    std::snprintf(number, sizeof number, "type 0x%lx", magic);
    return {{number, false}, {}};
  }
};

}  // namespace

FileSystem& FileSystem::real() {
  // Never destroyed: exit() does not wait for the threads of a transaction manager that is still open.
  static auto* const files = new RealFileSystem;
  return *files;
}

}  // namespace assent
