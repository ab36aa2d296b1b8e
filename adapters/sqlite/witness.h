#pragma once

#include <optional>
#include <string>
#include <vector>

#include "assent/adapters/sqlite/session.h"
#include "assent/xa/resource_manager.h"
#include "assent/xa/xid.h"

/// Assent's two tables in the database file: a row that every branch inserts as its first deed, so that what became of
/// the branch can be asked of the file alone, and the file's own identifier. Codes are SQLite's extended result codes.
namespace assent::sqlite {

/// What a row says. No row says nothing by itself: the branch may be running.
enum class Witness { none, committed, rolled_back };

/// Creates both tables and the identifier where they are missing; waits for locks as the session is set to. The
/// session is in no transaction.
int create_tables(Session& session);

/// The identifier, or nothing (no table, no row, or an error).
std::optional<std::string> read_identifier(Session& session);

/// SQLITE_CONSTRAINT_PRIMARYKEY: a row for the branch is there already.
int insert_witness(Session& session, const Xid& xid, Witness says);

/// SQLITE_OK and `found`, or the error.
int read_witness(Session& session, const Xid& xid, Witness& found);

/// Adds the decision of the whole transaction to the branch's row, in the branch's own transaction.
int keep_decision(Session& session, const Xid& xid, const std::string& decision);
/// SQLITE_OK and every row that holds a decision or bars a branch, or the error.
int read_decisions(Session& session, std::vector<KeptDecision>& found);

int delete_witness(Session& session, const Xid& xid);

}  // namespace assent::sqlite
