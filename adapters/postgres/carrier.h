#pragma once

#include <string>

#include "assent/adapters/postgres/session.h"
#include "assent/xa/resource_manager.h"

namespace assent::detail::postgres {

/// The application_name under which a branch's session stands in pg_stat_activity for as long as its transaction is
/// open: "assent:<incarnation>:<sequence, hex>:<hash of the whole xid>". At most 63 bytes, PostgreSQL's limit; the hash
/// tells apart branches of one transaction in two databases of one cluster, and Xids that no Assent made.
std::string carrier_name(const Xid& xid);

/// ResourceManager::carrier_gone() on a session of its own.
///
/// Why an absent name is proof. BEGIN sets the name with SET LOCAL in its own message, with the first statement or
/// alone. PREPARE, and the COMMIT of a single phase, is a later message, sent only after that one was answered and
/// while the server reports the name. So what a dead process has sent may still begin the branch's transaction, but not
/// end it, and while a PREPARE can still take effect the name is shown. PostgreSQL takes it back (AtEOXact_GUC) only
/// after the prepared transaction is listed, or after the abort. Hence: name gone, then every later look into
/// pg_prepared_xacts shows the branch, or it never will be there.
Result<bool> carrier_gone(Session& session, const Xid& xid, const FinishOptions& options);

}  // namespace assent::detail::postgres
