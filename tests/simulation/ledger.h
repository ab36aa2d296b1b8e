#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "assent/tm/outcome.h"
#include "assent/xa/xid.h"

namespace assent::simulation {

/// What really happened to every transaction of a world, written down where it happens: in the databases. Here the
/// promises are checked, after every step that could break one.
class Ledger {
 public:
  enum class Went { open, committed, rolled_back };
  struct Branch {
    std::string database;  ///< its identity
    Went went = Went::open;
  };
  struct Transaction {
    int node = 0;
    std::map<std::string, Branch> branches;  ///< those that write, by resource
    std::optional<OutcomeKind> told;
    std::string excuse;   ///< the fault that makes the promises void for it, or empty
    bool proven = false;  ///< its decision was seen on the disk
    bool stuck = false;   ///< only a person may settle it: its log was copied or restored
  };

  void began(const TransactionId& id, int node);
  /// Asked once for each transaction: is its decision on the disk?
  std::function<bool(const TransactionId&, int node)> is_on_disk;
  /// A prepared branch is about to be committed.
  void acted_on_decision(const Xid& xid);
  void enlisted(const Xid& xid, const std::string& database);
  void committed(const Xid& xid, const std::string& database);
  void rolled_back(const Xid& xid);
  /// The application was told, by commit() or by outcome().
  void told(const TransactionId& id, OutcomeKind kind);
  /// Somebody asks to finish the branch. False: it is none of theirs, which is a violation.
  void asked_to_finish(const Xid& xid, int node, const std::string& database);
  /// From here on the promises do not hold for the transaction: a database lost a branch, a backup was restored.
  void excuse(const TransactionId& id, const std::string& why);
  /// The node's log is not what it was: of what is not over, only atomicity is promised.
  void log_was_moved(int node);

  const Transaction* find(const TransactionId& id) const;
  const std::map<TransactionId, Transaction>& all() const { return all_; }

  void violated(const std::string& what);
  const std::string& violation() const { return violation_; }

 private:
  void check(const TransactionId& id, const Transaction& transaction);

  std::map<TransactionId, Transaction> all_;
  std::string violation_;
};

}  // namespace assent::simulation
