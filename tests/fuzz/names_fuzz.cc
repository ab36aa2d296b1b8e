#include <cstdint>
#include <string>

#include "assent/adapters/mysql/manager.h"
#include "assent/adapters/mysql/sql_text.h"
#include "assent/tests/fuzz/fuzz.h"
#include "assent/xa/xid.h"

// The names of transactions and branches in all their forms. A form that two texts could have, or a text that two
// branches could have, would let one branch be taken for another.

namespace {

using assent::TransactionId;
using assent::Xid;
using assent::fuzz::is_printable;
using assent::fuzz::require;
using assent::fuzz::Script;
using assent::mysql::decode_recovered;
using assent::mysql::Row;

void check_text(const std::string& text) {
  if (const auto id = TransactionId::from_text(text)) require(id->text() == text, "a transaction has one text");
  if (const auto id = TransactionId::from_gtrid(text)) require(id->gtrid() == text, "a transaction has one gtrid");
  if (const auto xid = Xid::from_text(text)) require(xid->text() == text, "a branch has one text");
  if (const auto xid = assent::from_gid(text)) require(assent::to_gid(*xid) == text, "a branch has one gid");
  if (const auto bytes = assent::from_hex(text)) require(assent::to_hex(*bytes) == text, "bytes have one hex");
}

bool within_limits(const Xid& xid) {
  return !xid.gtrid.empty() && xid.gtrid.size() <= Xid::max_part && xid.bqual.size() <= Xid::max_part;
}

Row row_of(const Xid& xid, bool mariadb) {
  const std::string bytes = xid.gtrid + xid.bqual;
  return {std::to_string(xid.format_id), std::to_string(xid.gtrid.size()), std::to_string(xid.bqual.size()),
          mariadb ? bytes : "0x" + assent::to_hex(bytes)};
}

void check_xid(const Xid& xid) {
  require(is_printable(xid.text()), "the text of a branch is one line");
  require(Xid::from_text(xid.text()) == xid, "what is shown of a branch names it");
  const std::string gid = assent::to_gid(xid);
  require(gid.size() <= 199 && is_printable(gid), "a gid fits into PostgreSQL");
  require(assent::from_gid(gid) == xid, "a gid names its branch");
  for (const bool mariadb : {true, false}) {
    const auto listed = decode_recovered(row_of(xid, mariadb), mariadb);
    require(listed && listed->xid == xid && listed->note.empty(), "a listed branch is that branch");
    require(listed->raw == assent::mysql::xid_literal(xid), "its raw text is what the XA statements take");
  }
  if (const auto id = xid.transaction()) {
    require(Xid::of(*id, xid.bqual) == xid, "a branch of ours is its transaction and its resource");
  }
}

void check_row(const Row& row, bool mariadb) {
  const auto listed = decode_recovered(row, mariadb);
  require(listed.has_value(), "a row of four columns is shown");
  if (listed->note.empty()) {
    require(within_limits(listed->xid), "a listed branch is within X/Open's limits");
    Row again = row_of(listed->xid, mariadb);
    Row lower = row;
    if (!mariadb) {
      for (char& c : *lower[3]) c = static_cast<char>(c >= 'A' && c <= 'F' ? c - 'A' + 'a' : c);
    }
    require(again == lower, "only a row that says what the branch is, is that branch");
  } else {
    require(listed->xid == Xid{0, "", ""}, "what is no Xid has none");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Script script(data, size);
  switch (script.below(3)) {
    case 0:
      check_text(script.rest());
      break;
    case 1: {
      Xid xid;
      if (script.below(2) != 0) xid.format_id = static_cast<std::int64_t>(script.number());
      const std::size_t length = 1 + script.below(Xid::max_part);
      xid.gtrid = script.text(length);
      xid.bqual = script.text(Xid::max_part);
      if (!xid.gtrid.empty()) check_xid(xid);
      break;
    }
    default: {
      const bool mariadb = script.below(2) != 0;
      Row row;
      for (int column = 0; column < 3; ++column) row.emplace_back(script.text(script.below(24)));
      row.emplace_back(script.rest());
      check_row(row, mariadb);
    }
  }
  return 0;
}
