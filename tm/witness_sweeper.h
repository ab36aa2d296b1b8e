#pragma once

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "assent/recovery/decision_log.h"
#include "assent/xa/machine.h"
#include "assent/xa/resource_manager.h"

namespace assent::detail {

/// Takes the witnesses of finished branches out of the databases, in batches, so that their cost vanishes among the
/// transactions they stood for. Thread-safe.
class WitnessSweeper {
 public:
  static constexpr std::size_t batch = 512;

  explicit WitnessSweeper(DecisionLog& log) : log_(log) {}

  /// The branch is over, and nobody will ask its witness again once the log's finish record is durable. True when a
  /// batch has come together, and sweep() is due.
  bool add(const std::shared_ptr<ResourceManager>& resource, Xid xid);

  /// Deletes full batches, or with `all` everything. A failure drops the batch: a witness left behind is a row too
  /// many, never a wrong answer.
  void sweep(bool all);

 private:
  struct Waiting {
    std::shared_ptr<ResourceManager> resource;
    std::vector<Xid> xids;
  };

  DecisionLog& log_;
  Mutex mutex_;
  std::map<std::string, Waiting> waiting_;
};

}  // namespace assent::detail
