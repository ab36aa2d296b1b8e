#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "assent/xa/reply.h"
#include "assent/xa/xid.h"

/// A database file, the journal beside it, and the journals parked there: every change of names that makes, commits or
/// rolls back a prepared branch.
///
/// Words. `J` is `<db>-journal`, where SQLite looks for an undo journal. `P` is `<db>-assent-<xid>`. A *guard* is an
/// empty directory of the name J: every SQLite that opens the file finds "a journal" that it cannot read, and stops.
///
///   J          P            means
///   ---------  -----------  -----------------------------------------------------------------------------
///   journal    directory    not prepared, or rolled back: SQLite's hot-journal recovery undoes it
///   guard      journal      in doubt: the database holds the new pages, P the old ones
///   none       journal      committed; P is left over
///   journal    journal      committed; J is a later transaction's
///   any other  directory    rolled back or never prepared; P is left over
///   guard      none         of a branch that is not this one
///
/// Every move below is made by somebody who holds SQLite's exclusive lock of the file (remove_leftovers: at least its
/// reserved lock), so moves never meet. An argument that says what a power loss leaves behind stands at each.
namespace assent::sqlite {

/// What is at the name J.
enum class AtJournal { nothing, journal, guard };

struct ParkedEntry {
  Xid xid;
  bool is_journal = false;  ///< else a directory
  uid_t owner = 0;
};

struct PlaceState {
  AtJournal at_journal = AtJournal::nothing;
  std::optional<std::chrono::system_clock::time_point> guarded_since;
  std::vector<ParkedEntry> parked;

  /// The only journal that can belong to the guard; nothing when there is no guard.
  const ParkedEntry* in_doubt(const Xid& xid) const;
  /// More parked journals than one behind one guard: which is in doubt cannot be told from the directory.
  bool ambiguous() const;
  const ParkedEntry* find(const Xid& xid) const;
};

/// What a move did. `error` is an errno; 0: done and durable.
struct Moved {
  int error = 0;
  bool certain = true;  ///< false: done or not, a power loss may decide
  std::string step;     ///< the call that failed, for people

  bool ok() const { return error == 0; }
  std::string text() const;
};

class DatabasePlace {
 public:
  DatabasePlace() = default;
  /// `path` as SQLite resolved it: absolute and free of links.
  explicit DatabasePlace(const std::string& path);

  const std::string& path() const { return path_; }
  const std::string& directory() const { return directory_; }
  std::string journal() const { return path_ + "-journal"; }
  std::string parked(const Xid& xid) const;

  /// False when the file system could not hold the name (255 bytes).
  bool can_name(const Xid& xid) const;

  Result<PlaceState> look() const;

  /// journal at J → in doubt. Undone as far as possible when it fails.
  Moved park(const Xid& xid) const;
  /// in doubt → committed.
  Moved commit(const Xid& xid) const;
  /// committed and P left over → P gone.
  Moved finish_commit(const Xid& xid) const;
  /// in doubt → journal at J. The caller then lets SQLite undo.
  Moved roll_back(const Xid& xid) const;
  /// Takes away what crashes left; only where there is no guard.
  Moved remove_leftovers(const PlaceState& state) const;

  Moved sync_directory() const;

  /// Tries RENAME_EXCHANGE of a file and a directory in this directory. 0 or an errno.
  int try_exchange() const;

 private:
  std::string path_;
  std::string directory_;
  std::string file_;
};

/// How Assent names the branch in a file name: Xid::text() with '@' for '/'.
std::string to_file_name(const Xid& xid);
std::optional<Xid> from_file_name(std::string_view name);

}  // namespace assent::sqlite
