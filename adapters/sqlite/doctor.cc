#include "assent/adapters/sqlite/doctor.h"

#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "assent/adapters/sqlite/witness.h"

namespace assent::sqlite {
namespace {

struct NetworkFileSystem {
  unsigned long magic;
  const char* name;
};

// statfs(2) and the kernel's include/uapi/linux/magic.h.
constexpr std::array<NetworkFileSystem, 10> network_file_systems{{{0x6969, "NFS"},
                                                                  {0x517B, "SMB"},
                                                                  {0xFF534D42, "CIFS"},
                                                                  {0xFE534D42, "SMB2"},
                                                                  {0x00C36400, "Ceph"},
                                                                  {0x01021997, "9P"},
                                                                  {0x5346414F, "AFS"},
                                                                  {0x73757245, "Coda"},
                                                                  {0x564C, "NCP"},
                                                                  {0x0BD00BD0, "Lustre"}}};

Finding good(std::string what) {
  return {Finding::Severity::good, std::move(what), {}};
}
Finding advice(std::string what, std::string mend) {
  return {Finding::Severity::advice, std::move(what), std::move(mend)};
}
Finding problem(std::string what, std::string mend) {
  return {Finding::Severity::problem, std::move(what), std::move(mend)};
}

void examine_place(const DatabasePlace& place, std::vector<Finding>& out) {
  if (const std::string unfit = unfit_file_system(place); unfit.empty()) {
    out.push_back(good("the file system of " + place.directory() + " is local and exchanges names in one step"));
  } else {
    out.push_back(problem(unfit, "move the database file to a local file system such as ext4, XFS or Btrfs"));
  }
  const auto state = place.look();
  if (!state) {
    out.push_back(problem(state.failure().text, "give this user the right to list " + place.directory()));
    return;
  }
  if (state->ambiguous()) {
    out.push_back(problem("several parked journals lie behind one guard: somebody renamed or copied files",
                          "compare " + place.path() + "-assent-* with the log's open branches by hand"));
  }
  for (const ParkedEntry& entry : state->parked) {
    if (state->in_doubt(entry.xid) != nullptr) {
      out.push_back(
          advice("branch " + entry.xid.text() + " is in doubt; the file is locked for all others", "assent resolve"));
    } else {
      out.push_back(advice("a crash left " + place.parked(entry.xid) + " behind; its branch is over",
                           "nothing: the next branch removes it"));
    }
  }
  if (state->at_journal == AtJournal::guard && state->parked.empty()) {
    out.push_back(problem("the guard " + place.journal() + " is there without a parked journal: somebody removed it",
                          "the database holds the new pages: rmdir '" + place.journal() + "' commits them"));
  }
}

}  // namespace

std::string unfit_file_system(const DatabasePlace& place) {
  struct statfs status {};
  if (::statfs(place.directory().c_str(), &status) != 0) {
    return "cannot look at the file system of " + place.directory() + ": " + std::strerror(errno);
  }
  const auto magic = static_cast<unsigned long>(status.f_type) & 0xffffffffUL;
  const auto* found = std::find_if(network_file_systems.begin(), network_file_systems.end(),
                                   [&](const NetworkFileSystem& each) { return each.magic == magic; });
  if (found != network_file_systems.end()) {
    return place.directory() + " is on a network file system (" + found->name +
           "), whose locks and name changes cannot be trusted with a prepared branch";
  }
  if (const int error = place.try_exchange(); error != 0) {
    return "the directory " + place.directory() +
           " cannot exchange two names in one step (renameat2 with RENAME_EXCHANGE): " + std::strerror(error);
  }
  return {};
}

std::vector<Finding> examine_database(const Settings& settings) {
  std::vector<Finding> out;
  if (sqlite3_libversion_number() < 3039000) {
    out.push_back(problem(std::string("SQLite ") + sqlite3_libversion() + " is too old", "use SQLite 3.39 or newer"));
  } else {
    out.push_back(good(std::string("SQLite ") + sqlite3_libversion()));
  }
  if (sqlite3_threadsafe() == 0) {
    out.push_back(problem("this SQLite library is built without threads", "build it with SQLITE_THREADSAFE=1"));
  }
  auto opened = Session::open(settings);
  if (!opened) {
    out.push_back(problem(opened.failure().text, "check the path, the permissions and the URL"));
    return out;
  }
  Session& session = **opened;
  const DatabasePlace& place = session.file().place();
  examine_place(place, out);
  if (session.file().says_wal()) {
    out.push_back(problem(place.path() + " is in WAL mode, which cannot be prepared",
                          "PRAGMA journal_mode=DELETE; -- once, with every other connection closed"));
    return out;
  }
  if (!session.ask("PRAGMA main.schema_version")) {
    out.push_back(advice(session.explain(sqlite3_extended_errcode(&session.connection()), "reading").text,
                         "assent resolve, then ask again"));
    return out;
  }
  if (auto refusal = session.check_durability()) {
    out.push_back(problem(refusal->text, "PRAGMA journal_mode=DELETE; PRAGMA synchronous=FULL;"));
  } else {
    out.push_back(good("journal mode delete, synchronous full"));
  }
  if (!read_identifier(session)) {
    out.push_back(advice("Assent's tables are not in the database yet", "nothing: the first branch creates them"));
  }
  return out;
}

}  // namespace assent::sqlite
