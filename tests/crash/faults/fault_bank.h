#pragma once

#include <sqlite3.h>

#include <stdexcept>
#include <string>

#include "assent/adapters/sqlite/sqlite.h"
#include "assent/tm/transaction_manager.h"

namespace assent::testing {

/// Two SQLite databases, a.db and b.db, in one directory, and a log beside them. Each has one account.
constexpr int transfers = 3;
constexpr int begin_with = 1000;

inline void execute(sqlite3& database, const std::string& sql) {
  if (sqlite3_exec(&database, sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) return;
  throw std::runtime_error(sqlite3_errmsg(&database));
}

inline TransactionManager open_bank(const std::string& directory) {
  Registry adapters;
  Sqlite::register_with(adapters);
  Config config;
  config.node = "bank";
  config.log_directory = directory + "/log";
  config.log_segment_bytes = 64 << 10;
  config.threads = 2;  // thousands of processes begin and end
  for (const char* name : {"a", "b"}) {
    ResourceSpec spec;
    spec.name = name;
    spec.url = ResourceUrl::parse("sqlite:///" + directory + '/' + name + ".db");
    config.resources.push_back(spec);
  }
  return TransactionManager::open(config, adapters);
}

/// Throws when the work cannot be done; nothing is committed then.
inline Outcome transfer(TransactionManager& tm, int amount) {
  const auto a = tm.resource<Sqlite>("a");
  const auto b = tm.resource<Sqlite>("b");
  const auto add = [](int cents) { return "UPDATE account SET balance = balance + " + std::to_string(cents); };
  return tm.run([&](Transaction& tx) {
    tx.on(a, [&](sqlite3& database) { execute(database, add(-amount)); });
    tx.on(b, [&](sqlite3& database) { execute(database, add(amount)); });
  });
}

}  // namespace assent::testing
