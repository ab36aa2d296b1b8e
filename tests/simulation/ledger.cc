#include "assent/tests/simulation/ledger.h"

#include <algorithm>

namespace assent::simulation {

void Ledger::began(const TransactionId& id, int node) {
  if (!all_.try_emplace(id, Transaction{node, {}, {}, {}, false, false}).second)
    violated(id.text() + " was begun twice");
}

void Ledger::acted_on_decision(const Xid& xid) {
  const auto id = xid.transaction();
  if (!id || !all_.contains(*id)) return;
  Transaction& transaction = all_.at(*id);
  // A request that was under way when an older copy of the log was brought back stands on the newer one.
  if (transaction.proven || transaction.stuck) return;
  if (id->kind == DeciderKind::resource) {
    const auto decider = transaction.branches.find(id->decider);
    const bool decided = decider != transaction.branches.end() && decider->second.went == Went::committed;
    if (!decided && transaction.excuse.empty())
      violated(xid.text() + " is committed, and its last resource did not commit");
    return;
  }
  transaction.proven = true;
  if (!is_on_disk(*id, transaction.node)) violated(xid.text() + " is committed, and its decision is not on the disk");
}

void Ledger::enlisted(const Xid& xid, const std::string& database) {
  const auto id = xid.transaction();
  if (!id || !all_.contains(*id)) return;
  all_.at(*id).branches.insert_or_assign(xid.bqual, Branch{database, Went::open});
}

void Ledger::committed(const Xid& xid, const std::string& database) {
  const auto id = xid.transaction();
  if (!id || !all_.contains(*id)) return;
  Transaction& transaction = all_.at(*id);
  const auto branch = transaction.branches.find(xid.bqual);
  if (branch == transaction.branches.end()) return;
  if (branch->second.database != database) return;
  branch->second.went = Went::committed;
  check(*id, transaction);
}

void Ledger::rolled_back(const Xid& xid) {
  const auto id = xid.transaction();
  if (!id || !all_.contains(*id)) return;
  Transaction& transaction = all_.at(*id);
  const auto branch = transaction.branches.find(xid.bqual);
  if (branch == transaction.branches.end()) return;
  branch->second.went = Went::rolled_back;
  check(*id, transaction);
}

void Ledger::told(const TransactionId& id, OutcomeKind kind) {
  if (!all_.contains(id)) return;
  Transaction& transaction = all_.at(id);
  if (kind == OutcomeKind::in_doubt) return;
  if (kind == OutcomeKind::heuristic) {
    if (transaction.excuse.empty()) violated(id.text() + " is said to be heuristic, and nobody broke ranks");
    return;
  }
  // Of a transaction that only read, either word is as good as the other.
  if (transaction.branches.empty()) return;
  if (transaction.told && *transaction.told != kind && transaction.excuse.empty()) {
    violated(id.text() + " was told to be " + std::string(to_string(*transaction.told)) + ", and then " +
             std::string(to_string(kind)));
  }
  transaction.told = kind;
  check(id, transaction);
}

void Ledger::asked_to_finish(const Xid& xid, int node, const std::string& database) {
  const auto id = xid.transaction();
  if (!id) {
    violated("somebody finishes a branch of another transaction manager: " + xid.text());
    return;
  }
  const auto found = all_.find(*id);
  if (found == all_.end()) {
    violated("somebody finishes a branch that no transaction of this world began: " + xid.text());
    return;
  }
  if (found->second.node != node) {
    violated("node " + std::to_string(node) + " finishes " + xid.text() + " of node " +
             std::to_string(found->second.node));
  }
  const auto branch = found->second.branches.find(xid.bqual);
  if (branch == found->second.branches.end()) return;
  // A last resource's decision outlives a log that was set back; which database stood behind a name does not.
  if (id->kind == DeciderKind::resource && found->second.stuck) return;
  if (branch->second.database != database) {
    violated(xid.text() + " is finished in " + database + ", and was begun in " + branch->second.database);
  }
}

void Ledger::excuse(const TransactionId& id, const std::string& why) {
  const auto found = all_.find(id);
  if (found != all_.end() && found->second.excuse.empty()) found->second.excuse = why;
}

void Ledger::log_was_moved(int node) {
  for (auto& [id, transaction] : all_) {
    if (transaction.node == node) transaction.stuck = true;
  }
}

const Ledger::Transaction* Ledger::find(const TransactionId& id) const {
  const auto found = all_.find(id);
  return found == all_.end() ? nullptr : &found->second;
}

void Ledger::violated(const std::string& what) {
  if (violation_.empty()) violation_ = what;
}

void Ledger::check(const TransactionId& id, const Transaction& transaction) {
  if (!transaction.excuse.empty()) return;
  const auto any = [&](Went went) {
    return std::ranges::any_of(transaction.branches, [&](const auto& each) { return each.second.went == went; });
  };
  const bool committed = any(Went::committed);
  const bool rolled_back = any(Went::rolled_back);
  if (committed && rolled_back) {
    violated(id.text() + " is committed in one database and rolled back in another");
  } else if (committed && transaction.told == OutcomeKind::rolled_back) {
    violated(id.text() + " was told to be rolled back, and is committed");
  } else if (rolled_back && transaction.told == OutcomeKind::committed) {
    violated(id.text() + " was told to be committed, and is rolled back");
  }
}

}  // namespace assent::simulation
