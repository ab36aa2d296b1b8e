#pragma once

#include "assent/xa/branch.h"
#include "assent/xa/resource_manager.h"

namespace assent {

/// An adapter's handle whose native session is the branch itself: for any resource that has no other.
struct Bare {
  using Session = Branch;
  using Connection = int;
  static constexpr const char* kind = "bare";
  static Session& session(Branch& branch) { return branch; }
  static bool owns(const ResourceManager&) { return true; }
};

}  // namespace assent
