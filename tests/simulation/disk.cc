#include "assent/tests/simulation/disk.h"

#include <utility>

#include "assent/recovery/log_view.h"
#include "assent/xa/error.h"

namespace assent::simulation {

/// In the process: a number. The file itself is the world's, and is closed when the process dies.
class SeenFile final : public File {
 public:
  SeenFile(Disk& disk, std::uint64_t handle) : disk_(disk), handle_(handle) {}
  ~SeenFile() override {
    const InTheWorld world;
    disk_.open_.erase(handle_);
  }

  Written write(std::uint64_t offset, std::string_view bytes) override {
    disk_.pass_time();
    const InTheWorld world;
    return file().write(offset, bytes);
  }
  Io<std::string> read(std::uint64_t offset, std::size_t size) override {
    disk_.pass_time();
    Io<std::string> mine;
    {
      const InTheWorld world;
      theirs_ = file().read(offset, size);
    }
    mine.value.assign(theirs_.value.data(), theirs_.value.size());
    mine.error = theirs_.error;
    const InTheWorld world;
    theirs_ = {};
    return mine;
  }
  std::error_code sync_data() override {
    disk_.pass_time(true);
    std::error_code error;
    {
      const InTheWorld world;
      error = file().sync_data();
    }
    disk_.pass_time();
    return error;
  }
  std::error_code reserve(std::uint64_t size) override {
    const InTheWorld world;
    return file().reserve(size);
  }
  Io<std::uint64_t> size() override {
    const InTheWorld world;
    return file().size();
  }
  Io<FileIdentity> identity() override {
    Io<FileIdentity> mine;
    const InTheWorld world;
    return file().identity();
  }

 private:
  File& file() { return *disk_.open_.at(handle_).file; }

  Disk& disk_;
  const std::uint64_t handle_;
  Io<std::string> theirs_;
};

class SeenLock final : public FileLock {
 public:
  SeenLock(Disk& disk, std::string path) : disk_(disk), path_(std::move(path)) {}
  ~SeenLock() override {
    const InTheWorld world;
    disk_.held_.erase(path_);
  }

 private:
  Disk& disk_;
  const std::string path_;
};

class SeenFiles final : public FileSystem {
 public:
  explicit SeenFiles(Disk& disk) : disk_(disk) {}

  Io<std::unique_ptr<File>> open(const std::string& path, Open how) override {
    disk_.pass_time();
    std::uint64_t handle = 0;
    {
      const InTheWorld world;
      auto file = disk_.under_.open(path, how);
      if (!file) return {nullptr, file.error};
      if (how == Open::create_new) disk_.paths_.insert(path);
      handle = disk_.next_handle_++;
      disk_.open_.emplace(handle, Disk::Open{&disk_.scheduler_.process(), std::move(file.value)});
    }
    return {std::make_unique<SeenFile>(disk_, handle), {}};
  }
  std::error_code make_directory(const std::string& path) override {
    disk_.pass_time();
    const InTheWorld world;
    disk_.paths_.insert(path + '/');
    return disk_.under_.make_directory(path);
  }
  std::error_code sync_directory(const std::string& path) override {
    disk_.pass_time(true);
    const InTheWorld world;
    return disk_.under_.sync_directory(path);
  }
  std::error_code rename(const std::string& from, const std::string& to) override {
    disk_.pass_time();
    const InTheWorld world;
    disk_.paths_.insert(to);
    return disk_.under_.rename(from, to);
  }
  std::error_code rename_new(const std::string& from, const std::string& to) override {
    disk_.pass_time();
    const InTheWorld world;
    disk_.paths_.insert(to);
    return disk_.under_.rename_new(from, to);
  }
  std::error_code remove(const std::string& path) override {
    disk_.pass_time();
    const InTheWorld world;
    return disk_.under_.remove(path);
  }
  Io<std::vector<std::string>> list(const std::string& path) override {
    disk_.pass_time();
    Io<std::vector<std::string>> mine;
    {
      const InTheWorld world;
      list_ = disk_.under_.list(path);
    }
    mine.error = list_.error;
    for (const std::string& each : list_.value) mine.value.emplace_back(each.data(), each.size());
    return mine;
  }
  Io<std::unique_ptr<FileLock>> lock(const std::string& path) override {
    disk_.pass_time();
    {
      const InTheWorld world;
      auto lock = disk_.under_.lock(path);
      if (!lock || lock.value == nullptr) return {nullptr, lock.error};
      disk_.paths_.insert(path);
      disk_.held_.insert_or_assign(path, Disk::Held{&disk_.scheduler_.process(), std::move(lock.value)});
    }
    return {std::make_unique<SeenLock>(disk_, path), {}};
  }
  Io<std::optional<std::int64_t>> lock_holder(const std::string& path) override {
    disk_.pass_time();
    const auto held = disk_.held_.find(path);
    if (held == disk_.held_.end()) return {};
    return {held->second.process->pid(), {}};
  }
  Io<Volume> volume(const std::string&) override { return {{"simulated", false}, {}}; }

 private:
  Disk& disk_;
  Io<std::vector<std::string>> list_;  // the world's
};

Disk::Disk(Scheduler& scheduler, std::uint64_t seed)
    : scheduler_(scheduler), under_(seed), seen_(std::make_unique<SeenFiles>(*this)) {}

FileSystem& Disk::files() {
  return *seen_;
}

void Disk::pass_time(bool sync) {
  const Time usual = sync ? scheduler_.dice().between(50us, 2ms) : scheduler_.dice().between(1us, 20us);
  scheduler_.sleep(usual + slow_);
}

void Disk::forget(const Process& process) {
  std::erase_if(open_, [&](const auto& each) { return each.second.process == &process; });
  std::erase_if(held_, [&](const auto& each) { return each.second.process == &process; });
}

void Disk::lose_power() {
  open_.clear();
  held_.clear();
  under_.crash();
}

void Disk::fail_soon(std::uint64_t within) {
  under_.fail_call(1 + scheduler_.dice().below(within),
                   scheduler_.dice().happens(300) ? std::errc::no_space_on_device : std::errc::io_error);
}

void Disk::stop_failing() {
  under_.fail_call(0);  // a call that was already
}

void Disk::fill() {
  under_.set_capacity(under_.used());
}

void Disk::empty() {
  under_.set_capacity(std::nullopt);
}

void Disk::slow_down(Time each) {
  slow_ = each;
}

bool Disk::holds_decision(const TransactionId& id) const {
  // As the log writes it (docs/log_format.md): incarnation and number, the low byte first.
  std::string bytes;
  for (const std::uint64_t number : {static_cast<std::uint64_t>(id.incarnation), id.sequence}) {
    for (int shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(number >> shift & 0xFF);
  }
  if (under_.on_disk(bytes)) return true;
  // Or it lies across the border of two blocks: then the reader must find it.
  test::FakeFileSystem left;
  std::set<std::string> slots;
  for (const auto& [path, contents] : under_.durable()) {
    for (std::size_t slash = path.find('/'); slash != std::string::npos; slash = path.find('/', slash + 1)) {
      static_cast<void>(left.make_directory(path.substr(0, slash)));
    }
    left.set_contents(path, contents);
    if (path.find("slot-") != std::string::npos) slots.insert(path.substr(0, path.rfind('/')));
  }
  for (const std::string& slot : slots) {
    try {
      if (LogView::read(left, slot)->find(id)) return true;
    } catch (const Error&) {
      continue;  // a slot without a log yet
    }
  }
  return false;
}

void Disk::restore(const Copy& copy) {
  for (const std::string& path : paths_) {
    if (!path.ends_with('/') && !copy.contains(path)) static_cast<void>(under_.remove(path));
  }
  for (const auto& [path, bytes] : copy) {
    if (under_.make_directory(path.substr(0, path.rfind('/'))) == std::error_code{}) {
    }
    under_.set_contents(path, bytes);
  }
  for (const std::string& path : paths_) {
    if (path.ends_with('/')) static_cast<void>(under_.sync_directory(path.substr(0, path.size() - 1)));
  }
  under_.move_everything();
}

}  // namespace assent::simulation
