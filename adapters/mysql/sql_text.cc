#include "assent/adapters/mysql/sql_text.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace assent::mysql {
namespace {

std::string lock(std::string_view prefix, const Xid& branch) {
  const Xid xid = branch.undecided();
  // The length keeps (ab, c) and (a, bc) apart.
  const std::string whole = std::to_string(xid.gtrid.size()) + ':' + xid.gtrid + xid.bqual;
  XXH128_canonical_t digest;
  XXH128_canonicalFromHash(&digest, XXH3_128bits(whole.data(), whole.size()));
  const std::string_view bytes(reinterpret_cast<const char*>(digest.digest), sizeof digest.digest);
  return '\'' + std::string(prefix) + to_hex(bytes) + '\'';
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

std::string require(const std::string& condition) {
  return "SET @assent_required=IF(" + condition + ",1,EXP(710))";
}

std::string held(const std::string& lock, std::uint32_t wait_s) {
  return "GET_LOCK(" + lock + ',' + std::to_string(wait_s) + ")=1";
}

bool is_ours(const Xid& xid) {
  return xid.format_id == Xid::assent_format && !xid.gtrid.empty() && xid.gtrid.size() <= Xid::max_part &&
         xid.bqual.size() <= Xid::max_part;
}

}  // namespace assent::mysql
