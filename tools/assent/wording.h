#pragma once

#include <string>
#include <string_view>

#include "assent/tools/assent/survey.h"

namespace assent::tool {

/// What the database says of the branch, in a word or two for a table.
std::string state_word(const BranchReport& branch);
/// What will become of the branch, likewise.
std::string next_word(const BranchReport& branch);

/// One or two sentences about a whole transaction, for somebody who was just woken up.
std::string headline(const Survey& survey, const TransactionId& id);

/// What to do about one branch: a sentence, and the command to type (after the program's name), if there is one.
struct Advice {
  std::string sentence;
  std::string command;
  bool operator==(const Advice&) const = default;
};
Advice advice(const BranchReport& branch, const std::string& short_name);

}  // namespace assent::tool
