#pragma once

#include <memory>
#include <string>
#include <vector>

#include "assent/recovery/decision_log.h"
#include "assent/recovery/file_system.h"
#include "assent/recovery/log_record.h"
#include "assent/recovery/log_state.h"

namespace assent {

/// A log as it stood on disk when it was read: without its lock and without changing a byte, so also while a live
/// process writes it. Good for a dry run of recovery; every attempt to change it is refused.
class LogView : public DecisionLog {
 public:
  /// Throws Error{log_damaged} where DecisionLog::open() would, Error{environment} when it cannot be read.
  static std::unique_ptr<LogView> read(FileSystem& files, const std::string& directory);

  LogId id() const override { return id_; }
  std::string repaired() const override { return torn_; }
  bool moved() const override { return state_.moved(); }
  void adopt() override { refuse(); }
  Incarnation begin_incarnation() override { refuse(); }
  std::vector<IncarnationRecord> incarnations() const override;
  Forced force(Decision) override { return Forced::refused; }
  void finish(const TransactionId&) override {}
  void finish_recovered(const TransactionId&) override {}
  void raise_mark(Incarnation, std::uint64_t) override {}
  bool is_over(const TransactionId& id) const override { return state_.is_over(id); }
  bool recovered(const TransactionId& id) const override { return state_.recovered(id); }
  void forget(const TransactionId&) override { refuse(); }
  bool forgotten(const TransactionId& id) const override { return state_.forgotten(id); }
  bool flush() override { return false; }
  std::map<TransactionId, Decision> unfinished() const override { return state_.unfinished(); }
  std::optional<Decision> find(const TransactionId& id) const override;
  void note_resource(const LoggedResource&) override { refuse(); }
  std::vector<LoggedResource> resources() const override;
  void note_person(const TransactionId&, const std::string&, const std::string&) override { refuse(); }
  std::optional<std::string> poisoned() const override { return std::nullopt; }
  Counters counters() const override { return {}; }

  /// What persons decided, oldest first, as far as the log remembers.
  const std::vector<log::PersonNote>& notes() const { return notes_; }

 private:
  LogView() = default;
  [[noreturn]] static void refuse();

  LogId id_{};
  std::string torn_;
  log::State state_;
  std::vector<log::PersonNote> notes_;
};

}  // namespace assent
