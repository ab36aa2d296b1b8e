#include "assent/tm/outcome.h"

namespace assent {

std::string_view to_string(OutcomeKind kind) {
  switch (kind) {
    case OutcomeKind::committed:
      return "committed";
    case OutcomeKind::rolled_back:
      return "rolled back";
    case OutcomeKind::in_doubt:
      return "in doubt";
    case OutcomeKind::heuristic:
      return "heuristic";
  }
  return "unknown";
}

const Outcome::Told& Outcome::of_none() {
  static const Told none;
  return none;
}

std::vector<std::string> Outcome::pending() const {
  std::vector<std::string> names;
  for (const BranchOutcome& branch : branches()) {
    if (branch.state == "pending") names.push_back(branch.resource);
  }
  return names;
}

bool Outcome::worth_retrying() const {
  return kind() == OutcomeKind::rolled_back &&
         (cause().code == Code::rb_deadlock || cause().code == Code::rb_transient);
}

std::string Outcome::text() const {
  std::string out{to_string(kind())};
  out += ' ' + id().text();
  if (!branches().empty()) {
    out += " (";
    for (const BranchOutcome& branch : branches()) {
      if (&branch != &branches().front()) out += ", ";
      out += branch.resource + ": " + branch.state;
    }
    out += ')';
  }
  if (!reason().empty()) out += ": " + reason();
  if (cause().code != Code::ok) out += " [" + describe(cause()) + ']';
  return out;
}

}  // namespace assent
