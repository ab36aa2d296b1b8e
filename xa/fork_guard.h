#pragma once

#include <cstdint>

namespace assent {

/// Tells a process from its forked children, without a system call: remembers the process that made it. In a child the
/// parent's log and sessions must be neither used nor closed (a goodbye on the shared socket would end the parent's
/// session), so owners of such things leak them when in_child().
class ForkGuard {
 public:
  ForkGuard();
  bool in_child() const;

 private:
  std::uint64_t generation_;
};

}  // namespace assent
