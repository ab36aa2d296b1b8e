#include "assent/tools/assent/setup.h"

#include <algorithm>
#include <filesystem>

#include "assent/adapters/mysql/mysql.h"
#include "assent/adapters/postgres/postgres.h"
#include "assent/adapters/sqlite/sqlite.h"
#include "assent/recovery/file_system.h"
#include "assent/xa/error.h"

namespace assent::tool {

Registry all_adapters() {
  Registry registry;
  Postgres::register_with(registry);
  MySql::register_with(registry);
  Sqlite::register_with(registry);
  return registry;
}

Setup Setup::load(const std::string& config_path) {
  Setup setup;
  setup.config_path = config_path;
  setup.config = load_config(config_path);
  const Registry registry = all_adapters();
  for (const ResourceSpec& spec : setup.config.resources) {
    try {
      setup.resources.push_back({registry.open(spec), spec.formerly});
    } catch (const Error& error) {
      const std::string what = error.what();
      const std::string name = "resource '" + spec.name + '\'';
      throw Error(error.code(), config_path + ": " + (what.find(name) == std::string::npos ? name + ": " : "") + what,
                  error.hint());
    }
  }
  return setup;
}

std::shared_ptr<ResourceManager> Setup::resource(const std::string& name) const {
  const auto now = std::ranges::find_if(resources, [&](const auto& each) { return each.manager->name() == name; });
  if (now != resources.end()) return now->manager;
  const auto formerly =
      std::ranges::find_if(resources, [&](const auto& each) { return std::ranges::count(each.formerly, name) != 0; });
  return formerly == resources.end() ? nullptr : formerly->manager;
}

std::unique_ptr<NodeDirectory> Setup::node_directory() const {
  std::error_code error;
  if (!std::filesystem::exists(config.log_directory + "/node", error) && !error) return nullptr;
  return NodeDirectory::open(FileSystem::real(), config.log_directory, config.node);
}

}  // namespace assent::tool
