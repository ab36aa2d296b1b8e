#pragma once

#include <cstddef>
#include <cstdint>

namespace assent::simulation {

/// The memory of one simulated process. A process that is killed runs no destructor: its memory is taken away as a
/// whole. Allocation goes through the program's operator new, to the heap that is current; without one, to malloc.
class Heap {
 public:
  Heap();
  ~Heap();
  Heap(const Heap&) = delete;
  Heap& operator=(const Heap&) = delete;

  void* allocate(std::size_t bytes);
  /// The `number`-th allocation from now (from 1) throws std::bad_alloc.
  void fail_allocation(std::uint64_t number) { fail_at_ = allocations_ + number; }
  std::uint64_t allocations() const { return allocations_; }

  static Heap* current;
  static bool owns(const void* pointer);

 private:
  friend void give_back(void* pointer, std::size_t bytes);
  struct Free {
    Free* next;
  };
  static constexpr std::size_t classes = 64;  // of 16 bytes each; what is larger is not used again

  char* const begin_;
  std::size_t used_ = 0;
  std::uint64_t allocations_ = 0;
  std::uint64_t fail_at_ = 0;
  Free* free_[classes + 1] = {};
};

/// While it lives, what is allocated belongs to the world and outlives the process.
class InTheWorld {
 public:
  InTheWorld() : before_(Heap::current) { Heap::current = nullptr; }
  ~InTheWorld() { Heap::current = before_; }
  InTheWorld(const InTheWorld&) = delete;
  InTheWorld& operator=(const InTheWorld&) = delete;

 private:
  Heap* const before_;
};

}  // namespace assent::simulation
