#include "assent/adapters/sqlite/database_place.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <memory>
#include <string_view>

namespace assent::sqlite {
namespace {

constexpr std::string_view infix = "-assent-";
constexpr int most_trials = 100;

int exchange(const std::string& a, const std::string& b) {
  return ::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0 ? 0 : errno;
}

int sync_directory_at(const std::string& directory) {
  const int descriptor = ::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return errno;
  const int error = ::fsync(descriptor) == 0 ? 0 : errno;
  ::close(descriptor);
  return error;
}

struct CloseDirectory {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

}  // namespace

std::string to_file_name(const Xid& xid) {
  std::string name = xid.text();
  std::replace(name.begin(), name.end(), '/', '@');
  return name;
}

std::optional<Xid> from_file_name(std::string_view name) {
  std::string text(name);
  if (text.find('/') != std::string::npos) return std::nullopt;
  std::replace(text.begin(), text.end(), '@', '/');
  return Xid::from_text(text);
}

const ParkedEntry* PlaceState::find(const Xid& xid) const {
  const auto found = std::find_if(parked.begin(), parked.end(), [&](const ParkedEntry& e) { return e.xid == xid; });
  return found == parked.end() ? nullptr : &*found;
}

const ParkedEntry* PlaceState::in_doubt(const Xid& xid) const {
  const ParkedEntry* entry = find(xid);
  return at_journal == AtJournal::guard && entry != nullptr && entry->is_journal ? entry : nullptr;
}

bool PlaceState::ambiguous() const {
  return at_journal == AtJournal::guard &&
         std::count_if(parked.begin(), parked.end(), [](const ParkedEntry& e) { return e.is_journal; }) > 1;
}

std::string Moved::text() const {
  return step + ": " + std::strerror(error);
}

DatabasePlace::DatabasePlace(const std::string& path) : path_(path) {
  const std::size_t slash = path.rfind('/');
  directory_ = slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
  file_ = slash == std::string::npos ? path : path.substr(slash + 1);
}

std::string DatabasePlace::parked(const Xid& xid) const {
  return path_ + std::string(infix) + to_file_name(xid);
}

bool DatabasePlace::can_name(const Xid& xid) const {
  return file_.size() + infix.size() + to_file_name(xid).size() <= NAME_MAX;
}

Result<PlaceState> DatabasePlace::look() const {
  PlaceState state;
  const std::unique_ptr<DIR, CloseDirectory> directory(::opendir(directory_.c_str()));
  if (!directory) {
    return Reply::not_done(Code::resource_failed, "cannot list " + directory_ + ": " + std::strerror(errno));
  }
  const std::string prefix = file_ + std::string(infix);
  for (errno = 0; const dirent* entry = ::readdir(directory.get()); errno = 0) {
    const std::string_view name = entry->d_name;
    if (!name.starts_with(prefix)) continue;
    auto xid = from_file_name(name.substr(prefix.size()));
    if (!xid) continue;
    struct stat status {};
    if (::stat((directory_ + '/' + entry->d_name).c_str(), &status) != 0) continue;
    state.parked.push_back({std::move(*xid), S_ISREG(status.st_mode), status.st_uid});
  }
  if (errno != 0) {
    return Reply::not_done(Code::resource_failed, "cannot list " + directory_ + ": " + std::strerror(errno));
  }
  // Looked at after the list, so that a guard never appears without the journal behind it to somebody without a lock;
  // a branch that is finished meanwhile is seen as what it was or what it is.
  struct stat status {};
  if (::stat(journal().c_str(), &status) == 0) {
    state.at_journal = S_ISDIR(status.st_mode) ? AtJournal::guard : AtJournal::journal;
    if (S_ISDIR(status.st_mode)) {
      state.guarded_since = std::chrono::system_clock::from_time_t(status.st_mtim.tv_sec);
    }
  } else if (errno != ENOENT) {
    return Reply::not_done(Code::resource_failed, "cannot look at " + journal() + ": " + std::strerror(errno));
  }
  return state;
}

Moved DatabasePlace::sync_directory() const {
  const int error = sync_directory_at(directory_);
  return {error, error == 0, "fsync of " + directory_};
}

Moved DatabasePlace::park(const Xid& xid) const {
  const std::string from = journal();
  const std::string to = parked(xid);
  // Before this line SQLite has made durable: the old pages (J, its header, its name) and the new pages (the database).
  // A crash from here to the exchange leaves the journal at J: SQLite undoes. P may be there as an empty directory.
  if (::mkdir(to.c_str(), 0700) != 0) return {errno, true, "mkdir " + to};
  if (const int error = exchange(to, from); error != 0) {
    ::rmdir(to.c_str());
    return {error, true, "renameat2(RENAME_EXCHANGE) of " + from};
  }
  // A kill here leaves the branch in doubt. A power loss leaves it in doubt or, the exchange lost, with its journal at
  // J: undone, and nobody was told otherwise.
  if (const int error = sync_directory_at(directory_); error != 0) {
    // What the disk holds is not known; put the names back so that the process that runs goes on consistently.
    const bool back = exchange(to, from) == 0 && ::rmdir(to.c_str()) == 0 && sync_directory_at(directory_) == 0;
    return {error, back, "fsync of " + directory_};
  }
  return {};
}

Moved DatabasePlace::commit(const Xid& xid) const {
  // The commit point. Before: in doubt. A kill after it: committed, P left over. A power loss after it, before the
  // sync: in doubt again, with P still there, and nobody was told otherwise.
  const std::string guard = journal();
  if (::rmdir(guard.c_str()) != 0) return {errno, true, "rmdir " + guard};
  return finish_commit(xid);
}

Moved DatabasePlace::finish_commit(const Xid& xid) const {
  // P goes only when the guard's removal is durable: a guard that came back without P could never be rolled back, nor
  // be found by recovery. The removal of P needs no sync: P without guard means committed.
  if (Moved synced = sync_directory(); !synced.ok()) return synced;
  ::unlink(parked(xid).c_str());
  return {};
}

Moved DatabasePlace::roll_back(const Xid& xid) const {
  const std::string guard = journal();
  const std::string to = parked(xid);
  if (const int error = exchange(to, guard); error != 0) {
    return {error, true, "renameat2(RENAME_EXCHANGE) of " + guard};
  }
  // Durable before anybody may undo a page (the lock is held): pages undone under a guard that came back after a power
  // loss would be "in doubt" with the old contents, and a commit of them a lie.
  if (const int error = sync_directory_at(directory_); error != 0) {
    const bool back = exchange(to, guard) == 0;
    return {error, back, "fsync of " + directory_};
  }
  // Left over by a crash here it means nothing, and the next branch takes it away.
  ::rmdir(to.c_str());
  return {};
}

Moved DatabasePlace::remove_leftovers(const PlaceState& state) const {
  if (state.at_journal == AtJournal::guard || state.parked.empty()) return {};
  // First what they tell (no guard: committed) is made durable, then they go, and they are durably gone before the
  // caller can make a guard: one guard has one parked journal.
  if (Moved synced = sync_directory(); !synced.ok()) return synced;
  for (const ParkedEntry& entry : state.parked) {
    const std::string name = parked(entry.xid);
    if ((entry.is_journal ? ::unlink(name.c_str()) : ::rmdir(name.c_str())) != 0 && errno != ENOENT) {
      return {errno, true, "removal of " + name};
    }
  }
  return sync_directory();
}

int DatabasePlace::try_exchange() const {
  const std::string folder = path_ + std::string(infix) + "trial.d";
  const std::string file = path_ + std::string(infix) + "trial.f";
  const auto remove_both = [&] {
    for (const std::string& name : {folder, file}) {
      if (::unlink(name.c_str()) != 0) ::rmdir(name.c_str());
    }
  };
  int error = 0;
  // Another process that tries at the same moment takes the names away or makes them first: then once more.
  for (int attempt = 0; attempt < most_trials; ++attempt) {
    remove_both();
    error = ::mkdir(folder.c_str(), 0700) == 0 ? 0 : errno;
    if (error == 0) {
      const int descriptor = ::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
      error = descriptor < 0 ? errno : 0;
      if (descriptor >= 0) ::close(descriptor);
    }
    if (error == 0) error = exchange(folder, file);
    if (error != ENOENT && error != EEXIST) break;
  }
  remove_both();
  return error;
}

}  // namespace assent::sqlite
