#pragma once

#include <string>
#include <vector>

#include "assent/adapters/sqlite/session.h"
#include "assent/xa/resource_manager.h"

namespace assent::sqlite {

/// Why the file system of `directory` cannot carry branches, or empty: a network file system, or one that cannot
/// exchange names. Makes and removes two entries beside the database.
std::string unfit_file_system(const DatabasePlace& place);

/// Everything that would break a prepare of this database.
std::vector<Finding> examine_database(const Settings& settings);

}  // namespace assent::sqlite
