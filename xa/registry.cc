#include "assent/xa/registry.h"

#include <utility>

#include "assent/xa/error.h"

namespace assent {

Registry& Registry::add(std::string scheme, Factory factory) {
  factories_.insert_or_assign(std::move(scheme), std::move(factory));
  return *this;
}

std::shared_ptr<ResourceManager> Registry::open(const ResourceSpec& spec) const {
  const auto found = factories_.find(spec.url.scheme);
  if (found != factories_.end()) return found->second(spec);
  std::string known;
  for (const auto& [scheme, factory] : factories_) known += (known.empty() ? "" : ", ") + scheme + "://";
  throw Error(ErrorCode::configuration,
              "resource '" + spec.name + "': no adapter for the URL scheme '" + spec.url.scheme + "'",
              "use one of " + known);
}

}  // namespace assent
