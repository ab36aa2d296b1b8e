#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "assent/xa/xid.h"

namespace assent::tool {

/// Short names for listings: `<first digits of the incarnation>-<sequence>`, as many digits (at least 6) as tell all of
/// these transactions apart.
std::map<TransactionId, std::string> short_names(const std::set<TransactionId>& transactions);

/// What a person typed to name a transaction or one of its branches.
struct Named {
  TransactionId transaction;
  std::string resource;  ///< empty when only the transaction was named
  bool known = false;    ///< among the known transactions; a full id is taken even when it is not
};

/// Takes a full id, any unique prefix of one, a short name, each optionally followed by `/<resource>`, and the name
/// that PostgreSQL shows (gid). Throws Stop{usage}, saying what is wrong: damaged, unknown, or ambiguous (with the
/// choices).
Named find_named(std::string_view typed, const std::set<TransactionId>& known);

}  // namespace assent::tool
