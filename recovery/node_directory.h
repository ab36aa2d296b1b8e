#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "assent/recovery/decision_log.h"
#include "assent/recovery/file_system.h"

namespace assent {

/// A log slot whose lock this process holds. Released (and the log closed) by destruction; in a forked child
/// destruction releases nothing of the parent's.
class Slot {
 public:
  virtual ~Slot() = default;
  virtual int number() const = 0;
  virtual DecisionLog& log() = 0;
};

/// What can be said of a slot from outside.
struct SlotState {
  int number = 0;
  std::string directory;
  std::optional<std::int64_t> holder_pid;  ///< the live process that holds it
  std::optional<LogId> log;                ///< read from the slot without opening its log; nothing if it has none yet
};

/// A node's directory: `node` (its name) and one `slot-NNNN` for each process that has it open (rule 9). Thread-safe.
class NodeDirectory {
 public:
  /// Opens or creates it. Throws Error{log_foreign} when it belongs to another node or lies on a network file system,
  /// Error{environment} when it cannot be used; each says what to do.
  static std::unique_ptr<NodeDirectory> open(FileSystem& files, const std::string& path, const std::string& node,
                                             const LogOptions& options = {});
  virtual ~NodeDirectory() = default;

  virtual const std::string& path() const = 0;
  virtual const std::string& node() const = 0;

  /// Whether a log may be the caller's own. Asked of logs that this process holds meanwhile.
  using Fits = std::function<bool(const DecisionLog&)>;
  /// A slot of one's own: the lowest that nobody holds and whose log fits (empty: any does), or a new one. What does
  /// not fit is left as it was, to be claimed or adopted by others.
  virtual std::unique_ptr<Slot> claim(const Fits& fits = {}) = 0;
  virtual std::vector<SlotState> slots() const = 0;
  /// Takes over a slot whose process is gone; nothing if somebody holds it (this process included).
  virtual std::unique_ptr<Slot> adopt(int number) = 0;
};

}  // namespace assent
