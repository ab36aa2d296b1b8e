#pragma once

#include <stdexcept>
#include <string>
#include <utility>

#include "assent/tools/assent/exit_code.h"

namespace assent::tool {

/// Ends a command with one sentence, a hint and an exit code. Nothing was changed, unless the sentence says so.
class Stop : public std::runtime_error {
 public:
  Stop(Exit exit, const std::string& what, std::string hint)
      : std::runtime_error(what), exit_(exit), hint_(std::move(hint)) {}

  Exit exit() const { return exit_; }
  const std::string& hint() const { return hint_; }

 private:
  Exit exit_;
  std::string hint_;
};

}  // namespace assent::tool
