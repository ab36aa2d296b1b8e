#pragma once

#include "assent/tools/assent/survey.h"
#include "assent/tools/assent/terminal.h"

namespace assent::tool {

struct ListingOptions {
  bool all = false;
  std::string program = "assent";  ///< Context::program()
};

/// The table of branches and, below it, what else an operator must know. The same after `list` and `resolve`.
void print_listing(const RecoveryReport& report, const ListingOptions& options, Terminal& terminal);

/// Resources and logs that are not as they should be, one paragraph each.
void print_resource_troubles(const RecoveryReport& report, Terminal& terminal);
void print_slot_troubles(const std::vector<SlotSurvey>& slots, const std::string& program, Terminal& terminal);

/// Resources that a log knows and the configuration names no more.
std::vector<LoggedResource> unnamed_resources(const Survey& survey, const Setup& setup);

}  // namespace assent::tool
