#include "assent/adapters/mysql/sql_text.h"

namespace assent::mysql {
namespace {

std::string lock(std::string_view prefix, const Xid& branch) {
  const Xid xid = branch.undecided();
  // The length keeps (ab, c) and (a, bc) apart.
  return "CONCAT('" + std::string(prefix) + "',SHA2(CONCAT('" + std::to_string(xid.gtrid.size()) + ":'," +
         binary_literal(xid.gtrid) + "," + binary_literal(xid.bqual) + "),224))";
}

}  // namespace

std::string binary_literal(std::string_view bytes) {
  return bytes.empty() ? "''" : "0x" + to_hex(bytes);
}

std::string xid_literal(const Xid& xid) {
  return binary_literal(xid.gtrid) + ',' + binary_literal(xid.bqual) + ',' + std::to_string(xid.format_id);
}

std::string identifier(std::string_view name) {
  std::string out = "`";
  for (const char c : name) {
    if (c == '`') out += '`';
    out += c;
  }
  return out + '`';
}

std::string identity_table(std::string_view schema) {
  return identifier(schema) + ".`assent_identity`";
}

std::string carrier_lock(const Xid& xid) {
  return lock("assent:", xid);
}

std::string recovery_lock(const Xid& xid) {
  return lock("assent!", xid);
}

bool is_ours(const Xid& xid) {
  return xid.format_id == Xid::assent_format && !xid.gtrid.empty() && xid.gtrid.size() <= Xid::max_part &&
         xid.bqual.size() <= Xid::max_part;
}

}  // namespace assent::mysql
