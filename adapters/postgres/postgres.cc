#include "assent/adapters/postgres/postgres.h"

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
