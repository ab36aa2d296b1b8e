#include "assent/tests/simulation/heap.h"

#include <sys/mman.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <new>
#include <vector>

namespace assent::simulation {
namespace {

// Address space only; pages come when they are touched, and stay for the next process.
constexpr std::size_t heap_bytes = std::size_t{256} << 20;
constexpr std::size_t max_heaps = 64;
constexpr std::size_t alignment = 16;

struct Region {
  char* base = nullptr;
  std::array<bool, max_heaps> taken{};
};

Region& region() {
  static Region all = [] {
    Region made;
    void* const at = mmap(nullptr, heap_bytes * max_heaps, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) std::abort();
    made.base = static_cast<char*>(at);
    return made;
  }();
  return all;
}

char* take() {
  Region& all = region();
  for (std::size_t i = 0; i < max_heaps; ++i) {
    if (all.taken[i]) continue;
    all.taken[i] = true;
    return all.base + i * heap_bytes;
  }
  std::abort();
}

}  // namespace

Heap* Heap::current = nullptr;

Heap::Heap() : begin_(take()) {}

Heap::~Heap() {
  region().taken[static_cast<std::size_t>(begin_ - region().base) / heap_bytes] = false;
}

bool Heap::owns(const void* pointer) {
  const auto at = reinterpret_cast<std::uintptr_t>(pointer);
  const auto base = reinterpret_cast<std::uintptr_t>(region().base);
  return at - base < heap_bytes * max_heaps;
}

void* Heap::allocate(std::size_t bytes) {
  if (++allocations_ == fail_at_) throw std::bad_alloc();
  const std::size_t units = bytes == 0 ? 1 : (bytes + alignment - 1) / alignment;
  if (units <= classes && free_[units] != nullptr) {
    Free* const again = free_[units];
    free_[units] = again->next;
    return again;
  }
  if (heap_bytes - used_ < units * alignment) throw std::bad_alloc();
  char* const at = begin_ + used_;
  used_ += units * alignment;
  return at;
}

/// `bytes` 0: not known.
void give_back(void* pointer, std::size_t bytes) {
  if (!Heap::owns(pointer)) {
    std::free(pointer);
    return;
  }
  // Only into the lists of the process that runs: another's may be gone already.
  Heap* const heap = Heap::current;
  const std::size_t units = (bytes + alignment - 1) / alignment;
  if (heap == nullptr || units == 0 || units > Heap::classes) return;
  if (static_cast<std::size_t>(static_cast<char*>(pointer) - heap->begin_) >= heap_bytes) return;
  auto* const free = static_cast<Heap::Free*>(pointer);
  free->next = heap->free_[units];
  heap->free_[units] = free;
}

}  // namespace assent::simulation

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)

void* operator new(std::size_t bytes) {
  if (assent::simulation::Heap::current != nullptr) return assent::simulation::Heap::current->allocate(bytes);
  void* const at = std::malloc(bytes == 0 ? 1 : bytes);
  if (at == nullptr) throw std::bad_alloc();
  return at;
}

void operator delete(void* pointer) noexcept {
  if (pointer != nullptr) assent::simulation::give_back(pointer, 0);
}

void operator delete(void* pointer, std::size_t bytes) noexcept {
  if (pointer != nullptr) assent::simulation::give_back(pointer, bytes);
}

#endif

#ifdef __SANITIZE_ADDRESS__
// There a killed process leaves what it had.
extern "C" const char* __asan_default_options();
extern "C" const char* __asan_default_options() {
  return "detect_leaks=0";
}
#endif
