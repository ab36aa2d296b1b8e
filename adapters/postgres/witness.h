#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "assent/adapters/postgres/session.h"
#include "assent/xa/resource_manager.h"
#include "assent/xa/xid.h"

namespace assent::detail::postgres {

/// What became of a branch is known from two witnesses.
///
/// Two-phase: the branch's own transaction number (xid8), kept as evidence "pg:<system identifier>:<xid8>" and asked by
/// pg_xact_status. It may be trusted only of a transaction that was prepared: the number of one that never reached the
/// disk can be handed out again after a crash.
///
/// One-phase: a row (gtrid, bqual, 'committed') that the branch inserts in the round trip of its COMMIT. To settle a
/// lost reply, (gtrid, bqual, 'rolled_back') is inserted under the same key: the insert waits while the branch runs,
/// takes nothing if it committed, and bars it for ever if it did not. The table always is public.assent_witness: two
/// programs with different search paths must not look at two tables.

/// The statement that creates the table, and the table's qualified name.
extern const std::string_view witness_ddl;
extern const std::string_view witness_table;

/// Finds out whether the table is there with the rights we need; creates it where that is allowed and asked for.
bool witness_usable(Session& session, bool create);

/// For the round trip of COMMIT: inserts the row if the transaction wrote anything at all.
std::string witness_insert(const Xid& xid);
/// The same with the decision of the whole transaction in it, which makes the COMMIT behind it durable.
std::string decision_insert(const Xid& xid, const std::string& decision);

std::string evidence_of(std::string_view system_identifier, std::string_view xid8);

/// `witness`: the table is usable, ask it too.
Result<Fate> fate(Session& session, const Xid& xid, const std::string& evidence, bool witness);
Result<Fate> settle(Session& session, const Xid& xid);
Result<std::vector<KeptDecision>> decisions(Session& session);
Reply forget(Session& session, const std::vector<Xid>& finished);

}  // namespace assent::detail::postgres
