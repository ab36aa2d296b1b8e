#pragma once

#include <string>

#include "assent/xa/error.h"

namespace assent::tool {

/// The exit codes, the same for every command; docs/operations.md has the table. Where several apply, the one that asks
/// most of the operator counts: see graver().
enum class Exit : int {
  done = 0,          ///< nothing is in doubt; what was asked for is done
  in_doubt = 1,      ///< something is still in doubt, and can be settled without a person
  usage = 2,         ///< the command line or the configuration is wrong, or names a wrong database
  needs_person = 3,  ///< something is in doubt that only a person can settle
  unreachable = 4,   ///< a database cannot be reached, or refused to answer
  log_damaged = 5,   ///< a log is damaged or cannot be written; nothing was skipped
  log_held = 6,      ///< a log is held by a live process, belongs to another node, or lies on a network file system
  unhealthy = 7,     ///< doctor found problems
  refused = 8,       ///< refused because of the evidence, or not confirmed; nothing was changed
  environment = 9,   ///< a file, directory or disk of this machine cannot be used
  internal = 70,     ///< a defect of this program
};

Exit exit_for(ErrorCode code);

/// The one of the two that asks more of the operator.
Exit graver(Exit a, Exit b);

/// The table for --help.
std::string exit_code_table();

}  // namespace assent::tool
