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

std::vector<std::string> Outcome::pending() const {
  std::vector<std::string> names;
  for (const BranchOutcome& branch : branches_) {
    if (branch.state == "pending") names.push_back(branch.resource);
  }
  return names;
}

bool Outcome::worth_retrying() const {
  return kind_ == OutcomeKind::rolled_back && (cause_.code == Code::rb_deadlock || cause_.code == Code::rb_transient);
}

std::string Outcome::text() const {
  std::string out{to_string(kind_)};
  out += ' ' + id_.text();
  if (!branches_.empty()) {
    out += " (";
    for (const BranchOutcome& branch : branches_) {
      if (&branch != &branches_.front()) out += ", ";
      out += branch.resource + ": " + branch.state;
    }
    out += ')';
  }
  if (!reason_.empty()) out += ": " + reason_;
  if (cause_.code != Code::ok) out += " [" + describe(cause_) + ']';
  return out;
}

}  // namespace assent
