#include <nlohmann/json.hpp>

#include "assent/tools/assent/json.h"

#include <map>

#include "assent/tools/assent/listing.h"
#include "assent/tools/assent/names.h"

namespace assent::tool {
namespace {

template <class T>
Json or_null(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

std::string log_text(LogId log) {
  return TransactionId{.log = log}.text().substr(2, 16);
}

Json transactions_json(const RecoveryReport& report) {
  std::set<TransactionId> ids;
  for (const BranchReport& branch : report.branches) {
    if (branch.transaction) ids.insert(*branch.transaction);
  }
  const auto names = short_names(ids);
  Json out = Json::array();
  std::map<TransactionId, std::size_t> places;
  for (const BranchReport& branch : report.branches) {
    if (!branch.transaction) continue;
    const auto [place, is_new] = places.try_emplace(*branch.transaction, out.size());
    const std::string& name = names.at(*branch.transaction);
    if (is_new) {
      out.push_back({{"id", branch.transaction->text()},
                     {"short", name},
                     {"label", branch.label},
                     {"decided_at_ms", or_null(branch.decided_at_ms)},
                     {"branches", Json::array()}});
    }
    out[place->second]["branches"].push_back(branch_json(branch, name));
  }
  return out;
}

Json foreign_json(const RecoveryReport& report) {
  Json out = Json::array();
  for (const BranchReport& branch : report.branches) {
    if (branch.transaction) continue;
    out.push_back({{"xid", branch.xid.format_id == 0 ? Json(nullptr) : Json(branch.xid.text())},
                   {"name", branch.raw},
                   {"resource", branch.resource},
                   {"age_s", branch.age ? Json(branch.age->count()) : Json(nullptr)}});
  }
  return out;
}

Json resources_json(const RecoveryReport& report) {
  Json out = Json::array();
  for (const ResourceReport& resource : report.resources) out.push_back(resource_json(resource));
  return out;
}

}  // namespace

Json envelope(Exit exit) {
  return {{"format", json_format}, {"exit_code", static_cast<int>(exit)}};
}

Json branch_json(const BranchReport& branch, const std::string& short_name) {
  return {{"xid", branch.xid.text()},
          {"short", short_name + '/' + branch.resource},
          {"resource", branch.resource},
          {"name_in_database", branch.raw},
          {"age_s", branch.age ? Json(branch.age->count()) : Json(nullptr)},
          {"holder_pid", or_null(branch.holder_pid)},
          {"standing", to_string(standing_of(branch))},
          {"verdict", to_string(branch.resolution.verdict)},
          {"action", to_string(branch.resolution.action)},
          {"rule", branch.resolution.rule},
          {"why", branch.resolution.text},
          {"done", branch.done},
          {"evidence",
           {{"decider", to_string(branch.evidence.owner)},
            {"log", to_string(branch.evidence.log)},
            {"incarnation", to_string(branch.evidence.incarnation)},
            {"database", to_string(branch.evidence.database)},
            {"identity", to_string(branch.evidence.identity)}}},
          {"lines", branch.lines},
          {"answer", branch.answer ? Json(describe(*branch.answer)) : Json(nullptr)}};
}

Json resource_json(const ResourceReport& resource) {
  return {{"name", resource.name},
          {"address", resource.address},
          {"product", resource.product},
          {"identity", resource.identity ? Json(resource.identity->text()) : Json(nullptr)},
          {"prepared", resource.prepared},
          {"problem", resource.usable() ? Json(nullptr) : Json(to_string(resource.problem))},
          {"text", resource.text},
          {"hint", resource.hint}};
}

Json report_json(const RecoveryReport& report, Exit exit) {
  Json out = envelope(exit);
  out["transactions"] = transactions_json(report);
  out["foreign"] = foreign_json(report);
  out["resources"] = resources_json(report);
  return out;
}

Json survey_json(const Survey& survey, const Setup& setup, Exit exit) {
  Json out = report_json(survey.report, exit);
  out["node"] = setup.config.node;
  out["logs"] = Json::array();
  for (const SlotSurvey& slot : survey.slots) {
    out["logs"].push_back(
        {{"slot", slot.state.number},
         {"directory", slot.state.directory},
         {"log", slot.state.log ? Json(log_text(*slot.state.log)) : Json(nullptr)},
         {"holder_pid", or_null(slot.state.holder_pid)},
         {"moved", slot.log != nullptr && slot.log->moved()},
         {"unfinished", slot.log != nullptr ? Json(slot.log->unfinished().size()) : Json(nullptr)},
         {"fault", slot.fault ? Json({{"what", slot.fault->what()}, {"hint", slot.fault->hint()}}) : Json(nullptr)}});
  }
  out["not_configured"] = Json::array();
  for (const LoggedResource& logged : unnamed_resources(survey, setup)) {
    out["not_configured"].push_back({{"name", logged.name}, {"identity", logged.identity.text()}});
  }
  return out;
}

void print_json(const Json& json, Terminal& terminal) {
  terminal.line(json.dump(2, ' ', false, Json::error_handler_t::replace));
}

}  // namespace assent::tool
