#pragma once

#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "assent/recovery/decision_log.h"
#include "assent/recovery/log_record.h"
#include "assent/xa/machine.h"

namespace assent::log {

/// Who waits in the queue of the decision log until a record is written; without a record, until all is that was only
/// said. A thread that waits has it on its stack. One that no thread waits for (DecisionLog::force_then) is owned by
/// the queue.
struct Waiter {
  explicit Waiter(std::optional<Record> of) : record(std::move(of)) {
    if (record) append(bytes, *record);
  }
  bool has_thread() const { return told == nullptr; }

  std::optional<Record> record;
  std::string bytes;
  bool done = false;
  Forced forced = Forced::refused;
  Condition turn;                    ///< of the thread
  std::function<void(Forced)> told;  ///< where there is none, as what follows
  DecisionLog::Post call_writer;
};

}  // namespace assent::log
