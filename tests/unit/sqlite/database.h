#pragma once

#include <gtest/gtest.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>

#include "assent/adapters/sqlite/sqlite.h"
#include "assent/xa/registry.h"
#include "assent/xa/resource_manager.h"

namespace assent::test {

/// A connection of somebody who knows nothing of Assent.
class PlainConnection {
 public:
  explicit PlainConnection(const std::string& path, int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_URI,
                           const char* vfs = nullptr) {
    open_code_ = sqlite3_open_v2(path.c_str(), &connection_, flags, vfs);
  }
  ~PlainConnection() { sqlite3_close_v2(connection_); }
  PlainConnection(const PlainConnection&) = delete;
  PlainConnection& operator=(const PlainConnection&) = delete;

  sqlite3& connection() { return *connection_; }
  int open_code() const { return open_code_; }
  int execute(const std::string& sql) { return sqlite3_exec(connection_, sql.c_str(), nullptr, nullptr, nullptr); }
  /// The first column of the first row; "error: …" when it fails, "no row" when there is none.
  std::string ask(const std::string& sql) { return ask(connection_, sql); }

  static std::string ask(sqlite3* connection, const std::string& sql) {
    sqlite3_stmt* statement = nullptr;
    std::string out;
    if (sqlite3_prepare_v2(connection, sql.c_str(), -1, &statement, nullptr) == SQLITE_OK) {
      const int step = sqlite3_step(statement);
      if (step == SQLITE_ROW) {
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, 0));
        out = text == nullptr ? "null" : text;
      } else {
        out = step == SQLITE_DONE ? "no row" : std::string("error: ") + sqlite3_errmsg(connection);
      }
    } else {
      out = std::string("error: ") + sqlite3_errmsg(connection);
    }
    sqlite3_finalize(statement);
    return out;
  }

 private:
  sqlite3* connection_ = nullptr;
  int open_code_ = SQLITE_OK;
};

inline std::string ask(Branch& branch, const std::string& sql) {
  return PlainConnection::ask(&Sqlite::session(branch), sql);
}
inline int execute(Branch& branch, const std::string& sql) {
  return sqlite3_exec(&Sqlite::session(branch), sql.c_str(), nullptr, nullptr, nullptr);
}

/// A directory of its own with a database `bank.db` in it: account 1 holds 100.
class WithDatabase : public ::testing::Test {
 public:
  ~WithDatabase() override {
    resource_.reset();
    std::filesystem::remove_all(directory_);
  }

 protected:
  WithDatabase() {
    std::string name = (std::filesystem::temp_directory_path() / "assent-sqlite-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    directory_ = std::filesystem::canonical(name).string();
    make("bank.db");
    resource_ = open("bank.db");
  }

  std::string path(const std::string& file = "bank.db") const { return directory_ + '/' + file; }

  void make(const std::string& file) {
    PlainConnection plain(path(file), SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    ASSERT_EQ(plain.execute("CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);"
                            "INSERT INTO account VALUES(1, 100)"),
              SQLITE_OK);
  }

  std::shared_ptr<ResourceManager> open(const std::string& file, const std::string& parameters = "",
                                        const std::string& name = "bank", std::uint32_t wait_ms = 50) {
    Registry registry;
    Sqlite::register_with(registry);
    ResourceSpec spec;
    spec.name = name;
    spec.url = ResourceUrl::parse("sqlite:///" + path(file) + parameters);
    spec.pool_size = 4;
    spec.pool_wait_ms = wait_ms;
    return registry.open(spec);
  }

  static Xid xid(std::uint64_t sequence, const std::string& name = "bank") {
    return Xid::of({DeciderKind::log, LogId{0xa55e}, Incarnation{7}, sequence}, name);
  }

  std::unique_ptr<Branch> start(const Xid& id, const StartOptions& options = {}) {
    auto branch = resource_->start(id, options);
    if (!branch) {
      ADD_FAILURE() << describe(branch.failure());
      return nullptr;
    }
    return std::move(branch).value();
  }
  /// A branch that has moved the balance to 60 and is prepared.
  std::unique_ptr<Branch> prepared(const Xid& id) {
    auto branch = start(id);
    EXPECT_EQ(execute(*branch, "UPDATE account SET balance = 60"), SQLITE_OK);
    const Reply reply = branch->prepare();
    EXPECT_TRUE(reply.is_ok()) << describe(reply);
    return branch;
  }
  /// The same, its owner gone: what a crash leaves (the crash itself is in tests/crash/sqlite).
  void left_in_doubt(const Xid& id) { prepared(id).reset(); }

  std::string balance() {
    PlainConnection plain(path());
    return plain.ask("SELECT balance FROM account WHERE id = 1");
  }
  std::string integrity() {
    PlainConnection plain(path());
    return plain.ask("PRAGMA integrity_check");
  }
  /// Names beside the database but for the databases themselves.
  std::vector<std::string> beside() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(directory_)) {
      const std::string name = entry.path().filename().string();
      if (!name.ends_with(".db")) names.push_back(name);
    }
    return names;
  }

  std::string directory_;
  std::shared_ptr<ResourceManager> resource_;
};

}  // namespace assent::test
