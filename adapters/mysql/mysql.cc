#include "assent/adapters/mysql/mysql.h"

#include <cppconn/exception.h>

#include <string>

#include "assent/adapters/mysql/failure.h"
#include "assent/adapters/mysql/manager.h"
#include "assent/xa/error.h"

namespace assent {

void MySql::register_with(Registry& registry) {
  const Registry::Factory factory = [](const ResourceSpec& spec) { return std::make_shared<mysql::Manager>(spec); };
  registry.add("mysql", factory);
  registry.add("mariadb", factory);
}

sql::Connection& MySql::session(Branch& branch) {
  return mysql::session_of(branch).connection();
}

Result<std::unique_ptr<Branch>> MySql::adopt(ResourceManager& manager, Connection& borrowed, const Xid& xid,
                                             const StartOptions& options) {
  auto* const ours = dynamic_cast<mysql::Manager*>(&manager);
  if (ours == nullptr) {
    return Reply::not_done(Code::invalid, "the resource '" + manager.name() + "' is not a MySQL or MariaDB database");
  }
  return ours->adopt(borrowed, xid, options);
}

bool MySql::owns(const ResourceManager& manager) {
  return dynamic_cast<const mysql::Manager*>(&manager) != nullptr;
}

Code MySql::classify(const std::exception& failure) {
  const auto* error = dynamic_cast<const sql::SQLException*>(&failure);
  if (error == nullptr) return Code::rb_other;
  return mysql::code_of({error->getErrorCode(), error->getSQLStateCStr(), error->what(), false});
}

}  // namespace assent
