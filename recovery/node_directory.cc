#include "assent/recovery/node_directory.h"

#include <charconv>
#include <cstdio>
#include <string_view>
#include <utility>

#include "assent/recovery/log_reader.h"
#include "assent/xa/error.h"
#include "assent/xa/machine.h"

namespace assent {
namespace {

constexpr std::string_view slot_stem = "slot-";
constexpr int max_slots = 10000;
constexpr std::string_view node_head = "assent node 1\n";
constexpr std::size_t max_node_file = 256;

std::string slot_name(int number) {
  char name[16];
  std::snprintf(name, sizeof name, "slot-%04d", number);
  return name;
}

std::optional<int> slot_number(std::string_view name) {
  if (!name.starts_with(slot_stem)) return std::nullopt;
  name.remove_prefix(slot_stem.size());
  int number = 0;
  const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (error != std::errc{} || end != name.data() + name.size() || name.size() != 4 || number < 0) return std::nullopt;
  return number;
}

[[noreturn]] void refuse(const std::string& what, std::error_code error) {
  std::string hint = "check the path, the disk and the system's log";
  if (error == std::errc::permission_denied || error == std::errc::operation_not_permitted) {
    hint = "give this user the right to read and write there, or name another node directory";
  } else if (error == std::errc::read_only_file_system) {
    hint = "the disk is mounted read-only; mount it for writing, or name another node directory";
  } else if (error == std::errc::no_such_file_or_directory) {
    hint = "make the directory above it first";
  } else if (error == std::errc::no_space_on_device) {
    hint = "make room on the disk";
  }
  throw Error(ErrorCode::environment, what + ": " + error.message(), hint);
}

class HeldSlot final : public Slot {
 public:
  HeldSlot(int number, std::unique_ptr<FileLock> lock, std::unique_ptr<DecisionLog> log)
      : number_(number), lock_(std::move(lock)), log_(std::move(log)) {}

  int number() const override { return number_; }
  DecisionLog& log() override { return *log_; }

 private:
  int number_;
  std::unique_ptr<FileLock> lock_;  // before the log: released after the log is closed
  std::unique_ptr<DecisionLog> log_;
};

class LocalNodeDirectory final : public NodeDirectory {
 public:
  LocalNodeDirectory(FileSystem& files, std::string path, std::string node, LogOptions options)
      : files_(files), path_(std::move(path)), node_(std::move(node)), options_(std::move(options)) {}

  void establish();

  const std::string& path() const override { return path_; }
  const std::string& node() const override { return node_; }
  std::unique_ptr<Slot> claim(const Fits& fits) override;
  std::vector<SlotState> slots() const override;
  std::unique_ptr<Slot> adopt(int number) override;

 private:
  std::string slot_path(int number) const { return path_ + '/' + slot_name(number); }
  std::string node_path() const { return path_ + "/node"; }
  std::optional<std::string> read_node() const;
  void write_node();
  std::unique_ptr<Slot> take(int number);

  FileSystem& files_;
  const std::string path_;
  const std::string node_;
  const LogOptions options_;
};

void LocalNodeDirectory::establish() {
  const auto made = files_.make_directory(path_);
  if (made && made != std::errc::file_exists) refuse("cannot make the node directory " + path_, made);
  // Also when somebody else made it, who may have died before this. Whoever could not have made it need not be able to
  // read the directory above.
  const std::size_t slash = path_.rfind('/');
  const std::string above = slash == std::string::npos ? "." : slash == 0 ? "/" : path_.substr(0, slash);
  const auto synced = files_.sync_directory(above);
  if (synced && !(made && synced == std::errc::permission_denied)) refuse("cannot sync " + above, synced);
  const auto volume = files_.volume(path_);
  if (!volume) refuse("cannot look at the node directory " + path_, volume.error);
  if (volume.value.remote) {
    throw Error(ErrorCode::log_foreign,
                "the node directory " + path_ + " lies on a network file system (" + volume.value.type + ')',
                "its locks and syncs cannot be relied on; name a directory on a local disk");
  }
  auto known = read_node();
  if (!known) {
    write_node();
    known = read_node();
  }
  if (!known) refuse("cannot read " + node_path(), std::make_error_code(std::errc::no_such_file_or_directory));
  const std::string_view content = *known;
  if (!content.starts_with(node_head) || !content.ends_with('\n')) {
    throw Error(ErrorCode::log_foreign, node_path() + " is not a node file that this version of Assent can read",
                "name another node directory, or use the version that made this one");
  }
  const std::string_view name = content.substr(node_head.size(), content.size() - node_head.size() - 1);
  if (name != node_) {
    throw Error(ErrorCode::log_foreign,
                "the node directory " + path_ + " belongs to node '" +
                    (is_resource_name(name) ? std::string(name) : "?") + "', not to '" + node_ + '\'',
                "give each node its own directory, or put the old name back");
  }
}

std::optional<std::string> LocalNodeDirectory::read_node() const {
  auto file = files_.open(node_path(), FileSystem::Open::read);
  if (file.error == std::errc::no_such_file_or_directory) return std::nullopt;
  if (!file) refuse("cannot read " + node_path(), file.error);
  auto content = file.value->read(0, max_node_file);
  if (!content) refuse("cannot read " + node_path(), content.error);
  return std::move(content.value);
}

void LocalNodeDirectory::write_node() {
  const std::string fresh = node_path() + ".new-" + std::to_string(random_bits());
  auto file = files_.open(fresh, FileSystem::Open::create_new);
  if (!file) refuse("cannot write in the node directory " + path_, file.error);
  std::error_code error = file.value->write(0, std::string(node_head) + node_ + '\n').error;
  if (!error) error = file.value->sync_data();
  if (!error) error = files_.rename_new(fresh, node_path());
  if (error) static_cast<void>(files_.remove(fresh));
  // Another process may have come first: its name is read, and compared, like any other.
  if (error && error != std::errc::file_exists) refuse("cannot write " + node_path(), error);
  // A crash before this loses the name, and with it nothing: no slot was made yet.
  if (const auto synced = files_.sync_directory(path_)) refuse("cannot sync " + path_, synced);
}

std::unique_ptr<Slot> LocalNodeDirectory::take(int number) {
  const std::string directory = slot_path(number);
  auto lock = files_.lock(directory + "/lock");
  if (!lock) refuse("cannot lock " + directory + "/lock", lock.error);
  if (lock.value == nullptr) return nullptr;
  auto log = DecisionLog::open(files_, directory, options_);
  return std::make_unique<HeldSlot>(number, std::move(lock.value), std::move(log));
}

std::unique_ptr<Slot> LocalNodeDirectory::claim(const Fits& fits) {
  for (int number = 0; number < max_slots; ++number) {
    const auto error = files_.make_directory(slot_path(number));
    if (error && error != std::errc::file_exists) refuse("cannot make the slot " + slot_path(number), error);
    // Whoever made it, it must be there after a crash before its log can be relied on.
    if (const auto synced = files_.sync_directory(path_)) refuse("cannot sync " + path_, synced);
    // Whoever finds it locked meanwhile takes another one.
    auto slot = take(number);
    if (slot != nullptr && (!fits || fits(slot->log()))) return slot;
  }
  throw Error(ErrorCode::environment, "no slot of the 10000 of the node directory " + path_ + " is free and fits",
              "open one TransactionManager for each process, not more; each with the same resources");
}

std::unique_ptr<Slot> LocalNodeDirectory::adopt(int number) {
  if (number < 0 || number >= max_slots) return nullptr;
  const auto names = files_.list(slot_path(number));
  if (names.error == std::errc::no_such_file_or_directory) return nullptr;
  if (!names) refuse("cannot list " + slot_path(number), names.error);
  return take(number);
}

std::vector<SlotState> LocalNodeDirectory::slots() const {
  const auto names = files_.list(path_);
  if (!names) refuse("cannot list " + path_, names.error);
  std::vector<SlotState> out;
  for (const std::string& name : names.value) {
    const auto number = slot_number(name);
    if (!number) continue;
    SlotState state{*number, slot_path(*number), std::nullopt, std::nullopt};
    const auto holder = files_.lock_holder(state.directory + "/lock");
    if (!holder) refuse("cannot ask who holds " + state.directory + "/lock", holder.error);
    state.holder_pid = holder.value;
    // A log that cannot be read has no name here; whoever opens it is told why.
    if (const auto log = log::read_log_id(files_, state.directory)) state.log = log.value;
    out.push_back(std::move(state));
  }
  return out;
}

}  // namespace

std::unique_ptr<NodeDirectory> NodeDirectory::open(FileSystem& files, const std::string& path, const std::string& node,
                                                   const LogOptions& options) {
  if (!is_resource_name(node)) {
    throw Error(ErrorCode::configuration, "the node's name is not usable",
                "use letters, digits, '_', '-' and '.', beginning with a letter or digit, at most 64 of them");
  }
  std::string trimmed = path;
  while (trimmed.size() > 1 && trimmed.ends_with('/')) trimmed.pop_back();
  auto directory = std::make_unique<LocalNodeDirectory>(files, trimmed, node, options);
  directory->establish();
  return directory;
}

}  // namespace assent
