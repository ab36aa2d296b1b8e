#pragma once

#include "assent/adapters/postgres/session.h"
#include "assent/xa/resource_manager.h"

namespace assent::detail::postgres {

/// The locks a prepared branch holds and who waits for them.
Result<Impact> impact_of(Session& session, const Xid& xid);

}  // namespace assent::detail::postgres
