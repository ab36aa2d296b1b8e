#include "assent/recovery/recoverer.h"

#include <utility>

#include "assent/recovery/recovery_pass.h"

namespace assent {
namespace {

void run_on_threads(std::vector<std::function<void()>> tasks) {
  if (tasks.empty()) return;
  std::vector<Thread> threads;
  for (std::size_t i = 1; i < tasks.size(); ++i) threads.emplace_back(std::move(tasks[i]));
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
