#include "assent/recovery/recoverer.h"

#include <system_error>
#include <utility>

#include "assent/recovery/recovery_pass.h"

namespace assent {
namespace {

void run_on_threads(std::vector<std::function<void()>> tasks) {
  if (tasks.empty()) return;
  std::vector<Thread> threads;
  threads.reserve(tasks.size());
  std::size_t own = 1;
  try {
    for (std::size_t i = 1; i < tasks.size(); ++i, ++own) threads.emplace_back(std::cref(tasks[i]));
  } catch (const std::system_error&) {
    // No thread to be had: this may be one of a site, whose end by an exception would end the program.
  }
  for (std::size_t i = own; i < tasks.size(); ++i) tasks[i]();
  tasks.front()();
}

}  // namespace

Recoverer::Recoverer(std::vector<RecoverableResource> resources) : Recoverer(std::move(resources), Options{}) {}

Recoverer::Recoverer(std::vector<RecoverableResource> resources, Options options)
    : resources_(std::move(resources)), options_(std::move(options)) {}

RecoveryReport Recoverer::pass(const std::vector<LogInHand>& logs, const std::vector<SlotState>& slots,
                               const Pass& how) {
  const std::lock_guard lock(one_pass_);
  return RecoveryPass(*this, logs, slots, how).run();
}

RecoveryReport Recoverer::gather(const std::vector<LogInHand>& logs, const std::vector<SlotState>& slots,
                                 std::chrono::steady_clock::time_point now) {
  return pass(logs, slots, {.now = now, .dry_run = true, .ask_all_now = true, .only = std::nullopt});
}

void RecoveryPass::run_all(std::vector<std::function<void()>> tasks) const {
  if (recoverer_.options_.run_all) {
    recoverer_.options_.run_all(std::move(tasks));
  } else {
    run_on_threads(std::move(tasks));
  }
}

}  // namespace assent
