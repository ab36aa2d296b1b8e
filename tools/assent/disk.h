#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "assent/recovery/file_system.h"
#include "assent/xa/resource_manager.h"

/// What `assent doctor` has to say of the disk under the log. The judgements are pure, so that they can be tested.
namespace assent::tool {

Finding judge_volume(const Volume& volume, const std::string& path);
Finding judge_space(std::uint64_t free_bytes, const std::string& path);
/// A hint, never a proof: no program can see whether a disk told the truth.
Finding judge_syncs(double syncs_a_second);

/// Looks at the directory, and writes and syncs a file of its own there for half a second.
std::vector<Finding> examine_disk(const std::string& directory);

}  // namespace assent::tool
