#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "assent/tm/transaction_manager.h"
#include "assent/xa/resource_url.h"

namespace assent::tool {

/// What a bank's books say.
struct Books {
  std::int64_t money = 0;
  std::map<std::int64_t, std::int64_t> transfers;  ///< amount by number of the transfer
};

/// A bank of the demonstration: accounts in one database, written through Assent, and read without it, as anybody
/// would. Failures are exceptions with the database's own words.
class Bank {
 public:
  virtual ~Bank() = default;
  Bank(const Bank&) = delete;
  Bank& operator=(const Bank&) = delete;

  const std::string& name() const { return name_; }

  void open_accounts(std::int64_t money);
  void remove();
  Books read();
  /// This bank's share of a transfer, inside the transaction: positive comes in, negative goes out.
  void book(TransactionManager& manager, Transaction& transaction, std::int64_t transfer, std::int64_t amount);

 protected:
  using Rows = std::vector<std::pair<std::int64_t, std::int64_t>>;
  Bank(std::string name, const std::string& tables)
      : name_(std::move(name)), accounts_(tables + "_account"), transfers_(tables + "_transfer") {}

  /// On a connection of its own, each statement at once.
  virtual void execute(const std::vector<std::string>& statements) = 0;
  /// Two whole numbers a row; all queries see one moment.
  virtual std::vector<Rows> query(const std::vector<std::string>& queries) = 0;
  virtual void execute_in(TransactionManager& manager, Transaction& transaction,
                          const std::vector<std::string>& statements) = 0;
  virtual std::string table_options() const { return ""; }

 private:
  const std::string name_;
  const std::string accounts_;
  const std::string transfers_;
};

std::unique_ptr<Bank> sqlite_bank(const ResourceSpec& spec, const std::string& tables);
std::unique_ptr<Bank> postgres_bank(const ResourceSpec& spec, const std::string& tables);
std::unique_ptr<Bank> mysql_bank(const ResourceSpec& spec, const std::string& tables);
/// By the URL's scheme. `tables` begins the names of its tables, so that several demonstrations may share a database.
/// Throws Error{configuration}.
std::unique_ptr<Bank> open_bank(ResourceSpec spec, const std::string& tables);

}  // namespace assent::tool
