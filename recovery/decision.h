#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
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
///
/// Of a transaction that a last resource decides it has the other branches only: the last resource's own is committed
/// with it.
struct Decision {
  static constexpr std::size_t max_label = 256;
  static constexpr std::size_t max_branches = 64;

  TransactionId id;
  std::string label;               ///< the application's words, for listings; at most max_label bytes
  std::int64_t decided_at_ms = 0;  ///< Unix time, milliseconds; for people only
  std::vector<DecidedBranch> branches;

  bool operator==(const Decision&) const = default;
};

/// As a last resource keeps it (Branch::commit_deciding()): docs/log_format.md. The decision must keep to the bounds.
std::string to_bytes(const Decision& decision);
/// Nothing for bytes that are no such decision.
std::optional<Decision> decision_from(std::string_view bytes);

}  // namespace assent
