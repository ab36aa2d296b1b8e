#pragma once

#include <atomic>
#include <boost/container/small_vector.hpp>
#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>

#include "assent/tm/driver.h"
#include "assent/tm/engine.h"
#include "assent/tm/outcome.h"
#include "assent/xa/branch.h"
#include "assent/xa/machine.h"

namespace assent::detail {

/// One branch of an open transaction.
struct Enlisted {
  ResourceEntry* resource = nullptr;
  bool read_only = false;
  bool borrowed = false;  ///< on a connection of the application's own
  std::unique_ptr<Branch> branch;
  std::unique_ptr<Reply> not_ended = {};  ///< what end() answered, when that was not ok
  std::string evidence = {};              ///< Branch::evidence(), once it voted ok
};

struct TransactionState : std::enable_shared_from_this<TransactionState> {
  TransactionId id;
  std::string label;
  std::optional<std::chrono::steady_clock::time_point> deadline;
  AckAt ack_at = AckAt::finished;
  ResourceEntry* last_resource = nullptr;  ///< which decides; null: the log does
  Mutex mutex;                             ///< of what follows
  boost::container::small_vector<Enlisted, 2> branches;
  std::atomic<bool> over = false;  ///< set with it, and never unset: whoever sees it needs no mutex
  bool rollback_only = false;
  std::string rollback_reason;
  Reply rollback_cause;
  std::size_t works = 0;      ///< of async_on(), under way
  bool was_async = false;     ///< has had one: then nobody waits for its rollback when it is abandoned
  bool is_abandoned = false;  ///< its Transaction was destroyed undecided while works were under way
  /// From commit or rollback on. It goes with the Transaction, mostly in the thread that made it: memory that one
  /// thread asks for and another gives back costs both.
  std::optional<Driver> driver;
};

}  // namespace assent::detail
