#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace assent {

/// Who settles a branch. Only that decider's evidence does, and presumed abort applies to no other than `log`.
enum class DeciderKind : std::uint8_t {
  log = 'l',       ///< the decision log that the name holds
  resource = 'r',  ///< the last resource: a row in the database of that name, committed with its own work
};

/// A decision log's identity: random, made when the log is made, never changed.
enum class LogId : std::uint64_t {};

/// One open of a log by one process: random, forced to the log before the first Xid that names it.
enum class Incarnation : std::uint64_t {};

/// A global transaction: who decides, in which incarnation of whose log it ran, and the how-manieth it was there. The
/// last three name it; who decides goes with the name, and is not compared.
///
/// Text form: `l-<log, 16 hex digits>-<incarnation, 16 hex digits>-<sequence, decimal>`, or `r-…-<resource>`.
/// Binary form (the gtrid): kind, 1 byte; log, incarnation, sequence, 8 bytes each, big-endian; the resource.
struct TransactionId {
  /// What X/Open's 64 bytes of a gtrid leave for the name of the resource that decides.
  static constexpr std::size_t max_decider = 39;

  DeciderKind kind = DeciderKind::log;
  LogId log{};
  Incarnation incarnation{};
  std::uint64_t sequence = 0;
  std::string decider = {};  ///< of kind `resource`: its name; else empty

  std::string text() const;
  std::string gtrid() const;

  static std::optional<TransactionId> from_text(std::string_view text);
  static std::optional<TransactionId> from_gtrid(std::string_view bytes);

  std::strong_ordering operator<=>(const TransactionId& other) const {
    if (log != other.log) return log <=> other.log;
    if (incarnation != other.incarnation) return incarnation <=> other.incarnation;
    return sequence <=> other.sequence;
  }
  bool operator==(const TransactionId& other) const { return *this <=> other == std::strong_ordering::equal; }
};

/// A branch's name: X/Open's XID with its limits (gtrid 1 to 64 bytes, bqual 0 to 64 bytes). Ours have the format id
/// "ASNT"; every other is somebody else's, decoded for display and left alone.
struct Xid {
  static constexpr std::int64_t assent_format = 0x41534E54;  // "ASNT"; below 2^31, MariaDB's limit
  static constexpr std::size_t max_part = 64;

  std::int64_t format_id = assent_format;
  std::string gtrid;
  std::string bqual;  ///< ours: the resource's name

  /// `resource` must be 1 to 64 bytes long (is_resource_name).
  static Xid of(const TransactionId& transaction, std::string_view resource);

  /// The transaction, if this Xid is one of ours and well formed.
  std::optional<TransactionId> transaction() const;

  /// The name of the same branch in a transaction that its log decides; of what is not ours, the Xid itself. Witnesses
  /// and carriers go by it, so that they are found by whoever knows log, incarnation and number only.
  Xid undecided() const;

  /// Ours: `<transaction>/<resource>`. Foreign: `<format id>:<gtrid in hex>:<bqual in hex>`.
  std::string text() const;

  /// Reads both forms of text().
  static std::optional<Xid> from_text(std::string_view text);

  auto operator<=>(const Xid&) const = default;
};

/// Letters, digits, '_', '-' and '.', beginning with a letter or digit, 1 to 64 of them.
bool is_resource_name(std::string_view name);

/// The gid of a PostgreSQL prepared transaction, in the convention of pgjdbc's RecoveredXid:
/// `formatId_base64(gtrid)_base64(bqual)`. Never longer than 199 bytes for an Xid within X/Open's limits.
std::string to_gid(const Xid& xid);

/// Reads a gid in pgjdbc's convention; nothing for any other.
std::optional<Xid> from_gid(std::string_view gid);

/// Lower-case hexadecimal, two digits a byte.
std::string to_hex(std::string_view bytes);
std::optional<std::string> from_hex(std::string_view hex);

/// A number in all of its sixteen digits.
std::string to_hex64(std::uint64_t value);
std::optional<std::uint64_t> from_hex64(std::string_view hex);

}  // namespace assent
