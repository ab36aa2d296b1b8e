#pragma once

#include <memory>
#include <string>
#include <vector>

#include "assent/recovery/node_directory.h"
#include "assent/recovery/recoverer.h"
#include "assent/tm/config.h"
#include "assent/xa/registry.h"

namespace assent::tool {

/// The adapters that this program was built with.
Registry all_adapters();

/// What every command begins with: the configuration, and its resources, not yet connected.
struct Setup {
  std::string config_path;
  Config config;
  std::vector<RecoverableResource> resources;

  /// Throws Error.
  static Setup load(const std::string& config_path);

  /// The resource that has this name, now or formerly.
  std::shared_ptr<ResourceManager> resource(const std::string& name) const;

  /// Nothing where no application has ever opened it: a listing makes no directories. Throws Error.
  std::unique_ptr<NodeDirectory> node_directory() const;
};

}  // namespace assent::tool
