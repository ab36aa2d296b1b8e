#pragma once

#include <nlohmann/json_fwd.hpp>

#include "assent/tools/assent/setup.h"
#include "assent/tools/assent/survey.h"
#include "assent/tools/assent/terminal.h"

/// The JSON that the tool prints. Its schema is in docs/operations.md; `format` is raised when a member changes its
/// meaning or goes.
namespace assent::tool {

constexpr int json_format = 1;

using Json = nlohmann::ordered_json;

Json envelope(Exit exit);
Json branch_json(const BranchReport& branch, const std::string& short_name);
Json resource_json(const ResourceReport& resource);
Json survey_json(const Survey& survey, const Setup& setup, Exit exit);
/// Of one report, without the slots: after `resolve`.
Json report_json(const RecoveryReport& report, Exit exit);

/// Text that is not UTF-8 is mended, so that this never fails.
void print_json(const Json& json, Terminal& terminal);

}  // namespace assent::tool
