#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "assent/xa/resource_manager.h"
#include "assent/xa/resource_url.h"

namespace assent {

/// Adapters by URL scheme. Programs fill it; nothing registers itself.
class Registry {
 public:
  /// Throws Error{configuration} on a URL or parameter it cannot use. Does not connect.
  using Factory = std::function<std::shared_ptr<ResourceManager>(const ResourceSpec&)>;

  Registry& add(std::string scheme, Factory factory);

  /// Throws Error{configuration} when no adapter has the scheme; says which there are.
  std::shared_ptr<ResourceManager> open(const ResourceSpec& spec) const;

 private:
  std::map<std::string, Factory> factories_;
};

}  // namespace assent
