#include "assent/tools/assent/disk.h"

#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <system_error>

namespace assent::tool {
namespace {

using Severity = Finding::Severity;

constexpr std::uint64_t mebibyte = 1 << 20;
constexpr std::uint64_t too_little = 64 * mebibyte;  // some segments of a log
constexpr std::uint64_t rather_little = 1024 * mebibyte;
constexpr double faster_than_flash = 2000;
constexpr double slow = 50;
constexpr std::chrono::milliseconds measure_for{500};
constexpr std::size_t probe_blocks = 128;

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int number() const { return number_; }

 private:
  int number_;
};

/// Without a name, or with one that is gone at once: nothing is left behind, whenever we end.
int nameless_file(const std::string& directory) {
  const int number = ::open(directory.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (number >= 0) return number;
  std::string name = directory + "/sync-probe-XXXXXX";
  const int named = ::mkostemp(name.data(), O_CLOEXEC);
  if (named >= 0) ::unlink(name.c_str());
  return named;
}

Finding cannot(const std::string& what) {
  return {Severity::problem, what + ": " + std::generic_category().message(errno),
          "check the directory's permissions and the system's log"};
}

Finding measure_syncs(const std::string& directory) {
  const Descriptor file(nameless_file(directory));
  if (file.number() < 0) return cannot("no file can be made in " + directory);
  const std::array<char, 512> block{};
  for (std::size_t i = 0; i < probe_blocks; ++i) {
    if (::write(file.number(), block.data(), block.size()) != static_cast<ssize_t>(block.size())) {
      return cannot("no file can be written in " + directory);
    }
  }
  if (::fsync(file.number()) != 0) return cannot("a file in " + directory + " cannot be synced");
  using std::chrono::steady_clock;
  const auto begun = steady_clock::now();
  std::size_t syncs = 0;
  for (; steady_clock::now() - begun < measure_for; ++syncs) {
    std::array<char, 512> changed{};
    changed[0] = static_cast<char>(syncs);
    const auto offset = static_cast<off_t>((syncs % probe_blocks) * changed.size());
    if (::pwrite(file.number(), changed.data(), changed.size(), offset) != static_cast<ssize_t>(changed.size()) ||
        ::fdatasync(file.number()) != 0) {
      return cannot("a file in " + directory + " cannot be synced");
    }
  }
  return judge_syncs(static_cast<double>(syncs) / std::chrono::duration<double>(steady_clock::now() - begun).count());
}

}  // namespace

Finding judge_volume(const Volume& volume, const std::string& path) {
  if (volume.remote) {
    return {Severity::problem, path + " lies on a network file system (" + volume.type + ')',
            "name a directory on a local disk: over a network, locks and syncs cannot be relied on"};
  }
  if (volume.type == "tmpfs" || volume.type == "ramfs") {
    return {Severity::problem,
            path + " lies in memory (" + volume.type + "): decisions do not survive a restart of the machine",
            "name a directory on a local disk"};
  }
  return {Severity::good, path + " lies on a local file system (" + volume.type + ')', ""};
}

Finding judge_space(std::uint64_t free_bytes, const std::string& path) {
  const std::string what = std::to_string(free_bytes / mebibyte) + " MiB are free in " + path;
  if (free_bytes < too_little) {
    return {Severity::problem, "only " + what + ": a full disk refuses every new commit (and loses nothing)",
            "make room"};
  }
  if (free_bytes < rather_little) return {Severity::advice, "only " + what, "make room before the disk is full"};
  return {Severity::good, what, ""};
}

Finding judge_syncs(double syncs_a_second) {
  const std::string rate = std::to_string(std::llround(syncs_a_second)) + " syncs a second (fdatasync of one block)";
  if (syncs_a_second > faster_than_flash) {
    return {
        Severity::advice,
        rate +
            ": believable only where the disk, or its controller, has a write cache with a battery or capacitors; "
            "a disk without one that answers so fast does not sync, and loses decisions when the power fails",
        "find out what the disk is; where its cache is not protected, switch it off (hdparm -W 0, nvme set-feature)"};
  }
  if (syncs_a_second < slow) {
    return {Severity::advice, rate + ": slow; each batch of commits waits for one", "move the log to a faster disk"};
  }
  return {Severity::good, rate + ": what a disk that really syncs can do", ""};
}

std::vector<Finding> examine_disk(const std::string& directory) {
  const auto volume = FileSystem::real().volume(directory);
  if (!volume) {
    return {{Severity::problem, directory + " cannot be looked at: " + volume.error.message(),
             "check the path and its permissions"}};
  }
  std::vector<Finding> out{judge_volume(volume.value, directory)};
  struct statvfs room {};
  if (::statvfs(directory.c_str(), &room) == 0) {
    out.push_back(judge_space(std::uint64_t{room.f_bavail} * room.f_frsize, directory));
  }
  out.push_back(measure_syncs(directory));
  return out;
}

}  // namespace assent::tool
