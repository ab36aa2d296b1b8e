#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "assent/xa/xid.h"

namespace assent {

/// One branch of a decided transaction, as the log keeps it.
struct DecidedBranch {
  std::string resource;  ///< name; the branch's bqual
  std::string evidence;  ///< Branch::evidence(), at most Branch::max_evidence bytes

  bool operator==(const DecidedBranch&) const = default;
};

/// The decision to commit. An abort is never written: what has no decision is presumed aborted.
struct Decision {
  static constexpr std::size_t max_label = 256;
  static constexpr std::size_t max_branches = 64;

  TransactionId id;
  std::string label;               ///< the application's words, for listings; at most max_label bytes
  std::int64_t decided_at_ms = 0;  ///< Unix time, milliseconds; for people only
  std::vector<DecidedBranch> branches;

  bool operator==(const Decision&) const = default;
};

}  // namespace assent
