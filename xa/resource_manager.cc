#include "assent/xa/resource_manager.h"

namespace assent {

std::string_view to_string(Fate fate) {
  switch (fate) {
    case Fate::committed:
      return "committed";
    case Fate::rolled_back:
      return "rolled back";
    case Fate::in_progress:
      return "in progress";
    case Fate::unknown:
      return "unknown";
  }
  return "unknown";
}

}  // namespace assent
