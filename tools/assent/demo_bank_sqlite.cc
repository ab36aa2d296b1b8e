#include <filesystem>
#include <memory>
#include <stdexcept>

#include "assent/adapters/sqlite/sqlite.h"
#include "assent/tools/assent/demo_bank.h"

namespace assent::tool {
namespace {

struct Close {
  void operator()(sqlite3* database) const { sqlite3_close(database); }
};
using Database = std::unique_ptr<sqlite3, Close>;

void run(sqlite3& database, const std::string& statement, int (*row)(void*, int, char**, char**) = nullptr,
         void* rows = nullptr) {
  if (sqlite3_exec(&database, statement.c_str(), row, rows, nullptr) != SQLITE_OK) {
    throw std::runtime_error(std::string("SQLite: ") + sqlite3_errmsg(&database));
  }
}

class SqliteBank final : public Bank {
 public:
  SqliteBank(const ResourceSpec& spec, const std::string& tables) : Bank(spec.name, tables), path_(spec.url.path) {}

 private:
  // Plain SQLite, without Assent's VFS.
  Database open(int flags) const {
    sqlite3* opened = nullptr;
    const int result = sqlite3_open_v2(path_.c_str(), &opened, flags, nullptr);
    Database database(opened);
    if (result != SQLITE_OK) throw std::runtime_error(path_ + ": " + sqlite3_errstr(result));
    return database;
  }

  void execute(const std::vector<std::string>& statements) override {
    const Database database = open(SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    for (const std::string& each : statements) run(*database, each);
  }

  std::vector<Rows> query(const std::vector<std::string>& queries) override {
    const Database database = open(SQLITE_OPEN_READONLY);
    std::vector<Rows> out;
    run(*database, "BEGIN");
    for (const std::string& each : queries) {
      Rows rows;
      const auto keep = [](void* to, int columns, char** values, char**) {
        if (columns != 2 || values[0] == nullptr || values[1] == nullptr) return 1;
        static_cast<Rows*>(to)->emplace_back(std::stoll(values[0]), std::stoll(values[1]));
        return 0;
      };
      run(*database, each, keep, &rows);
      out.push_back(std::move(rows));
    }
    return out;
  }

  void execute_in(TransactionManager& manager, Transaction& transaction,
                  const std::vector<std::string>& statements) override {
    transaction.on(manager.resource<Sqlite>(name()), [&](sqlite3& database) {
      for (const std::string& each : statements) run(database, each);
    });
  }

  const std::string path_;
};

}  // namespace

std::unique_ptr<Bank> sqlite_bank(const ResourceSpec& spec, const std::string& tables) {
  return std::make_unique<SqliteBank>(spec, tables);
}

}  // namespace assent::tool
