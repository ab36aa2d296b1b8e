#include "assent/xa/fork_guard.h"

#include <pthread.h>

#include <atomic>

namespace assent {
namespace {

std::atomic<std::uint64_t> generation{0};

void in_new_child() {
  generation.fetch_add(1, std::memory_order_relaxed);
}

std::uint64_t current_generation() {
  static const int registered = pthread_atfork(nullptr, nullptr, in_new_child);
  static_cast<void>(registered);
  return generation.load(std::memory_order_relaxed);
}

}  // namespace

ForkGuard::ForkGuard() : generation_(current_generation()) {}

bool ForkGuard::in_child() const {
  return generation_ != generation.load(std::memory_order_relaxed);
}

}  // namespace assent
