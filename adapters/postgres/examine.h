#pragma once

#include <vector>

#include "assent/adapters/postgres/settings.h"
#include "assent/xa/resource_manager.h"

namespace assent::detail::postgres {

/// Everything that would break two-phase commit on this server, on a connection of its own.
std::vector<Finding> examine_server(const Settings& settings, std::size_t pool_size);

}  // namespace assent::detail::postgres
