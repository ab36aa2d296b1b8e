#include "assent/adapters/postgres/postgres.h"

#include "assent/adapters/postgres/answer.h"
#include "assent/adapters/postgres/open_branch.h"
#include "assent/adapters/postgres/resource.h"
#include "assent/xa/error.h"

namespace assent {

void Postgres::register_with(Registry& registry) {
  const auto open = [](const ResourceSpec& spec) -> std::shared_ptr<ResourceManager> {
    return std::make_shared<detail::postgres::Resource>(spec);
  };
  registry.add("postgresql", open);
  registry.add("postgres", open);
}

bool Postgres::owns(const ResourceManager& manager) {
  return dynamic_cast<const detail::postgres::Resource*>(&manager) != nullptr;
}

Code Postgres::classify(const std::exception& failure) {
  // By class: libpqxx 6.4 throws these two without their SQLSTATE.
  if (dynamic_cast<const pqxx::serialization_failure*>(&failure) != nullptr ||
      dynamic_cast<const pqxx::deadlock_detected*>(&failure) != nullptr) {
    return Code::rb_deadlock;
  }
  if (dynamic_cast<const pqxx::broken_connection*>(&failure) != nullptr) return Code::rb_transient;
  const auto* error = dynamic_cast<const pqxx::sql_error*>(&failure);
  return error == nullptr || error->sqlstate().empty() ? Code::rb_other : detail::postgres::code_of(error->sqlstate());
}

Postgres::Session& Postgres::session(Branch& branch) {
  auto* const ours = dynamic_cast<detail::postgres::OpenBranch*>(&branch);
  if (ours == nullptr) {
    throw Error(ErrorCode::misuse, "the branch " + branch.xid().text() + " is not PostgreSQL's",
                "use the handle of the resource's own kind");
  }
  return ours->native();
}

Result<std::unique_ptr<Branch>> Postgres::adopt(ResourceManager& manager, Connection& borrowed, const Xid& xid,
                                                const StartOptions& options) {
  auto* const ours = dynamic_cast<detail::postgres::Resource*>(&manager);
  if (ours == nullptr) return Reply::not_done(Code::invalid, "the resource " + manager.name() + " is not PostgreSQL's");
  return ours->adopt(borrowed, xid, options);
}

}  // namespace assent
