#pragma once

#include <memory>
#include <string>
#include <utility>

#include "assent/xa/resource_manager.h"

namespace assent {

namespace detail {
class AsyncCall;
}

/// A typed handle of a configured resource: Resource<Postgres> hands out PostgreSQL's native session, and so on.
/// Made by TransactionManager::resource<T>(name). Cheap to copy, thread-safe, and good for the manager that made it.
template <class Adapter>
class Resource {
 public:
  const std::string& name() const { return manager_->name(); }

 private:
  friend class TransactionManager;
  friend class Transaction;
  friend class detail::AsyncCall;
  explicit Resource(std::shared_ptr<ResourceManager> manager) : manager_(std::move(manager)) {}
  std::shared_ptr<ResourceManager> manager_;
};

}  // namespace assent
