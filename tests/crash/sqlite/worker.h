#pragma once

#include <sqlite3.h>

#include <memory>
#include <string>

#include "assent/adapters/sqlite/sqlite.h"
#include "assent/xa/registry.h"
#include "assent/xa/resource_manager.h"

namespace assent::test {

inline Xid crash_xid(std::uint64_t sequence) {
  return Xid::of({DeciderKind::log, LogId{0xdead}, Incarnation{1}, sequence}, "bank");
}

inline std::shared_ptr<ResourceManager> crash_resource(const std::string& path) {
  Registry registry;
  Sqlite::register_with(registry);
  ResourceSpec spec;
  spec.name = "bank";
  spec.url = ResourceUrl::parse("sqlite:///" + path);
  spec.pool_wait_ms = 50;
  return registry.open(spec);
}

constexpr const char* crash_schema =
    "CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);"
    "INSERT INTO account VALUES(1, 100), (2, 0);"
    "CREATE TABLE pile(x);"
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20) "
    "INSERT INTO pile SELECT zeroblob(1000) FROM n;";

/// Small enough a cache that old pages reach the journal and new ones the database long before the COMMIT.
constexpr const char* crash_work =
    "PRAGMA cache_size = 3;"
    "UPDATE account SET balance = balance - 40 WHERE id = 1;"
    "UPDATE account SET balance = balance + 40 WHERE id = 2;"
    "UPDATE pile SET x = randomblob(1000);"
    "CREATE TABLE made(x); INSERT INTO made VALUES('by the branch');"
    "PRAGMA user_version = 7;";

constexpr const char* plain_work = "UPDATE account SET balance = balance - 40 WHERE id = 1;";

}  // namespace assent::test
