#include "assent/xa/reply.h"

namespace assent {

std::string_view to_string(Certainty certainty) {
  switch (certainty) {
    case Certainty::done:
      return "done";
    case Certainty::not_done:
      return "not done";
    case Certainty::unknown:
      return "unknown";
  }
  return "unknown";
}

std::string describe(const Reply& reply) {
  std::string out{xopen_name(reply.code)};
  out += " (";
  out += to_string(reply.certainty);
  out += ')';
  if (!reply.text.empty()) {
    out += ": ";
    out += reply.text;
  }
  return out;
}

}  // namespace assent
