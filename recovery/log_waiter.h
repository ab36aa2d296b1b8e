#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

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

}  // namespace assent::log
