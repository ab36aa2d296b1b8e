#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "assent/recovery/decision.h"
#include "assent/recovery/decision_log.h"
#include "assent/recovery/file_system.h"
#include "assent/recovery/log_bytes.h"

/// The records of the decision log, each as a value. Bytes: docs/log_format.md. Pure; no I/O.
namespace assent::log {

/// A decision to commit is `Decision` itself.

/// Every branch gave positive evidence.
struct Finished {
  TransactionId id;
};

/// The same, of a decision of an earlier open: a crash may have kept its application from learning of it.
struct Recovered {
  TransactionId id;
};

/// A person gave up on the decision: the transaction is over, without evidence that every branch was committed.
struct Forgotten {
  TransactionId id;
};

/// The incarnation's transactions from `from` to before `to` are over: finished, or never decided and gone everywhere.
struct Over {
  Incarnation incarnation{};
  std::uint64_t from = 0;
  std::uint64_t to = 0;

  bool operator==(const Over&) const = default;
};

/// An incarnation and the file it was opened under.
struct Begun {
  IncarnationRecord incarnation;
  FileIdentity opened_under;
};

/// The log was found to be a copy: no incarnation before this record is presumable.
struct Moved {
  std::int64_t at_ms = 0;
  FileIdentity was;
};

/// A person took the copy for the log: every incarnation before this record is presumable again.
struct Adopted {
  std::int64_t at_ms = 0;
};

/// What a person decided against or without evidence.
struct PersonNote {
  static constexpr std::size_t max_what = 1024;

  std::int64_t at_ms = 0;
  TransactionId id;
  std::string resource;
  std::string what;
};

using Record =
    std::variant<Decision, Finished, Over, Begun, Moved, Adopted, LoggedResource, PersonNote, Recovered, Forgotten>;

constexpr std::size_t max_resource_name = Xid::max_part;
constexpr std::size_t max_identity_part = 512;
constexpr std::size_t max_machine = 64;
constexpr std::size_t record_head = 16;    ///< length, type, checksum
constexpr std::size_t max_record = 16384;  ///< head and contents; the largest decision fits (see log_record.cc)

/// A decision but for its id, as a record of the log and as a last resource's row have it.
void put_body(std::string& out, const Decision& decision);
/// False for more branches than there may be; what is cut off is `in`'s to tell.
bool take_body(Cursor& in, Decision& decision);

/// Why a record cannot be written: a bound it breaks, in words. Empty: it can.
std::string unfit(const Record& record);

/// Head (with a checksum of zero, to be sealed when the batch is known) and contents. The record must not be unfit().
void append(std::string& out, const Record& record);

/// How many bytes at the front of appended records are whole records and at most `limit`.
std::size_t whole_records(std::string_view records, std::size_t limit);

/// Reads contents of that type. Nothing when they are malformed or break a bound.
std::optional<Record> decode(std::uint8_t type, std::string_view contents);

/// "decision", "finished", …
std::string_view name_of(const Record& record);
/// One line for people.
std::string text_of(const Record& record);

}  // namespace assent::log
