#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "assent/recovery/resolution.h"
#include "assent/xa/identity.h"
#include "assent/xa/reply.h"
#include "assent/xa/resource_manager.h"
#include "assent/xa/xid.h"

namespace assent {

/// One branch: what is known, what the table says, and what was done.
struct BranchReport {
  Xid xid;
  std::string raw;                           ///< the database's own name for it, when it was listed
  std::optional<TransactionId> transaction;  ///< nothing for foreign branches
  std::string label;                         ///< the application's words, if the log knows them
  std::string resource;                      ///< the configured resource, or the branch's own word for it
  std::optional<std::int64_t> holder_pid;    ///< Owner::held_elsewhere: the live process that decides
  std::optional<std::chrono::seconds> age;   ///< since it was prepared, if the database tells
  std::optional<std::int64_t> decided_at_ms;

  Evidence evidence;
  std::vector<std::string> lines;  ///< the evidence in words, in the order it came: owner, log, database, answers
  Resolution resolution;           ///< after everything that was asked and done
  std::optional<Reply> answer;     ///< of the last verb that was tried; nothing when none was
  bool done = false;               ///< nothing is left to do for this branch: it was settled as it should be

  bool needs_person() const { return !done && resolution.needs_person(); }
};

/// One configured resource.
struct ResourceReport {
  enum class Problem {
    none,
    unreachable,       ///< or it refused to list its prepared branches; asked again at next_try
    identity_changed,  ///< rule 8: another database stands behind the name
    identity_shared,   ///< rule 8: another configured resource is the same database
    renamed,           ///< rule 8: the log knows this database under a name that `formerly` does not give
  };

  std::string name;
  std::string address;
  Problem problem = Problem::none;
  std::string text;  ///< what is wrong, one sentence; for identities, old and new
  std::string hint;  ///< what to do about it
  std::optional<Identity> identity;
  std::optional<Capabilities> capabilities;
  std::string product;
  std::size_t prepared = 0;  ///< branches that it listed, foreign ones too
  std::optional<std::chrono::steady_clock::time_point> next_try;

  bool usable() const { return problem == Problem::none; }
};

std::string_view to_string(ResourceReport::Problem problem);

/// One log in hand.
struct LogReport {
  LogId log{};
  bool moved = false;    ///< rule 2: presumes nothing until `assent log adopt`
  std::string repaired;  ///< DecisionLog::repaired()
  std::optional<std::string> poisoned;
  std::size_t unfinished = 0;  ///< decisions left after the pass
};

/// What one pass found and did. A value.
struct RecoveryReport {
  std::vector<BranchReport> branches;     ///< by transaction, then resource; foreign ones last
  std::vector<ResourceReport> resources;  ///< in the order they were given
  std::vector<LogReport> logs;
  std::vector<TransactionId> finished;  ///< decisions that left the log in this pass

  std::size_t needing_person() const;
  /// True when every resource answered and nothing of this log is left over: an adopted slot may be released. It proves
  /// nothing about late prepares: whoever looks for slots to adopt must come back to it.
  bool clean(LogId log) const;
  const ResourceReport* resource(const std::string& name) const;
};

}  // namespace assent
