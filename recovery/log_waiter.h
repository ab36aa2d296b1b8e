#pragma once

#include <algorithm>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "assent/recovery/decision_log.h"
#include "assent/recovery/log_record.h"
#include "assent/xa/machine.h"

namespace assent::log {

/// Who waits in the queue of the decision log until a record is written; without a record, until all is that was only
/// said. A thread that waits has it on its stack. One that no thread waits for (DecisionLog::force_then) is owned by
/// the queue, and then by whoever tells it.
struct Waiter {
  enum class Word { none, lead, answered };

  explicit Waiter(std::optional<Record> of) : record(std::move(of)) {
    if (!record) return;
    bytes.reserve(usual_bytes);
    append(bytes, *record);
  }
  bool has_thread() const { return told == nullptr; }

  /// The thread's own: it needs no lock that another thread may hold, and once it is answered, it and the waiter go.
  Word await() {
    std::unique_lock lock(mutex);
    turn.wait(lock, [this] { return word != Word::none; });
    return word;
  }
  void tell(Word what) {
    const std::lock_guard lock(mutex);
    word = what;
    turn.notify_one();
  }

  static constexpr std::size_t usual_bytes = 128;

  std::optional<Record> record;
  std::string bytes;
  bool done = false;  ///< `forced` is known
  Forced forced = Forced::refused;
  Mutex mutex;  ///< of what follows
  Condition turn;
  Word word = Word::none;
  std::function<void(Forced)> told;  ///< where there is no thread, as what follows
  DecisionLog::Post call_writer;
};

/// That they are answered. Threads first: what is called for the others may take its time. None of them is there
/// afterwards.
inline void tell(std::vector<Waiter*> answered) {
  std::stable_partition(answered.begin(), answered.end(), [](const Waiter* each) { return each->has_thread(); });
  for (Waiter* const each : answered) {
    if (each->has_thread()) {
      each->tell(Waiter::Word::answered);
      continue;
    }
    const std::unique_ptr<Waiter> patient(each);
    patient->told(patient->forced);
  }
}

}  // namespace assent::log
