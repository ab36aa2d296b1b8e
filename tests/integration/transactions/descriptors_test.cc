// Safety rule 9: a program that the application executes inherits no session. A socket that outlives its process there
// would keep the branch's session, and its locks, alive in the database.
#include <fcntl.h>

#include <filesystem>
#include <set>

#include "assent/tests/integration/transactions/world.h"

namespace assent::testing {
namespace {

namespace fs = std::filesystem;

class Descriptors : public World {
 protected:
  static std::set<int> open_now() {
    std::set<int> out;
    for (const auto& entry : fs::directory_iterator("/proc/self/fd")) out.insert(std::stoi(entry.path().filename()));
    return out;
  }
};

// MySQL Connector/C++ 1.1 opens its sockets without the flag, and does not show them: see docs/ARCHITECTURE.md.
TEST_F(Descriptors, rule_9_no_session_of_postgresql_or_sqlite_is_left_to_a_program_that_is_executed) {
  set_up(Server::mariadb);
  Config without_shop = config();
  std::erase_if(without_shop.resources, [](const ResourceSpec& spec) { return spec.name == "shop"; });
  const std::set<int> before = open_now();
  auto tm = TransactionManager::open(without_shop, registry());
  auto tx = tm.begin({.deadline = std::chrono::seconds(60), .label = ""});
  tx.on(tm.resource<Postgres>("ledger"), [&](pqxx::transaction_base& sql) { add_to_ledger(sql, 1); });
  tx.on(tm.resource<Sqlite>("notes"), [&](sqlite3& sql) { add_to_notes(sql, 1); });
  std::size_t sockets = 0;
  std::size_t files = 0;
  for (const int descriptor : open_now()) {
    std::error_code gone;
    const std::string target = fs::read_symlink("/proc/self/fd/" + std::to_string(descriptor), gone).string();
    if (before.contains(descriptor) || gone) continue;
    sockets += target.starts_with("socket:") ? 1 : 0;
    files += target.starts_with(directory()) ? 1 : 0;
    const int flags = ::fcntl(descriptor, F_GETFD);
    if (flags < 0) continue;  // recovery, in the background, closed it meanwhile
    EXPECT_NE(flags & FD_CLOEXEC, 0) << target;
  }
  EXPECT_GE(sockets, 1U) << "PostgreSQL's session";
  EXPECT_GE(files, 3U) << "the log, its lock, and SQLite's database";
  EXPECT_EQ(tx.rollback().kind(), OutcomeKind::rolled_back);
}

}  // namespace
}  // namespace assent::testing
