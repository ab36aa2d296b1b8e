#pragma once

#include <cstddef>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "assent/recovery/log_record.h"

namespace assent::log {

/// What a log says: its records, applied in their order. The same for the reader, for the open log and for the
/// checkpoint that a new segment begins with. Not thread-safe.
class State {
 public:
  /// Oldest incarnations beyond this are forgotten: their aborts are then not presumed.
  static constexpr std::size_t max_incarnations = 4096;
  static constexpr std::size_t max_resources = 1024;
  /// Newest commits kept that recovery finished.
  static constexpr std::size_t max_recovered = 1024;
  /// Newest decisions kept that persons gave up on.
  static constexpr std::size_t max_forgotten = 1024;
  /// Newest notes of persons kept.
  static constexpr std::size_t max_notes = 256;

  using Decisions = std::map<TransactionId, Decision>;

  void apply(Record&& record);
  /// The transaction is over, as if a Finished was applied. Gives back its decision, where there is one.
  Decisions::node_type end(const TransactionId& id);

  /// Records that, applied to an empty state, give this one.
  template <class Sink>
  void checkpoint(Sink&& sink) const {
    if (moved_) sink(Record{*moved_});
    for (const Begun& begun : incarnations_) {
      sink(Record{begun});
      const auto above = over_.find(begun.incarnation.incarnation);
      if (above == over_.end()) continue;
      for (const auto& [from, to] : above->second) sink(Record{Over{above->first, from, to}});
    }
    for (const auto& [name, resource] : resources_) sink(Record{resource});
    for (const PersonNote& note : notes_) sink(Record{note});
    for (const TransactionId& id : recovered_) sink(Record{Recovered{id}});
    for (const TransactionId& id : forgotten_) sink(Record{Forgotten{id}});
    for (const auto& [id, decision] : unfinished_) sink(Record{decision});
  }

  const Decisions& unfinished() const { return unfinished_; }
  const std::vector<Begun>& incarnations() const { return incarnations_; }
  const std::map<std::string, LoggedResource>& resources() const { return resources_; }
  /// The log is a copy that nobody has adopted.
  bool moved() const { return moved_.has_value(); }
  /// The transaction is known to be over: below its incarnation's mark, or said to be above it.
  bool is_over(const TransactionId& id) const;
  /// Recovery finished its commit, and it is among the newest of those.
  bool recovered(const TransactionId& id) const;
  /// A person gave up on its decision, and it is among the newest of those.
  bool forgotten(const TransactionId& id) const;
  /// Every one of them is.
  bool knows(const Over& over) const;
  std::uint64_t mark(Incarnation incarnation) const;
  std::uint64_t over_to(Incarnation incarnation) const;
  /// All of an incarnation that is over, the part below its mark first.
  std::vector<Over> over(Incarnation incarnation) const;

 private:
  std::vector<Begun>::const_iterator find(Incarnation incarnation) const;
  void add(const Over& over);

  std::optional<Moved> moved_;
  std::vector<Begun> incarnations_;  // oldest first
  /// What is over above the mark, as intervals that neither touch nor overlap: where each begins, and where it has
  /// ended. The holes are transactions that are not over, so there are hardly more of them than of those.
  std::map<Incarnation, std::map<std::uint64_t, std::uint64_t>> over_;
  std::map<std::string, LoggedResource> resources_;
  std::vector<PersonNote> notes_;        // oldest first
  std::deque<TransactionId> recovered_;  // oldest first
  std::deque<TransactionId> forgotten_;  // oldest first
  Decisions unfinished_;
};

}  // namespace assent::log
