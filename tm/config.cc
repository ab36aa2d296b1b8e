#include "assent/tm/config.h"

#include <toml++/toml.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <initializer_list>
#include <set>

#include "assent/xa/error.h"
#include "assent/xa/xid.h"

namespace assent {
namespace {

constexpr std::size_t max_file = 1 << 20;

/// A table of the file, with the words for an error about it.
class Reader {
 public:
  Reader(const toml::table& table, std::string prefix, const std::string& origin)
      : table_(table), prefix_(std::move(prefix)), origin_(origin) {}

  [[noreturn]] void refuse(const toml::source_region& where, const std::string& what, const std::string& hint) const {
    throw Error(ErrorCode::configuration, origin_ + ":" + std::to_string(where.begin.line) + ": " + what, hint);
  }

  void only(std::initializer_list<std::string_view> keys) const {
    std::string known;
    for (const std::string_view key : keys) known += (known.empty() ? "" : ", ") + std::string(key);
    for (const auto& [key, value] : table_) {
      bool found = false;
      for (const std::string_view allowed : keys) found = found || key.str() == allowed;
      if (!found)
        refuse(key.source(), "unknown key '" + prefix_ + std::string(key.str()) + "'", "known here: " + known);
    }
  }

  const toml::node* find(std::string_view key) const { return table_.get(key); }

  std::string text(std::string_view key) const {
    const toml::node* node = table_.get(key);
    if (node == nullptr) {
      refuse(table_.source(), "key '" + prefix_ + std::string(key) + "' is missing",
             "add " + std::string(key) + " = \"…\"");
    }
    const auto value = node->value_exact<std::string>();
    if (!value || value->empty()) wrong_type(*node, key, "a text that is not empty");
    return *value;
  }

  std::uint64_t number(std::string_view key, std::uint64_t fallback, std::uint64_t least, std::uint64_t most) const {
    const toml::node* node = table_.get(key);
    if (node == nullptr) return fallback;
    const auto value = node->value_exact<std::int64_t>();
    if (!value || *value < 0 || static_cast<std::uint64_t>(*value) < least ||
        static_cast<std::uint64_t>(*value) > most) {
      wrong_type(*node, key, "a whole number from " + std::to_string(least) + " to " + std::to_string(most));
    }
    return static_cast<std::uint64_t>(*value);
  }

  std::vector<std::string> names(std::string_view key) const {
    const toml::node* node = table_.get(key);
    std::vector<std::string> out;
    if (node == nullptr) return out;
    const toml::array* array = node->as_array();
    if (array == nullptr) wrong_type(*node, key, "a list of names");
    for (const toml::node& each : *array) {
      const auto name = each.value_exact<std::string>();
      if (!name || !is_resource_name(*name)) wrong_type(each, key, "a list of resource names");
      out.push_back(*name);
    }
    return out;
  }

  [[noreturn]] void wrong_type(const toml::node& node, std::string_view key, const std::string& expected) const {
    refuse(node.source(), "'" + prefix_ + std::string(key) + "' must be " + expected, "correct the value");
  }

 private:
  const toml::table& table_;
  std::string prefix_;
  const std::string& origin_;
};

ResourceSpec read_resource(const std::string& name, const toml::table& table, const std::string& origin,
                           const std::string& directory) {
  const Reader reader(table, "resources." + name + ".", origin);
  reader.only({"url", "formerly", "pool", "pool_wait_ms"});
  ResourceSpec spec;
  spec.name = name;
  const std::string url = reader.text("url");
  try {
    spec.url = ResourceUrl::parse(url);
  } catch (const Error& error) {
    reader.refuse(reader.find("url")->source(), "resource '" + name + "': " + error.what(), error.hint());
  }
  if (spec.url.scheme == "sqlite" && !spec.url.path.starts_with('/')) spec.url.path = directory + '/' + spec.url.path;
  spec.formerly = reader.names("formerly");
  spec.pool_size = reader.number("pool", spec.pool_size, 1, 10000);
  spec.pool_wait_ms = static_cast<std::uint32_t>(reader.number("pool_wait_ms", spec.pool_wait_ms, 0, 86400000));
  return spec;
}

}  // namespace

Config parse_config(const std::string& text, const std::string& origin, const std::string& directory) {
  toml::table root;
  try {
    root = toml::parse(text, origin);
  } catch (const toml::parse_error& error) {
    throw Error(ErrorCode::configuration,
                origin + ":" + std::to_string(error.source().begin.line) + ": " + std::string(error.description()),
                "correct the line; the format is TOML");
  }
  const Reader reader(root, "", origin);
  reader.only({"node", "log", "recovery_interval_ms", "threads", "resources"});
  Config config;
  config.node = reader.text("node");
  if (!is_resource_name(config.node)) {
    reader.wrong_type(*reader.find("node"), "node",
                      "1 to 64 letters, digits, '_', '-' or '.', a letter or digit first");
  }
  config.log_directory = (std::filesystem::path(directory) / reader.text("log")).lexically_normal().string();
  config.recovery_interval =
      std::chrono::milliseconds(reader.number("recovery_interval_ms", 1000, 10, std::uint64_t{86400000}));
  config.threads = reader.number("threads", config.threads, 1, 4096);
  const toml::node* resources = reader.find("resources");
  if (resources == nullptr) return config;
  if (!resources->is_table()) reader.wrong_type(*resources, "resources", "a table of resources by name");
  std::set<std::string> names;
  const auto claim_name = [&](const std::string& name, const toml::node& where) {
    if (!names.insert(name).second) {
      reader.refuse(where.source(), "the resource name '" + name + "' stands twice (formerly counts)",
                    "every name, present or former, may belong to one resource only");
    }
  };
  for (const auto& [key, value] : *resources->as_table()) {
    const std::string name(key.str());
    if (!is_resource_name(name)) {
      reader.refuse(key.source(), "the resource name '" + name.substr(0, 80) + "' cannot be used",
                    "use 1 to 64 letters, digits, '_', '-' or '.', a letter or digit first");
    }
    if (!value.is_table()) reader.wrong_type(value, "resources." + name, "a table with a url");
    config.resources.push_back(read_resource(name, *value.as_table(), origin, directory));
    claim_name(name, value);
    for (const std::string& old : config.resources.back().formerly) claim_name(old, value);
  }
  return config;
}

Config load_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::string text(max_file + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!file.is_open() || file.bad()) {
    throw Error(ErrorCode::configuration, "the configuration " + path + " cannot be read",
                "give its path, or set ASSENT_CONFIG; it must exist and be readable");
  }
  if (file.gcount() > static_cast<std::streamsize>(max_file)) {
    throw Error(ErrorCode::configuration, "the configuration " + path + " is larger than 1 MiB", "make it smaller");
  }
  text.resize(static_cast<std::size_t>(file.gcount()));
  std::string directory = std::filesystem::absolute(path).parent_path().string();
  return parse_config(text, path, directory);
}

}  // namespace assent
