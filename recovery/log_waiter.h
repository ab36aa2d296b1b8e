#pragma once

#include <algorithm>
#include <functional>
#include <memory>
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

  /// On the stack, too: once it is answered, it and the waiter go.
  class Sleeper {
   public:
    Word await() {
      called_.acquire();
      return word_;
    }
    void tell(Word what) {
      word_ = what;
      called_.release();
    }

   private:
    Semaphore called_;
    Word word_ = Word::none;
  };

  explicit Waiter(std::optional<Record> of) : record(std::move(of)) {
    if (!record) return;
    bytes.reserve(usual_bytes);
    append(bytes, *record);
  }
  static constexpr std::size_t usual_bytes = 128;

  std::optional<Record> record;
  std::string bytes;
  bool done = false;  ///< `forced` is known
  Forced forced = Forced::refused;
  Sleeper* sleeper = nullptr;        ///< the thread, where one waits
  std::function<void(Forced)> told;  ///< where there is no thread, as what follows
  DecisionLog::Post call_writer;
};

/// That they are answered. Threads first: what is called for the others may take its time. None of them is there
/// afterwards.
inline void tell(std::vector<Waiter*> answered) {
  std::stable_partition(answered.begin(), answered.end(), [](const Waiter* each) { return each->sleeper != nullptr; });
  for (Waiter* const each : answered) {
    if (each->sleeper != nullptr) {
      each->sleeper->tell(Waiter::Word::answered);
      continue;
    }
    const std::unique_ptr<Waiter> patient(each);
    patient->told(patient->forced);
  }
}

}  // namespace assent::log
