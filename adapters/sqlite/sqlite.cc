#include "assent/adapters/sqlite/sqlite.h"

#include <memory>

#include "assent/adapters/sqlite/branch.h"
#include "assent/adapters/sqlite/manager.h"
#include "assent/xa/error.h"

namespace assent {

void Sqlite::register_with(Registry& registry) {
  registry.add("sqlite", [](const ResourceSpec& spec) { return std::make_shared<sqlite::SqliteManager>(spec); });
}

Sqlite::Session& Sqlite::session(Branch& branch) {
  auto* const own = dynamic_cast<sqlite::SqliteBranch*>(&branch);
  if (own == nullptr || !own->is_open()) {
    throw Error(ErrorCode::misuse, own == nullptr ? "the branch is not one of SQLite" : "the branch is over",
                "ask the resource that opened the branch, before it ends");
  }
  return own->connection();
}

Result<std::unique_ptr<Branch>> Sqlite::adopt(ResourceManager& resource, Connection& borrowed, const Xid& xid,
                                              const StartOptions& options) {
  auto* const own = dynamic_cast<sqlite::SqliteManager*>(&resource);
  if (own == nullptr) return Reply::not_done(Code::invalid, "the resource is not one of SQLite");
  return own->adopt(borrowed, xid, options);
}

bool Sqlite::owns(const ResourceManager& resource) {
  return dynamic_cast<const sqlite::SqliteManager*>(&resource) != nullptr;
}

const char* Sqlite::vfs() {
  return sqlite::parked_journal_vfs();
}

}  // namespace assent
