#include "assent/tests/simulation/scheduler.h"

#include <cxxabi.h>
#include <sys/mman.h>

#include <algorithm>
#include <boost/context/detail/fcontext.hpp>
#include <cassert>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <utility>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

namespace assent::simulation {
namespace {

namespace context = boost::context::detail;

constexpr std::size_t stack_bytes = 256 << 10;
// Two threads that become ready at once go in the order of the dice.
constexpr Time moment = 2us;

/// The exceptions that a thread is handling belong to it, not to the thread of the system that runs them all.
struct Handling {
  void* caught = nullptr;
  unsigned int uncaught = 0;
};

void exchange(Handling& other) {
  Handling mine;
  void* const globals = abi::__cxa_get_globals();
  std::memcpy(&mine.caught, globals, sizeof mine.caught);
  std::memcpy(&mine.uncaught, static_cast<char*>(globals) + sizeof mine.caught, sizeof mine.uncaught);
  std::memcpy(globals, &other.caught, sizeof other.caught);
  std::memcpy(static_cast<char*>(globals) + sizeof mine.caught, &other.uncaught, sizeof other.uncaught);
  other = mine;
}

/// Sanitizers are told of every change of stacks: `leave` before the jump, `arrive` after it.
class Side {
 public:
#if defined(__SANITIZE_ADDRESS__)
  void begin_on(const void* bottom, std::size_t size) {
    bottom_ = bottom;
    size_ = size;
    // Threads that were killed left their frames' marks.
    ASAN_UNPOISON_MEMORY_REGION(bottom, size);
  }
  void end() {}
  void leave(const Side& to) {
    __sanitizer_start_switch_fiber(&fake_, to.bottom_, to.size_);
  }
  /// Learns where the other side's stack is, for the way back.
  void arrive(Side& from) {
    __sanitizer_finish_switch_fiber(fake_, &from.bottom_, &from.size_);
  }

 private:
  void* fake_ = nullptr;
  const void* bottom_ = nullptr;
  std::size_t size_ = 0;
#elif defined(__SANITIZE_THREAD__)
  void begin_on(const void*, std::size_t) {
    end();
    fiber_ = __tsan_create_fiber(0);
  }
  void end() {
    if (fiber_ != nullptr) __tsan_destroy_fiber(std::exchange(fiber_, nullptr));
  }
  void leave(const Side& to) {
    if (fiber_ == nullptr) fiber_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to.fiber_, 0);
  }
  void arrive(Side&) {}

 private:
  void* fiber_ = nullptr;
#else
  void begin_on(const void*, std::size_t) {}
  void end() {}
  void leave(const Side&) {}
  void arrive(Side&) {}
#endif
};

/// Stacks outlive their world: mapping one costs more than a transaction.
std::vector<char*>& spare_stacks() {
  static std::vector<char*> all;
  return all;
}

char* take_stack() {
  if (!spare_stacks().empty()) {
    char* const stack = spare_stacks().back();
    spare_stacks().pop_back();
    return stack;
  }
  void* const at =
      mmap(nullptr, stack_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (at == MAP_FAILED) std::abort();
  // Below the stack nothing may be written.
  mprotect(at, 4096, PROT_NONE);
  return static_cast<char*>(at);
}

}  // namespace

struct Fiber {
  Process* process = nullptr;
  char* stack = nullptr;
  context::fcontext_t context = nullptr;
  context::fcontext_t scheduler = nullptr;
  std::function<void()>* what = nullptr;  // in the process's memory
  Handling handling;
  Heap* heap = nullptr;  // current when it gave way
  std::uint64_t life = 0;
  bool parked = false;
  bool woken = false;
  bool ended = false;
  Side side;
  Side scheduler_side;
};

Scheduler* Scheduler::running = nullptr;

std::uint64_t Dice::next() {
  // splitmix64 (Steele, Lea, Flood 2014).
  std::uint64_t z = state_ += 0x9E3779B97F4A7C15U;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
  z = (z ^ z >> 27) * 0x94D049BB133111EBU;
  return z ^ z >> 31;
}

Scheduler::Scheduler(Dice& dice) : dice_(dice) {
  running = this;
  std::set_terminate(terminate);
}

Scheduler::~Scheduler() {
  while (!queue_.empty()) {
    delete queue_.top().what;
    queue_.pop();
  }
  for (const auto& fiber : fibers_) {
    fiber->side.end();
    spare_stacks().push_back(fiber->stack);
  }
  running = nullptr;
}

void Scheduler::due(Time delay, Fiber* fiber, std::function<void()>* what) {
  const InTheWorld world;
  queue_.push({now_ + delay, next_number_++, fiber, fiber == nullptr ? 0 : fiber->life, what});
}

void Scheduler::after(Time delay, std::function<void()> what) {
  const InTheWorld world;
  due(delay, nullptr, new std::function<void()>(std::move(what)));
}

Fiber* Scheduler::fresh() {
  if (!idle_.empty()) {
    Fiber* const again = idle_.back();
    idle_.pop_back();
    return again;
  }
  fibers_.push_back(std::make_unique<Fiber>());
  fibers_.back()->stack = take_stack();
  return fibers_.back().get();
}

void Scheduler::spawn(Process& process, std::function<void()> what) {
  Heap* const before = std::exchange(Heap::current, process.heap_.get());
  auto* const task = new std::function<void()>(std::move(what));
  Heap::current = nullptr;
  Fiber* const fiber = fresh();
  ++fiber->life;
  fiber->process = &process;
  fiber->what = task;
  fiber->handling = {};
  fiber->side.begin_on(fiber->stack + 4096, stack_bytes - 4096);
  fiber->heap = process.heap_.get();
  fiber->parked = fiber->woken = fiber->ended = false;
  fiber->context = context::make_fcontext(fiber->stack + stack_bytes, stack_bytes - 4096, [](context::transfer_t from) {
    auto* const self = static_cast<Fiber*>(from.data);
    self->scheduler = from.fctx;
    self->side.arrive(self->scheduler_side);
    enter(self);
  });
  process.fibers_.push_back(fiber);
  due(dice_.between(0ns, moment), fiber, nullptr);
  Heap::current = before;
}

void Scheduler::enter(void* fiber) {
  auto* const self = static_cast<Fiber*>(fiber);
  (*self->what)();
  delete self->what;
  self->ended = true;
  running->give_way();
  std::abort();  // never resumed
}

// Of a simulated process: the program goes on without it.
void Scheduler::terminate() {
  if (running == nullptr || running->current_ == nullptr || !running->on_terminate) std::abort();
  Heap::current = nullptr;
  running->after(0ns, [&process = *running->current_->process] { running->on_terminate(process); });
  while (true) running->give_way();
}

void Scheduler::give_way() {
  Fiber& self = *current_;
  self.side.leave(self.scheduler_side);
  const context::transfer_t from = context::jump_fcontext(self.scheduler, &self);
  self.side.arrive(self.scheduler_side);
  self.scheduler = from.fctx;
}

void Scheduler::resume(Fiber& fiber) {
  current_ = &fiber;
  Heap::current = fiber.heap;
  exchange(fiber.handling);
  fiber.scheduler_side.leave(fiber.side);
  const context::transfer_t back = context::jump_fcontext(fiber.context, &fiber);
  fiber.scheduler_side.arrive(fiber.side);
  fiber.context = back.fctx;
  exchange(fiber.handling);
  fiber.heap = std::exchange(Heap::current, nullptr);
  current_ = nullptr;
  if (fiber.ended) end(fiber);
}

void Scheduler::end(Fiber& fiber) {
  ++fiber.life;
  std::erase(fiber.process->fibers_, &fiber);
  fiber.process = nullptr;
  idle_.push_back(&fiber);
}

bool Scheduler::run(Time until, const std::function<bool()>& done) {
  while (!done()) {
    if (queue_.empty() || queue_.top().at > until) {
      now_ = std::max(now_, until);
      return false;
    }
    const Due next = queue_.top();
    queue_.pop();
    now_ = std::max(now_, next.at);
    ++steps_;
    if (next.what != nullptr) {
      const std::unique_ptr<std::function<void()>> what(next.what);
      (*what)();
    } else if (next.life == next.fiber->life) {
      if (const Time paused = next.fiber->process->paused_until_; paused > now_) {
        due(paused - now_, next.fiber, nullptr);
        continue;
      }
      resume(*next.fiber);
    }
  }
  return true;
}

Process& Scheduler::process() const {
  assert(current_ != nullptr);
  return *current_->process;
}

void Scheduler::sleep(Time how_long) {
  due(how_long + dice_.between(0ns, moment), current_, nullptr);
  give_way();
}

void Scheduler::park() {
  if (!std::exchange(current_->woken, false)) {
    current_->parked = true;
    give_way();
  }
  current_->woken = false;
}

void Scheduler::wake(Fiber* fiber) {
  if (fiber->parked) {
    fiber->parked = false;
    due(dice_.between(0ns, moment), fiber, nullptr);
  } else {
    fiber->woken = true;
  }
}

Ticket Scheduler::ticket() const {
  return {current_, current_->life};
}

void Scheduler::wake(const Ticket& ticket) {
  if (ticket.fiber->life == ticket.life) wake(ticket.fiber);
}

void Scheduler::kill(Process& process) {
  assert(current_ == nullptr || current_->process != &process);
  for (Fiber* const fiber : process.fibers_) {
    ++fiber->life;
    fiber->process = nullptr;
    idle_.push_back(fiber);
  }
  process.fibers_.clear();
  process.heap_.reset();
}

}  // namespace assent::simulation
