#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace assent {

/// Why a call was refused, where a caller acts differently. Outcomes of transactions are values, never errors.
enum class ErrorCode {
  misuse,          ///< the calling program is wrong
  configuration,   ///< the configuration or a URL is wrong
  environment,     ///< directory, disk or permission
  log_damaged,     ///< the log is wrong before its last batch; nothing was skipped
  log_foreign,     ///< the log belongs to another node, or lies on a network file system
  log_failed,      ///< a force of the log failed; reopen the log
  resource_down,   ///< a database cannot be reached now
  resource_unfit,  ///< a database can be reached, but cannot take part (setting, privilege, identity)
  too_late,        ///< the transaction's deadline has passed
};

/// Misuse and start-up throw this. `what()` is one sentence that says what happened and to what; `hint()` what to do.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& what, std::string hint)
      : std::runtime_error(what), code_(code), hint_(std::move(hint)) {}

  ErrorCode code() const { return code_; }
  const std::string& hint() const { return hint_; }

 private:
  ErrorCode code_;
  std::string hint_;
};

}  // namespace assent
