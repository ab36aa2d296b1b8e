#include "assent/bench/database.h"

#include "assent/xa/error.h"

namespace assent::bench {

std::unique_ptr<Database> open_database(const ResourceSpec& spec, const std::string& table) {
  const std::string& scheme = spec.url.scheme;
  if (scheme == "postgresql" || scheme == "postgres") return postgres_database(spec, table);
  if (scheme == "mysql" || scheme == "mariadb") return mysql_database(spec, table);
  throw Error(ErrorCode::configuration, "the bench has no hand-written two-phase commit for scheme '" + scheme + "'",
              "use postgresql, mysql or mariadb");
}

}  // namespace assent::bench
