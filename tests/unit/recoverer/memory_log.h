#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "assent/recovery/decision_log.h"
#include "assent/recovery/live_transactions.h"

namespace assent {

/// A decision log that keeps its words in memory: for what recovery does with a log, not for what a log does.
class MemoryLog : public DecisionLog {
 public:
  explicit MemoryLog(LogId id) : id_(id) {}

  // What the log holds.
  Incarnation add_incarnation(std::uint64_t number, bool presumable = true, bool adopted = false) {
    incarnations_.push_back({Incarnation{number}, 0, 4711, 0, 0, presumable, adopted});
    return Incarnation{number};
  }
  TransactionId transaction(Incarnation incarnation, std::uint64_t sequence) const {
    return {DeciderKind::log, id_, incarnation, sequence};
  }
  void decide(const TransactionId& transaction, std::vector<std::string> resources) {
    Decision decision{transaction, "order 4711", 1'700'000'000'000, {}};
    for (std::string& each : resources) decision.branches.push_back({std::move(each), "evidence"});
    static_cast<void>(force(decision));
  }
  std::uint64_t mark(Incarnation incarnation) const {
    for (const auto& each : incarnations_) {
      if (each.incarnation == incarnation) return each.mark;
    }
    return 0;
  }

  /// What was done to the log, in order.
  std::vector<std::string> history;
  mutable std::function<void()> before_unfinished;  ///< runs once
  std::optional<std::string> poison;
  bool is_moved = false;
  bool disk_full = false;  ///< flush() does not succeed, and may later

  LogId id() const override { return id_; }
  std::string repaired() const override { return {}; }
  bool moved() const override { return is_moved; }
  void adopt() override {}
  Incarnation begin_incarnation() override { return add_incarnation(99); }
  std::vector<IncarnationRecord> incarnations() const override { return incarnations_; }
  Forced force(Decision decision) override {
    unfinished_[decision.id] = decision;
    return Forced::durable;
  }
  void finish(const TransactionId& transaction) override {
    history.push_back("finish " + std::to_string(transaction.sequence));
    unfinished_.erase(transaction);
    over_.insert(transaction);
    for (auto& each : incarnations_) {
      if (each.incarnation == transaction.incarnation) each.over_to = std::max(each.over_to, transaction.sequence + 1);
    }
  }
  void finish_recovered(const TransactionId& transaction) override {
    finish(transaction);
    history.back() = "finish recovered " + std::to_string(transaction.sequence);
  }
  bool is_over(const TransactionId& transaction) const override {
    return over_.contains(transaction) || transaction.sequence < mark(transaction.incarnation);
  }
  bool recovered(const TransactionId&) const override { return false; }
  void forget(const TransactionId&) override {}
  bool forgotten(const TransactionId&) const override { return false; }
  void raise_mark(Incarnation incarnation, std::uint64_t to) override {
    history.push_back("mark " + std::to_string(to));
    for (auto& each : incarnations_) {
      if (each.incarnation != incarnation) continue;
      each.mark = to;
      each.over_to = std::max(each.over_to, to);
    }
  }
  bool flush() override {
    history.emplace_back("flush");
    return !poison && !disk_full;
  }
  std::map<TransactionId, Decision> unfinished() const override {
    if (const auto once = std::exchange(before_unfinished, {})) once();
    return unfinished_;
  }
  std::optional<Decision> find(const TransactionId& transaction) const override {
    const auto found = unfinished_.find(transaction);
    return found == unfinished_.end() ? std::nullopt : std::optional(found->second);
  }
  void note_resource(const LoggedResource& resource) override {
    history.push_back("note " + resource.name);
    for (auto& each : resources_) {
      if (each.name == resource.name) {
        each = resource;
        return;
      }
    }
    resources_.push_back(resource);
  }
  std::vector<LoggedResource> resources() const override { return resources_; }
  void note_person(const TransactionId&, const std::string&, const std::string&) override {}
  std::optional<std::string> poisoned() const override { return poison; }
  Counters counters() const override { return {}; }

 private:
  const LogId id_;
  std::vector<IncarnationRecord> incarnations_;
  std::map<TransactionId, Decision> unfinished_;
  std::vector<LoggedResource> resources_;
  std::set<TransactionId> over_;
};

/// An engine that says what it is told to say, and remembers what it was told.
class ScriptedEngine : public LiveTransactions {
 public:
  LiveState state(const TransactionId& id) override {
    if (before_state) before_state(id);
    const auto found = states.find(id);
    return found == states.end() ? LiveState{.says = EngineSays::over, .done = {}} : found->second;
  }
  std::vector<UnconfirmedRollback> rollback_unconfirmed() override { return unconfirmed; }
  void resolved(const TransactionId& id, const std::string& resource, const Reply& reply) override {
    told.push_back("resolved " + std::to_string(id.sequence) + ' ' + resource + ' ' +
                   std::string(xopen_name(reply.code)));
  }
  void finished(const TransactionId& id) override { told.push_back("finished " + std::to_string(id.sequence)); }

  std::map<TransactionId, LiveState> states;
  std::vector<UnconfirmedRollback> unconfirmed;
  std::function<void(const TransactionId&)> before_state;
  std::vector<std::string> told;
};

}  // namespace assent
