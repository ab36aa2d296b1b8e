#pragma once

#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "assent/tests/support/servers.h"
#include "assent/xa/resource_url.h"
#include "assent/xa/xid.h"

namespace assent::testing {

/// The two servers' side of the money: a table of this process' own in each, looked at by sessions that know nothing of
/// Assent's adapters' pools. Removed at the end. Throws std::runtime_error where a server does not answer.
class Bank {
 public:
  /// `shop`: which server is the second one.
  explicit Bank(Server shop);
  Bank(const Bank&) = delete;
  Bank& operator=(const Bank&) = delete;
  ~Bank();

  static constexpr long opening_balance = 1000;

  Server shop() const { return shop_; }
  const std::string& table() const { return table_; }
  const std::string& ledger_url() const { return ledger_url_; }
  const std::string& shop_url() const { return shop_url_; }

  void open_account(int id);

  /// Nothing while a transaction holds the row, or the server does not answer.
  std::optional<long> ledger_balance(int id) const;
  std::optional<long> shop_balance(int id) const;

  /// The branches of these logs that a server lists as prepared, and "… does not answer" where it does not.
  std::vector<std::string> in_doubt(const std::set<LogId>& logs) const;

  /// The first field of the answer; throws with the server's words.
  static std::string on_postgres(const std::string& url, const std::string& sql);
  static std::string on_mysql(const std::string& url, const std::string& sql);
  /// One session for all of them, which then leaves.
  static void on_mysql(const std::string& url, const std::vector<std::string>& statements);
  /// All that XA RECOVER lists, in the form of the server, letters small.
  static std::vector<std::string> listed_by_mysql(const std::string& url);

 private:
  const Server shop_;
  const std::string ledger_url_;
  const std::string shop_url_;
  std::string table_;
};

/// The first bytes of every gtrid of a log, in hex as MySQL and MariaDB list it.
std::string gtrid_prefix(LogId log);

}  // namespace assent::testing
