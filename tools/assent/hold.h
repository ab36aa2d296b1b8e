#pragma once

#include <memory>

#include "assent/recovery/node_directory.h"
#include "assent/tools/assent/names.h"
#include "assent/tools/assent/setup.h"

namespace assent::tool {

/// What `force` and `forget` work with: one transaction, its log in hand, and what is known of it at this moment.
struct Hold {
  std::unique_ptr<NodeDirectory> directory;
  std::unique_ptr<Slot> slot;  ///< the decider's; nothing when it is not on this node
  TransactionId transaction;
  RecoveryReport report;

  const BranchReport* branch(const std::string& resource) const;
};

/// Throws Stop{log_held} when a live process has the log: it settles what is its own, and nobody else may write there.
Hold take_hold(const Setup& setup, const Named& named);

}  // namespace assent::tool
