#include "assent/xa/xid.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>

namespace assent {
namespace {

constexpr std::size_t gtrid_size = 1 + 3 * 8;
constexpr std::string_view hex_digits = "0123456789abcdef";
constexpr std::string_view base64_digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void put_u64(char* to, std::uint64_t value) {
  const std::uint64_t big_endian = std::endian::native == std::endian::little ? __builtin_bswap64(value) : value;
  std::memcpy(to, &big_endian, sizeof big_endian);
}

std::uint64_t get_u64(std::string_view bytes) {
  std::uint64_t value = 0;
  for (const char byte : bytes.substr(0, 8)) value = value << 8 | static_cast<unsigned char>(byte);
  return value;
}

template <class Integer>
std::optional<Integer> parse_decimal(std::string_view text) {
  // Canonical only: from_chars would take leading zeros and "-0", and then two texts would name one thing.
  const std::string_view digits = text.substr(text.starts_with('-') ? 1 : 0);
  if (digits.starts_with('0') && text != "0") return std::nullopt;
  Integer value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string to_base64(std::string_view bytes) {
  std::string out((bytes.size() + 2) / 3 * 4, '=');
  char* to = out.data();
  for (std::size_t i = 0; i < bytes.size(); i += 3, to += 4) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      group = group << 8 | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k <= count; ++k) to[k] = base64_digits[group >> (18 - 6 * k) & 63];
  }
  return out;
}

std::optional<std::string> from_base64(std::string_view text) {
  if (text.size() % 4 != 0) return std::nullopt;
  std::string out;
  for (std::size_t i = 0; i < text.size(); i += 4) {
    std::string_view digits = text.substr(i, 4);
    const bool last = i + 4 == text.size();
    while (last && digits.size() > 2 && digits.ends_with('=')) digits.remove_suffix(1);
    std::uint32_t group = 0;
    for (std::size_t k = 0; k < 4; ++k) {
      const std::size_t value = k < digits.size() ? base64_digits.find(digits[k]) : 0;
      if (value == std::string_view::npos) return std::nullopt;
      group = group << 6 | static_cast<std::uint32_t>(value);
    }
    for (std::size_t k = 0; k + 1 < digits.size(); ++k) out += static_cast<char>(group >> (16 - 8 * k) & 0xff);
  }
  // One text a value: refuses padding bits that are not zero.
  if (to_base64(out) != text) return std::nullopt;
  return out;
}

bool within_limits(const Xid& xid) {
  return !xid.gtrid.empty() && xid.gtrid.size() <= Xid::max_part && xid.bqual.size() <= Xid::max_part;
}

std::optional<DeciderKind> kind_of(char letter) {
  for (const DeciderKind each : {DeciderKind::log, DeciderKind::resource}) {
    if (letter == static_cast<char>(each)) return each;
  }
  return std::nullopt;
}

bool is_decider_name(std::string_view name) {
  return name.size() <= TransactionId::max_decider && is_resource_name(name);
}

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

std::string to_hex(std::string_view bytes) {
  std::string out(bytes.size() * 2, '\0');
  char* to = out.data();
  for (const char byte : bytes) {
    *to++ = hex_digits[static_cast<unsigned char>(byte) >> 4];
    *to++ = hex_digits[static_cast<unsigned char>(byte) & 15];
  }
  return out;
}

std::optional<std::string> from_hex(std::string_view hex) {
  if (hex.size() % 2 != 0) return std::nullopt;
  std::string out;
  for (std::size_t i = 0; i < hex.size(); i += 2) {
    const std::size_t high = hex_digits.find(hex[i]);
    const std::size_t low = hex_digits.find(hex[i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) return std::nullopt;
    out += static_cast<char>(high << 4 | low);
  }
  return out;
}

std::string to_hex64(std::uint64_t value) {
  char bytes[sizeof value];
  put_u64(bytes, value);
  return to_hex({bytes, sizeof bytes});
}

std::optional<std::uint64_t> from_hex64(std::string_view hex) {
  if (hex.size() != 16) return std::nullopt;
  const auto bytes = from_hex(hex);
  if (!bytes) return std::nullopt;
  return get_u64(*bytes);
}

std::string TransactionId::text() const {
  return std::string(1, static_cast<char>(kind)) + '-' + to_hex64(static_cast<std::uint64_t>(log)) + '-' +
         to_hex64(static_cast<std::uint64_t>(incarnation)) + '-' + std::to_string(sequence) +
         (kind == DeciderKind::resource ? '-' + decider : "");
}

std::string TransactionId::gtrid() const {
  char start[gtrid_size];
  start[0] = static_cast<char>(kind);
  put_u64(start + 1, static_cast<std::uint64_t>(log));
  put_u64(start + 9, static_cast<std::uint64_t>(incarnation));
  put_u64(start + 17, sequence);
  std::string out;
  out.reserve(sizeof start + decider.size());
  out.append(start, sizeof start);
  if (kind == DeciderKind::resource) out += decider;
  return out;
}

std::optional<TransactionId> TransactionId::from_text(std::string_view text) {
  // l-0123456789abcdef-0123456789abcdef-42, r-0123456789abcdef-0123456789abcdef-42-ledger
  if (text.size() < 37 || text[1] != '-' || text[18] != '-' || text[35] != '-') return std::nullopt;
  const auto kind = kind_of(text[0]);
  const auto log = from_hex64(text.substr(2, 16));
  const auto incarnation = from_hex64(text.substr(19, 16));
  std::string_view rest = text.substr(36);
  std::string_view decider;
  if (kind == DeciderKind::resource) {
    const std::size_t dash = rest.find('-');
    if (dash == std::string_view::npos) return std::nullopt;
    decider = rest.substr(dash + 1);
    if (!is_decider_name(decider)) return std::nullopt;
    rest = rest.substr(0, dash);
  }
  const auto sequence = parse_decimal<std::uint64_t>(rest);
  if (!kind || !log || !incarnation || !sequence) return std::nullopt;
  return TransactionId{*kind, LogId{*log}, Incarnation{*incarnation}, *sequence, std::string(decider)};
}

std::optional<TransactionId> TransactionId::from_gtrid(std::string_view bytes) {
  if (bytes.size() < gtrid_size) return std::nullopt;
  const auto kind = kind_of(bytes[0]);
  const std::string_view decider = bytes.substr(gtrid_size);
  if (!kind || (*kind == DeciderKind::resource ? !is_decider_name(decider) : !decider.empty())) return std::nullopt;
  return TransactionId{*kind, LogId{get_u64(bytes.substr(1))}, Incarnation{get_u64(bytes.substr(9))},
                       get_u64(bytes.substr(17)), std::string(decider)};
}

Xid Xid::of(const TransactionId& transaction, std::string_view resource) {
  return {assent_format, transaction.gtrid(), std::string(resource)};
}

std::optional<TransactionId> Xid::transaction() const {
  if (format_id != assent_format || !is_resource_name(bqual)) return std::nullopt;
  return TransactionId::from_gtrid(gtrid);
}

Xid Xid::undecided() const {
  // The usual case, told by one byte.
  if (!gtrid.starts_with(static_cast<char>(DeciderKind::resource))) return *this;
  const auto id = transaction();
  if (!id || id->kind == DeciderKind::log) return *this;
  return of({DeciderKind::log, id->log, id->incarnation, id->sequence}, bqual);
}

std::string Xid::text() const {
  if (const auto id = transaction()) return id->text() + '/' + bqual;
  return std::to_string(format_id) + ':' + to_hex(gtrid) + ':' + to_hex(bqual);
}

std::optional<Xid> Xid::from_text(std::string_view text) {
  if (const std::size_t slash = text.find('/'); slash != std::string_view::npos) {
    const auto id = TransactionId::from_text(text.substr(0, slash));
    const std::string_view resource = text.substr(slash + 1);
    if (!id || !is_resource_name(resource)) return std::nullopt;
    return of(*id, resource);
  }
  const std::size_t first = text.find(':');
  const std::size_t second = first == std::string_view::npos ? first : text.find(':', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const auto format_id = parse_decimal<std::int64_t>(text.substr(0, first));
  auto gtrid = from_hex(text.substr(first + 1, second - first - 1));
  auto bqual = from_hex(text.substr(second + 1));
  if (!format_id || !gtrid || !bqual) return std::nullopt;
  Xid xid{*format_id, std::move(*gtrid), std::move(*bqual)};
  if (!within_limits(xid) || xid.transaction()) return std::nullopt;  // ours has its own form
  return xid;
}

bool is_resource_name(std::string_view name) {
  if (name.empty() || name.size() > Xid::max_part || !is_alphanumeric(name.front())) return false;
  for (const char c : name) {
    if (!is_alphanumeric(c) && c != '_' && c != '-' && c != '.') return false;
  }
  return true;
}

std::string to_gid(const Xid& xid) {
  return std::to_string(xid.format_id) + '_' + to_base64(xid.gtrid) + '_' + to_base64(xid.bqual);
}

std::optional<Xid> from_gid(std::string_view gid) {
  const std::size_t first = gid.find('_');
  const std::size_t second = first == std::string_view::npos ? first : gid.find('_', first + 1);
  if (second == std::string_view::npos) return std::nullopt;
  const auto format_id = parse_decimal<std::int64_t>(gid.substr(0, first));
  auto gtrid = from_base64(gid.substr(first + 1, second - first - 1));
  auto bqual = from_base64(gid.substr(second + 1));
  if (!format_id || !gtrid || !bqual) return std::nullopt;
  Xid xid{*format_id, std::move(*gtrid), std::move(*bqual)};
  if (!within_limits(xid)) return std::nullopt;
  return xid;
}

}  // namespace assent
