#pragma once

#include <optional>
#include <string>
#include <vector>

#include "assent/adapters/mysql/session.h"
#include "assent/xa/resource_manager.h"
#include "assent/xa/xid.h"

namespace assent::mysql {

/// The rows by which the fate of a branch is told after its session, or the answer, was lost.
///
/// A branch inserts its row ('c') right after XA START: the row is there, for everybody and for good, exactly if the
/// branch committed, and it is locked while the branch is open, prepared, or hidden by the server. settle() makes an
/// absence definite by inserting the opposite ('r') under the same key, so that one of both fails.
class Witness {
 public:
  explicit Witness(const std::string& schema);

  /// The statement that a branch runs first: `c`. What bars it says `r`.
  std::string insert(const Xid& xid, char state = 'c') const;
  /// What a last resource's branch runs last: the decision joins the branch's row. The second fails, and with it all
  /// behind it in the same round trip, where the row is gone or the server would not make the commit durable.
  std::vector<std::string> decide(const Xid& xid, const std::string& decision) const;
  Result<std::vector<KeptDecision>> decisions(Session& session) const;

  /// Creates the tables where they are missing. The caller's session must be outside of a branch.
  std::optional<Failure> create(Session& session) const;
  /// The identity kept in the schema, made if it is missing.
  Result<std::string> identity(Session& session) const;

  enum class Row { absent, committed, rolled_back, locked };
  /// One look, without waiting.
  Result<Row> look(Session& session, const Xid& xid) const;
  /// The same as a statement, which fails when the row is locked, and what its result says.
  std::string question(const Session& session, const Xid& xid) const;
  static Row row_of(const std::optional<std::string>& state);

  Result<Fate> settle(Session& session, const Xid& xid) const;

  /// What is visible as committed may not be in the server's log yet: InnoDB shows a commit before it has forced it. A
  /// commit of anything forces all before it. committed, or the failure to make it so.
  Result<Fate> committed_for_good(Session& session) const;

  /// A rollback, unlike a commit, is answered before it is in the server's log: a server that is killed in the next
  /// second lists the branch as prepared again (MariaDB 10.11, measured). A commit of anything forces all before it; so
  /// these come behind a rollback, in the same round trip, and leave nothing.
  std::vector<std::string> force_rollback(const Xid& xid) const;
  Reply forget(Session& session, const std::vector<Xid>& xids) const;

  const std::string& table() const { return table_; }
  std::vector<std::string> create_statements() const;

 private:
  std::string key(const Xid& xid) const;
  std::string table_;
  std::string identity_table_;
};

}  // namespace assent::mysql
