#include "assent/recovery/decision.h"

#include "assent/recovery/log_bytes.h"
#include "assent/xa/branch.h"

namespace assent {
namespace {

constexpr std::uint8_t version = 1;

// All of it, with its version and the longest gtrid.
static_assert(1 + (2 + Xid::max_part) + 8 + (2 + Decision::max_label) + 1 +
                  Decision::max_branches * (2 + Xid::max_part + 2 + Branch::max_evidence) <=
              Branch::max_decision);

}  // namespace

std::string to_bytes(const Decision& decision) {
  std::string out;
  log::put(out, version);
  log::put_text(out, decision.id.gtrid());
  log::put(out, decision.decided_at_ms);
  log::put_text(out, decision.label);
  log::put(out, static_cast<std::uint8_t>(decision.branches.size()));
  for (const DecidedBranch& branch : decision.branches) {
    log::put_text(out, branch.resource);
    log::put_text(out, branch.evidence);
  }
  return out;
}

std::optional<Decision> decision_from(std::string_view bytes) {
  log::Cursor in(bytes);
  if (in.number<std::uint8_t>() != version) return std::nullopt;
  const auto id = TransactionId::from_gtrid(in.text(Xid::max_part));
  if (!id || id->kind != DeciderKind::resource) return std::nullopt;
  Decision decision;
  decision.id = *id;
  decision.decided_at_ms = in.number<std::int64_t>();
  decision.label = in.text(Decision::max_label);
  const auto count = in.number<std::uint8_t>();
  if (count > Decision::max_branches) return std::nullopt;
  for (std::uint8_t i = 0; i < count && !in.broken(); ++i) {
    std::string resource = in.text(Xid::max_part);
    std::string evidence = in.text(Branch::max_evidence);
    if (!is_resource_name(resource)) return std::nullopt;
    decision.branches.push_back({std::move(resource), std::move(evidence)});
  }
  if (!in.complete()) return std::nullopt;
  return decision;
}

}  // namespace assent
