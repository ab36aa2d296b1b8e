#include "assent/tests/support/fake_file_system.h"

#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace assent::test {
namespace {

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "" : path.substr(0, slash);
}

std::string name_of(const std::string& path) {
  return path.substr(path.rfind('/') + 1);
}

std::error_code error_of(std::errc error) {
  return std::make_error_code(error);
}

void copy_sector(const std::string& from, std::string& to, std::size_t number) {
  const std::size_t at = number * FakeFileSystem::sector;
  if (at >= from.size()) return;
  const std::size_t count = std::min(FakeFileSystem::sector, from.size() - at);
  if (to.size() < at + count) to.resize(at + count, '\0');
  to.replace(at, count, from, at, count);
}

}  // namespace

class FakeFile final : public File {
 public:
  FakeFile(FakeFileSystem& disk, FakeFileSystem::NodePtr node)
      : disk_(disk), node_(std::move(node)), epoch_(disk.epoch_) {}

  Written write(std::uint64_t offset, std::string_view bytes) override {
    const std::lock_guard lock(disk_.mutex_);
    const auto fate = disk_.next_call();
    if (epoch_ != disk_.epoch_) return {0, error_of(std::errc::io_error)};
    if (disk_.refuse_next_write_) return {0, error_of(*std::exchange(disk_.refuse_next_write_, std::nullopt))};
    if (disk_.refuse_changes_) return {0, error_of(*disk_.refuse_changes_)};
    std::size_t count = bytes.size();
    std::error_code error;
    if (fate == FakeFileSystem::Fate::dead) return {0, error_of(std::errc::io_error)};
    if (fate == FakeFileSystem::Fate::failing) {
      count = bytes.size() / 2;
      error = error_of(disk_.failure_);
    }
    const std::uint64_t grows = offset + count > node_->seen.size() ? offset + count - node_->seen.size() : 0;
    if (disk_.capacity_ && grows > 0 && disk_.used_locked() + grows > *disk_.capacity_) {
      const std::uint64_t room = *disk_.capacity_ - std::min(*disk_.capacity_, disk_.used_locked());
      count -= static_cast<std::size_t>(std::min<std::uint64_t>(count, grows - room));
      error = error_of(std::errc::no_space_on_device);
    }
    if (count > 0) {
      if (node_->seen.size() < offset + count) node_->seen.resize(offset + count, '\0');
      node_->seen.replace(offset, count, bytes.substr(0, count));
      const std::size_t last = (offset + count - 1) / FakeFileSystem::sector;
      for (std::size_t i = offset / FakeFileSystem::sector; i <= last; ++i) node_->dirty.insert(i);
    }
    return {count, error};
  }

  Io<std::string> read(std::uint64_t offset, std::size_t size) override {
    std::function<void()> hook;
    {
      const std::lock_guard lock(disk_.mutex_);
      hook = disk_.read_hook_;
    }
    if (hook) hook();
    const std::lock_guard lock(disk_.mutex_);
    if (const auto error = disk_.refusal(disk_.next_call())) return {{}, *error};
    if (epoch_ != disk_.epoch_) return {{}, error_of(std::errc::io_error)};
    if (offset >= node_->seen.size()) return {};
    return {node_->seen.substr(offset, size), {}};
  }

  std::error_code sync_data() override {
    std::function<void(const std::string&)> hook;
    {
      const std::lock_guard lock(disk_.mutex_);
      hook = disk_.sync_hook_;
    }
    if (hook) hook(node_->path);
    const std::lock_guard lock(disk_.mutex_);
    const auto fate = disk_.next_call();
    if (epoch_ != disk_.epoch_ || fate == FakeFileSystem::Fate::dead) return error_of(std::errc::io_error);
    const bool fails = fate == FakeFileSystem::Fate::failing;
    node_->on_disk.reserve(node_->seen.size());
    for (const std::size_t number : node_->dirty) {
      if (!fails || disk_.coin()) copy_sector(node_->seen, node_->on_disk, number);
    }
    node_->dirty.clear();
    if (fails) return error_of(disk_.failure_);
    node_->on_disk.resize(node_->seen.size(), '\0');
    ++disk_.syncs_;
    return {};
  }

  std::error_code reserve(std::uint64_t size) override {
    const std::lock_guard lock(disk_.mutex_);
    if (const auto error = disk_.refusal(disk_.next_call())) return *error;
    if (disk_.capacity_ && size > node_->seen.size() &&
        disk_.used_locked() + size - node_->seen.size() > *disk_.capacity_) {
      return error_of(std::errc::no_space_on_device);
    }
    return {};
  }

  Io<std::uint64_t> size() override {
    const std::lock_guard lock(disk_.mutex_);
    if (const auto error = disk_.refusal(disk_.next_call())) return {0, *error};
    return {node_->seen.size(), {}};
  }

  Io<FileIdentity> identity() override {
    const std::lock_guard lock(disk_.mutex_);
    if (const auto error = disk_.refusal(disk_.next_call())) return {{}, *error};
    return {{"fake", 7, node_->inode, static_cast<std::int64_t>(node_->inode) * 1000}, {}};
  }

 private:
  FakeFileSystem& disk_;
  FakeFileSystem::NodePtr node_;
  std::uint64_t epoch_;
};

class FakeLock final : public FileLock {
 public:
  FakeLock(FakeFileSystem& disk, std::string path) : disk_(disk), path_(std::move(path)), epoch_(disk.epoch_) {}
  ~FakeLock() override {
    const std::lock_guard lock(disk_.mutex_);
    if (epoch_ == disk_.epoch_) disk_.locks_.erase(path_);
  }

 private:
  FakeFileSystem& disk_;
  std::string path_;
  std::uint64_t epoch_;
};

FakeFileSystem::FakeFileSystem(std::uint64_t seed) : random_(seed) {
  directories_[""];
}

FakeFileSystem::~FakeFileSystem() = default;

FakeFileSystem::Fate FakeFileSystem::next_call() {
  ++calls_;
  if (die_at_ != 0 && calls_ > die_at_) return Fate::dead;
  if (die_at_ != 0 && calls_ == die_at_) return coin() ? Fate::failing : Fate::dead;
  return calls_ == fail_at_ ? Fate::failing : Fate::well;
}

std::optional<std::error_code> FakeFileSystem::refusal(Fate fate) const {
  if (fate == Fate::well) return std::nullopt;
  return error_of(failure_);
}

void FakeFileSystem::end_of_processes() {
  ++epoch_;
  locks_.clear();
  fail_at_ = die_at_ = 0;
  failure_ = std::errc::io_error;
}

void FakeFileSystem::kill() {
  const std::lock_guard lock(mutex_);
  end_of_processes();
}

void FakeFileSystem::crash() {
  const std::lock_guard lock(mutex_);
  end_of_processes();
  std::set<NodePtr> nodes;
  for (auto& [path, directory] : directories_) {
    const std::size_t kept = directory.changes.empty() ? 0 : random_() % (directory.changes.size() + 1);
    for (std::size_t i = 0; i < kept; ++i) directory.changes[i](directory.on_disk);
    directory.changes.clear();
    directory.seen = directory.on_disk;
    for (const auto& [name, node] : directory.seen) {
      if (node != nullptr) nodes.insert(node);
    }
  }
  for (const NodePtr& node : nodes) {
    for (const std::size_t number : node->dirty) {
      if (coin()) copy_sector(node->seen, node->on_disk, number);
    }
    node->dirty.clear();
    node->seen = node->on_disk;
  }
  // A directory whose name did not come to the disk is gone with all in it.
  std::erase_if(directories_, [this](const auto& entry) {
    if (entry.first.empty()) return false;
    const auto parent = directories_.find(parent_of(entry.first));
    return parent == directories_.end() || !parent->second.seen.contains(name_of(entry.first));
  });
}

void FakeFileSystem::fail_call(std::uint64_t number, std::errc error) {
  const std::lock_guard lock(mutex_);
  fail_at_ = calls_ + number;
  failure_ = error;
}

void FakeFileSystem::die_at_call(std::uint64_t number) {
  const std::lock_guard lock(mutex_);
  die_at_ = calls_ + number;
}

std::uint64_t FakeFileSystem::calls() const {
  const std::lock_guard lock(mutex_);
  return calls_;
}

bool FakeFileSystem::failed() const {
  const std::lock_guard lock(mutex_);
  const std::uint64_t at = std::max(fail_at_, die_at_);
  return at != 0 && calls_ >= at;
}

void FakeFileSystem::set_capacity(std::optional<std::uint64_t> bytes) {
  const std::lock_guard lock(mutex_);
  capacity_ = bytes;
}

void FakeFileSystem::refuse_changes(std::optional<std::errc> error) {
  const std::lock_guard lock(mutex_);
  refuse_changes_ = error;
}

void FakeFileSystem::refuse_removals(std::optional<std::errc> error) {
  const std::lock_guard lock(mutex_);
  refuse_removals_ = error;
}

void FakeFileSystem::refuse_next_write(std::errc error) {
  const std::lock_guard lock(mutex_);
  refuse_next_write_ = error;
}

void FakeFileSystem::set_volume(Volume volume) {
  const std::lock_guard lock(mutex_);
  volume_ = std::move(volume);
}

void FakeFileSystem::on_sync(std::function<void(const std::string&)> hook) {
  const std::lock_guard lock(mutex_);
  sync_hook_ = std::move(hook);
}

void FakeFileSystem::on_read(std::function<void()> hook) {
  const std::lock_guard lock(mutex_);
  read_hook_ = std::move(hook);
}

void FakeFileSystem::move_everything() {
  const std::lock_guard lock(mutex_);
  for (auto& [path, directory] : directories_) {
    for (auto& [name, node] : directory.seen) {
      if (node != nullptr) node->inode = next_inode_++;
    }
  }
}

std::string FakeFileSystem::contents(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  const NodePtr node = find(path);
  if (node == nullptr) throw std::runtime_error("no file " + path);
  return node->seen;
}

void FakeFileSystem::set_contents(const std::string& path, std::string bytes) {
  const std::lock_guard lock(mutex_);
  Directory* directory = directory_of(path);
  if (directory == nullptr) throw std::runtime_error("no directory for " + path);
  NodePtr node = find(path);
  if (node == nullptr) {
    node = std::make_shared<Node>();
    node->inode = next_inode_++;
    node->path = path;
    directory->seen[name_of(path)] = node;
    directory->on_disk[name_of(path)] = node;
  }
  node->seen = node->on_disk = std::move(bytes);
  node->dirty.clear();
}

void FakeFileSystem::flip_bit(const std::string& path, std::uint64_t byte, int bit) {
  const std::lock_guard lock(mutex_);
  const NodePtr node = find(path);
  if (node == nullptr) throw std::runtime_error("no file " + path);
  for (std::string* bytes : {&node->seen, &node->on_disk}) {
    bytes->at(byte) = static_cast<char>(bytes->at(byte) ^ (1 << bit));
  }
}

bool FakeFileSystem::on_disk(std::string_view bytes) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [path, directory] : directories_) {
    for (const auto& [name, node] : directory.on_disk) {
      if (node != nullptr && node->on_disk.find(bytes) != std::string::npos) return true;
    }
  }
  return false;
}

std::map<std::string, std::string> FakeFileSystem::durable() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::string> out;
  for (const auto& [path, directory] : directories_) {
    for (const auto& [name, node] : directory.on_disk) {
      if (node == nullptr) continue;
      std::string whole = path;
      if (!whole.empty()) whole += '/';
      whole += name;
      out.emplace(std::move(whole), node->on_disk);
    }
  }
  return out;
}

std::uint64_t FakeFileSystem::used_locked() const {
  std::uint64_t sum = 0;
  for (const auto& [path, directory] : directories_) {
    for (const auto& [name, node] : directory.seen) sum += node == nullptr ? 0 : node->seen.size();
  }
  return sum;
}

std::uint64_t FakeFileSystem::used() const {
  const std::lock_guard lock(mutex_);
  return used_locked();
}

std::uint64_t FakeFileSystem::syncs() const {
  const std::lock_guard lock(mutex_);
  return syncs_;
}

FakeFileSystem::Directory* FakeFileSystem::directory_of(const std::string& path) {
  const auto found = directories_.find(parent_of(path));
  return found == directories_.end() ? nullptr : &found->second;
}

FakeFileSystem::NodePtr FakeFileSystem::find(const std::string& path) const {
  const auto directory = directories_.find(parent_of(path));
  if (directory == directories_.end()) return nullptr;
  const auto entry = directory->second.seen.find(name_of(path));
  return entry == directory->second.seen.end() ? nullptr : entry->second;
}

void FakeFileSystem::change(const std::string& directory, std::function<void(std::map<std::string, NodePtr>&)> how) {
  Directory& where = directories_.at(directory);
  how(where.seen);
  where.changes.push_back(std::move(how));
}

Io<std::unique_ptr<File>> FakeFileSystem::open(const std::string& path, Open how) {
  const std::lock_guard lock(mutex_);
  if (const auto error = refusal(next_call())) return {nullptr, *error};
  NodePtr node = find(path);
  if (how == Open::read) {
    if (node == nullptr) return {nullptr, error_of(std::errc::no_such_file_or_directory)};
    return {std::make_unique<FakeFile>(*this, std::move(node)), {}};
  }
  if (refuse_changes_) return {nullptr, error_of(*refuse_changes_)};
  if (node != nullptr) return {nullptr, error_of(std::errc::file_exists)};
  if (directory_of(path) == nullptr) return {nullptr, error_of(std::errc::no_such_file_or_directory)};
  node = std::make_shared<Node>();
  node->inode = next_inode_++;
  node->path = path;
  change(parent_of(path), [name = name_of(path), node](auto& entries) { entries[name] = node; });
  return {std::make_unique<FakeFile>(*this, std::move(node)), {}};
}

std::error_code FakeFileSystem::make_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const auto error = refusal(next_call())) return *error;
  if (directories_.contains(path)) return error_of(std::errc::file_exists);
  if (directory_of(path) == nullptr) return error_of(std::errc::no_such_file_or_directory);
  if (refuse_changes_) return error_of(*refuse_changes_);
  directories_[path];
  change(parent_of(path), [name = name_of(path)](auto& entries) { entries[name] = nullptr; });
  return {};
}

std::error_code FakeFileSystem::sync_directory(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const auto error = refusal(next_call())) return *error;
  const auto found = directories_.find(path == "." ? "" : path);
  if (found == directories_.end()) return error_of(std::errc::no_such_file_or_directory);
  found->second.on_disk = found->second.seen;
  found->second.changes.clear();
  return {};
}

std::error_code FakeFileSystem::rename(const std::string& from, const std::string& to) {
  const std::lock_guard lock(mutex_);
  const Fate fate = next_call();
  if (fate == Fate::dead) return error_of(std::errc::io_error);
  if (refuse_changes_) return error_of(*refuse_changes_);
  const NodePtr node = find(from);
  if (node == nullptr) return error_of(std::errc::no_such_file_or_directory);
  if (parent_of(from) != parent_of(to)) return error_of(std::errc::cross_device_link);
  // A rename that answers an error may have been done all the same.
  if (fate == Fate::well || coin()) {
    change(parent_of(to), [gone = name_of(from), name = name_of(to), node](auto& entries) {
      entries.erase(gone);
      entries[name] = node;
    });
    node->path = to;
  }
  return fate == Fate::well ? std::error_code{} : error_of(failure_);
}

std::error_code FakeFileSystem::rename_new(const std::string& from, const std::string& to) {
  {
    const std::lock_guard lock(mutex_);
    if (find(to) != nullptr) return error_of(std::errc::file_exists);
  }
  return rename(from, to);
}

std::error_code FakeFileSystem::remove(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const auto error = refusal(next_call())) return *error;
  if (refuse_changes_) return error_of(*refuse_changes_);
  if (refuse_removals_) return error_of(*refuse_removals_);
  if (find(path) == nullptr) return error_of(std::errc::no_such_file_or_directory);
  change(parent_of(path), [name = name_of(path)](auto& entries) { entries.erase(name); });
  return {};
}

Io<std::vector<std::string>> FakeFileSystem::list(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const auto error = refusal(next_call())) return {{}, *error};
  const auto found = directories_.find(path);
  if (found == directories_.end()) return {{}, error_of(std::errc::no_such_file_or_directory)};
  Io<std::vector<std::string>> out;
  for (const auto& [name, node] : found->second.seen) out.value.push_back(name);
  return out;
}

Io<std::unique_ptr<FileLock>> FakeFileSystem::lock(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const auto error = refusal(next_call())) return {nullptr, *error};
  if (directory_of(path) == nullptr) return {nullptr, error_of(std::errc::no_such_file_or_directory)};
  if (locks_.contains(path)) return {};
  if (find(path) == nullptr) {
    if (refuse_changes_) return {nullptr, error_of(*refuse_changes_)};
    auto node = std::make_shared<Node>();
    node->inode = next_inode_++;
    node->path = path;
    change(parent_of(path), [name = name_of(path), node](auto& entries) { entries[name] = node; });
  }
  locks_.insert(path);
  return {std::make_unique<FakeLock>(*this, path), {}};
}

Io<std::optional<std::int64_t>> FakeFileSystem::lock_holder(const std::string& path) {
  const std::lock_guard lock(mutex_);
  if (const auto error = refusal(next_call())) return {std::nullopt, *error};
  if (!locks_.contains(path)) return {};
  return {::getpid(), {}};
}

Io<Volume> FakeFileSystem::volume(const std::string&) {
  const std::lock_guard lock(mutex_);
  if (const auto error = refusal(next_call())) return {{}, *error};
  return {volume_, {}};
}

}  // namespace assent::test
