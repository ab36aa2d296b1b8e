#include "assent/tools/assent/names.h"

#include <algorithm>
#include <charconv>
#include <vector>

#include "assent/tools/assent/stop.h"
#include "assent/tools/assent/text.h"

namespace assent::tool {
namespace {

constexpr std::size_t least_digits = 6;
constexpr std::size_t all_digits = 16;
constexpr std::size_t max_typed = 512;
constexpr std::size_t max_choices = 8;

std::string incarnation_digits(const TransactionId& id) {
  return to_hex64(static_cast<std::uint64_t>(id.incarnation));
}

std::string short_name(const TransactionId& id, std::size_t digits) {
  return incarnation_digits(id).substr(0, digits) + '-' + std::to_string(id.sequence);
}

bool fits_short_name(const TransactionId& id, std::string_view typed) {
  const std::size_t dash = typed.find('-');
  if (dash == std::string_view::npos || dash == 0 || dash > all_digits) return false;
  std::uint64_t sequence = 0;
  const std::string_view digits = typed.substr(dash + 1);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), sequence);
  return error == std::errc{} && end == digits.data() + digits.size() && sequence == id.sequence &&
         incarnation_digits(id).starts_with(typed.substr(0, dash));
}

/// Could be the beginning of an id, or a short name.
bool is_well_formed(std::string_view typed) {
  return !typed.empty() && typed.size() <= TransactionId{}.text().size() + 20 && std::ranges::all_of(typed, [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || c == 'l' || c == '-';
  });
}

[[noreturn]] void refuse(std::string_view typed, const std::string& what, const std::string& hint) {
  throw Stop(Exit::usage, '\'' + shortened(printable(typed), 80) + "' " + what, hint);
}

constexpr const char* forms =
    "name it as `assent list` does (first column), by its full id or the beginning of one; copy it, do not retype it";

}  // namespace

std::map<TransactionId, std::string> short_names(const std::set<TransactionId>& transactions) {
  std::map<TransactionId, std::string> out;
  for (std::size_t digits = least_digits; digits <= all_digits; ++digits) {
    std::set<std::string> seen;
    out.clear();
    for (const TransactionId& id : transactions) {
      const std::string name = short_name(id, digits);
      seen.insert(name);
      out.emplace(id, name);
    }
    if (seen.size() == transactions.size()) return out;
  }
  for (const TransactionId& id : transactions) out[id] = id.text();
  return out;
}

Named find_named(std::string_view typed, const std::set<TransactionId>& known) {
  if (typed.size() > max_typed) refuse(typed, "is too long for the name of a transaction", forms);
  const auto named = [&](const TransactionId& id, std::string resource) {
    return Named{id, std::move(resource), known.contains(id)};
  };
  if (const auto xid = from_gid(typed)) {
    const auto id = xid->transaction();
    if (!id) refuse(typed, "is the name of another transaction manager's branch", "Assent never touches those");
    return named(*id, xid->bqual);
  }
  const std::size_t slash = typed.find('/');
  const std::string_view name = typed.substr(0, slash);
  const std::string resource(slash == std::string_view::npos ? std::string_view{} : typed.substr(slash + 1));
  if (slash != std::string_view::npos && !is_resource_name(resource)) {
    refuse(typed, "is damaged: what follows the '/' is no resource's name", forms);
  }
  if (const auto id = TransactionId::from_text(name)) return named(*id, resource);
  if (!is_well_formed(name)) refuse(typed, "is no transaction's name: damaged, or something else", forms);

  std::vector<TransactionId> found;
  for (const TransactionId& id : known) {
    if (id.text().starts_with(name) || fits_short_name(id, name)) found.push_back(id);
  }
  if (found.empty()) {
    refuse(typed, "names no transaction that is in doubt",
           known.empty() ? "nothing is in doubt" : "`assent list` shows what is in doubt");
  }
  if (found.size() > 1) {
    std::string choices;
    for (std::size_t i = 0; i < std::min(found.size(), max_choices); ++i)
      choices += (i == 0 ? "" : ", ") + found[i].text();
    if (found.size() > max_choices) choices += ", …";
    refuse(typed, "names " + std::to_string(found.size()) + " transactions", "type more of it: " + choices);
  }
  return named(found.front(), resource);
}

}  // namespace assent::tool
