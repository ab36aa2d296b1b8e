#include "assent/adapters/postgres/carrier.h"

#include <cstdint>

namespace assent::detail::postgres {
namespace {

std::string hex(std::uint64_t number) {
  std::string bytes;
  for (int shift = 56; shift >= 0; shift -= 8) bytes += static_cast<char>(number >> static_cast<unsigned>(shift));
  return to_hex(bytes);
}

// FNV-1a: stable between builds and machines, which std::hash is not.
std::uint64_t hash(std::string_view bytes) {
  std::uint64_t value = 0xcbf29ce484222325U;
  for (const char each : bytes) value = (value ^ static_cast<unsigned char>(each)) * 0x100000001b3U;
  return value;
}

// A backend that was told to end answers within milliseconds unless it is in an uninterruptible stretch.
constexpr int polls = 250;

}  // namespace

std::string carrier_name(const Xid& xid) {
  const std::string whole = hex(hash(to_gid(xid.undecided())));
  const auto transaction = xid.transaction();
  if (!transaction) return "assent:foreign:" + whole;
  return "assent:" + hex(static_cast<std::uint64_t>(transaction->incarnation)) + ':' + hex(transaction->sequence) +
         ':' + whole;
}

Result<bool> carrier_gone(Session& session, const Xid& xid, const FinishOptions& options) {
  const std::string same_name = " FROM pg_stat_activity WHERE application_name = " + text_literal(carrier_name(xid));
  const auto count = [&](const std::string& what) -> Result<bool> {
    const Answer answer = session.exec("SELECT count(*)" + what);
    if (!answer.ok()) return failure_of(answer);
    return answer.field(0, 0) == "0";
  };
  Result<bool> gone = count(same_name);
  if (!gone || *gone || !options.carrier_is_dead) return gone;

  const Answer ended = session.exec("SELECT pg_terminate_backend(pid)" + same_name);
  if (!ended.ok()) return failure_of(ended);
  // Each poll is a statement of its own: within one transaction PostgreSQL shows one frozen picture of the activity.
  for (int poll = 0; poll < polls; ++poll) {
    gone = count(same_name);
    if (!gone || *gone) return gone;
    static_cast<void>(session.exec("SELECT pg_sleep(0.02)"));
  }
  return false;
}

}  // namespace assent::detail::postgres
