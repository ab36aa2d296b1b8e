#include "assent/recovery/decision.h"

#include <algorithm>

#include "assent/recovery/log_record.h"
#include "assent/xa/branch.h"

namespace assent {
namespace {

constexpr std::uint8_t version = 1;
constexpr std::size_t usual_bytes = 128;

// All of it, with its version and the longest gtrid.
static_assert(1 + (2 + Xid::max_part) + 8 + (2 + Decision::max_label) + 1 +
                  Decision::max_branches * (2 + Xid::max_part + 2 + Branch::max_evidence) <=
              Branch::max_decision);

}  // namespace

std::string to_bytes(const Decision& decision) {
  std::string out;
  out.reserve(usual_bytes);
  log::put(out, version);
  log::put_text(out, decision.id.gtrid());
  log::put_body(out, decision);
  return out;
}

std::optional<Decision> decision_from(std::string_view bytes) {
  log::Cursor in(bytes);
  if (in.number<std::uint8_t>() != version) return std::nullopt;
  const auto id = TransactionId::from_gtrid(in.text(Xid::max_part));
  if (!id || id->kind != DeciderKind::resource) return std::nullopt;
  Decision decision;
  decision.id = *id;
  if (!log::take_body(in, decision)) return std::nullopt;
  const auto named = [](const DecidedBranch& branch) { return is_resource_name(branch.resource); };
  if (!in.complete() || !std::ranges::all_of(decision.branches, named)) return std::nullopt;
  return decision;
}

}  // namespace assent
