#include "assent/tm/live_table.h"

#include <algorithm>
#include <utility>

namespace assent::detail {

namespace {

/// Nothing is left to do for it.
bool is_over(const Outcome& outcome) {
  if (outcome.kind() != OutcomeKind::committed && outcome.kind() != OutcomeKind::rolled_back) return false;
  return std::ranges::none_of(outcome.branches(), [](const BranchOutcome& branch) {
    return branch.state == "pending" || branch.state == "rollback unconfirmed";
  });
}

std::string in_doubt_at(const Outcome& outcome) {
  for (const BranchOutcome& branch : outcome.branches()) {
    if (branch.state == "in doubt") return branch.resource;
  }
  return {};
}

}  // namespace

LiveTable::LiveTable(DecisionLog& log, Incarnation incarnation, Observer& observer)
    : log_(log), incarnation_(incarnation), observer_(observer) {
  log_.raise_mark(incarnation_, next_);
}

TransactionId LiveTable::begin(const std::string& last_resource) {
  // What can fail for want of memory comes before the entry, which would be active for ever.
  std::string decider = last_resource;
  TransactionId id{last_resource.empty() ? DeciderKind::log : DeciderKind::resource, log_.id(), incarnation_, 0,
                   last_resource};
  // Numbered and entered under one lock: a number outside of the table could be passed by the mark.
  const std::lock_guard lock(mutex_);
  Entries::iterator entry;
  if (spare_.empty()) {
    entry = entries_.try_emplace(entries_.end(), next_);
  } else {
    spare_.back().key() = next_;
    entry = entries_.insert(entries_.end(), std::move(spare_.back()));
    spare_.pop_back();
  }
  entry->second.last_resource = std::move(decider);
  id.sequence = next_++;
  return id;
}

TransactionId LiveTable::id_of(std::uint64_t sequence, const Entry& entry) const {
  return {entry.last_resource.empty() ? DeciderKind::log : DeciderKind::resource, log_.id(), incarnation_, sequence,
          entry.last_resource};
}

void LiveTable::acknowledge(const Outcome& outcome) {
  const std::lock_guard lock(mutex_);
  entries_.at(outcome.id().sequence).acknowledged = outcome;
}

void LiveTable::complete(const Outcome& outcome, const Ending& ending) {
  // Every transaction comes by here: what can be is done outside of the lock.
  Outcome kept = outcome;
  const bool all_done = is_over(outcome);
  if (all_done) log_.finish(outcome.id());
  Entries::node_type ended;
  {
    const std::lock_guard lock(mutex_);
    kept = remember(std::move(kept));
    if (all_done) {
      // After the log: were the entry gone before, recovery could take the transaction for one that never decided.
      ended = entries_.extract(outcome.id().sequence);
      if (ended && spare_.size() < spares) {
        ended.mapped() = Entry();
        spare_.push_back(std::move(ended));
      }
    } else {
      file(outcome, ending);
    }
  }
  ended_.notify_all();
}

void LiveTable::file(const Outcome& outcome, const Ending& ending) {
  const auto found = entries_.find(outcome.id().sequence);
  if (found == entries_.end()) return;
  Entry& entry = found->second;
  entry.acknowledged.reset();
  for (std::size_t i = 0; i < outcome.branches().size(); ++i) {
    const BranchOutcome& branch = outcome.branches()[i];
    if (branch.state == "committed") entry.done.push_back(branch.resource);
    const bool in_doubt = branch.state == "in doubt" && branch.resource != entry.last_resource;
    if (branch.state == "rollback unconfirmed" || in_doubt) {
      entry.unconfirmed.emplace(branch.resource, ending.evidence[i]);
    }
  }
  switch (outcome.kind()) {
    case OutcomeKind::in_doubt:
      entry.says = EngineSays::in_doubt;
      entry.settles = entry.last_resource;
      if (ending.one_phase) {
        entry.settles = in_doubt_at(outcome);
        entry.unconfirmed.clear();
      }
      return;
    case OutcomeKind::heuristic:
      // Stays until a person forgets it; what is pending beside it goes on.
      entry.says = ending.decided ? EngineSays::decided : EngineSays::rollback_unconfirmed;
      if (!ending.decided && entry.unconfirmed.empty()) return over(outcome.id());
      return;
    case OutcomeKind::committed:
      entry.says = EngineSays::decided;
      return;
    case OutcomeKind::rolled_back:
      entry.says = EngineSays::rollback_unconfirmed;
      return;
  }
}

bool LiveTable::settled(const TransactionId& id, OutcomeKind kind) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id.sequence);
  if (found == entries_.end() || found->second.settles.empty()) return false;  // another thread was told, too
  Entry& entry = found->second;
  const std::string settled_by = std::exchange(entry.settles, {});
  const bool committed = kind == OutcomeKind::committed;
  if (const auto known = outcomes_.find(id.sequence); known != outcomes_.end()) {
    std::vector<BranchOutcome> branches = known->second.branches();
    for (BranchOutcome& branch : branches) {
      if (branch.state != "in doubt") continue;
      branch.state = branch.resource == settled_by ? to_string(kind) : committed ? "pending" : "rollback unconfirmed";
    }
    known->second = Outcome(kind, id, known->second.reason(), known->second.cause(), std::move(branches));
  }
  if (entry.unconfirmed.empty()) {
    over(id);
    return false;
  }
  entry.says = committed ? EngineSays::decided : EngineSays::rollback_unconfirmed;
  if (committed) {
    entry.unconfirmed.clear();
    entry.done.push_back(settled_by);
  }
  return true;
}

std::optional<Outcome> LiveTable::known(const TransactionId& id) const {
  const std::lock_guard lock(mutex_);
  if (id.incarnation != incarnation_) return std::nullopt;
  const auto entry = entries_.find(id.sequence);
  if (entry != entries_.end() && entry->second.acknowledged) return *entry->second.acknowledged;
  const auto found = outcomes_.find(id.sequence);
  if (found == outcomes_.end()) return std::nullopt;
  return found->second;
}

bool LiveTable::is_active(const TransactionId& id) const {
  const std::lock_guard lock(mutex_);
  return active(id);
}

void LiveTable::wait_until_ended(const TransactionId& id, std::optional<std::chrono::milliseconds> patience) {
  std::unique_lock lock(mutex_);
  const auto ended = [&] { return !active(id); };
  if (patience) {
    static_cast<void>(ended_.wait_for(lock, *patience, ended));
  } else {
    ended_.wait(lock, ended);
  }
}

bool LiveTable::active(const TransactionId& id) const {
  const auto found = entries_.find(id.sequence);
  return id.incarnation == incarnation_ && found != entries_.end() && found->second.says == EngineSays::active;
}

std::vector<std::pair<TransactionId, std::string>> LiveTable::to_settle() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::pair<TransactionId, std::string>> out;
  for (const auto& [sequence, entry] : entries_) {
    if (!entry.settles.empty()) out.emplace_back(id_of(sequence, entry), entry.settles);
  }
  return out;
}

LiveState LiveTable::state(const TransactionId& id) {
  const std::lock_guard lock(mutex_);
  const auto found = entries_.find(id.sequence);
  if (found == entries_.end()) return {};
  return {found->second.says, found->second.done};
}

std::vector<UnconfirmedRollback> LiveTable::rollback_unconfirmed() {
  const std::lock_guard lock(mutex_);
  std::vector<UnconfirmedRollback> out;
  for (const auto& [sequence, entry] : entries_) {
    if (entry.says != EngineSays::rollback_unconfirmed) continue;
    const TransactionId id = id_of(sequence, entry);
    for (const auto& [resource, evidence] : entry.unconfirmed) out.push_back({id, resource, evidence});
  }
  return out;
}

void LiveTable::resolved(const TransactionId& id, const std::string& resource, const Reply& reply) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = entries_.find(id.sequence);
    if (found != entries_.end() && found->second.says == EngineSays::rollback_unconfirmed && reply.is_ok()) {
      found->second.unconfirmed.erase(resource);
      if (found->second.unconfirmed.empty()) over(id);
    }
    if (const auto known = outcomes_.find(id.sequence); known != outcomes_.end()) {
      std::vector<BranchOutcome> branches = known->second.branches();
      for (BranchOutcome& branch : branches) {
        if (branch.resource != resource) continue;
        branch.reply = reply;
        if (reply.is_ok()) branch.state = branch.state == "pending" ? "committed" : "rolled back";
      }
      known->second = Outcome(known->second.kind(), id, known->second.reason(), known->second.cause(), branches);
    }
  }
  observer_.resolved(id, resource, reply);
}

void LiveTable::finished(const TransactionId& id) {
  const std::lock_guard lock(mutex_);
  over(id);
}

void LiveTable::over(const TransactionId& id) {
  // The log first: were the entry gone before, recovery could take the transaction for one that never decided.
  log_.finish(id);
  entries_.erase(id.sequence);
}

Outcome LiveTable::remember(Outcome outcome) {
  const std::uint64_t sequence = outcome.id().sequence;
  order_.push_back(sequence);
  if (order_.size() <= remembered) {
    outcomes_.emplace(sequence, std::move(outcome));
    return {};
  }
  // The oldest makes room, and lends its memory.
  auto entry = outcomes_.extract(order_.front());
  order_.pop_front();
  entry.key() = sequence;
  std::swap(entry.mapped(), outcome);
  outcomes_.insert(std::move(entry));
  return outcome;
}

}  // namespace assent::detail
