#include "assent/tools/assent/exit_code.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace assent::tool {

Exit exit_for(ErrorCode code) {
  switch (code) {
    case ErrorCode::misuse:
    case ErrorCode::configuration:
    case ErrorCode::resource_unfit:
      return Exit::usage;
    case ErrorCode::environment:
      return Exit::environment;
    case ErrorCode::log_damaged:
    case ErrorCode::log_failed:
      return Exit::log_damaged;
    case ErrorCode::log_foreign:
      return Exit::log_held;
    case ErrorCode::resource_down:
    case ErrorCode::too_late:
      return Exit::unreachable;
  }
  return Exit::internal;
}

Exit graver(Exit a, Exit b) {
  constexpr std::array order{Exit::done,     Exit::in_doubt,     Exit::unreachable, Exit::unhealthy,
                             Exit::refused,  Exit::needs_person, Exit::usage,       Exit::environment,
                             Exit::log_held, Exit::log_damaged,  Exit::internal};
  return std::find(order.begin(), order.end(), a) < std::find(order.begin(), order.end(), b) ? b : a;
}

std::string exit_code_table() {
  return "Exit codes:\n"
         "   0  nothing is in doubt; what was asked for is done\n"
         "   1  something is in doubt, and can be settled without a person\n"
         "   2  the command line or the configuration is wrong, or names a wrong database\n"
         "   3  something is in doubt that only a person can settle\n"
         "   4  a database cannot be reached, or refused to answer\n"
         "   5  a log is damaged or cannot be written; nothing was skipped\n"
         "   6  a log is held by a live process, belongs to another node, or is on a network disk\n"
         "   7  doctor found problems\n"
         "   8  refused because of the evidence, or not confirmed; nothing was changed\n"
         "   9  a file, directory or disk of this machine cannot be used\n"
         "  70  a defect of this program\n";
}

}  // namespace assent::tool
