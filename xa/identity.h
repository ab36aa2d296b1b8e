#pragma once

#include <string>

namespace assent {

/// The database itself, however it is reached: two resources with equal identities are one database, and a resource
/// whose identity changed is another database behind the old name.
struct Identity {
  std::string system;    ///< PostgreSQL: "postgresql:<system identifier>"; MySQL, MariaDB: "mysql:<server UUID>";
                         ///< SQLite: "sqlite:<identifier stored in the file>"
  std::string database;  ///< PostgreSQL: database name; MySQL, MariaDB: schema; SQLite: empty

  std::string text() const { return database.empty() ? system : system + '/' + database; }
  bool operator==(const Identity&) const = default;
};

}  // namespace assent
