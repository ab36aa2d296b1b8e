#include "assent/tools/assent/demo_bank.h"

#include "assent/xa/error.h"

namespace assent::tool {
namespace {

constexpr const char* accounts = "assent_demo_account";
constexpr const char* transfers = "assent_demo_transfer";

}  // namespace

void Bank::open_accounts(std::int64_t money) {
  remove();
  const std::string create = "CREATE TABLE ";
  execute({create + accounts + " (name VARCHAR(20) PRIMARY KEY, balance BIGINT NOT NULL)" + table_options(),
           create + transfers + " (id BIGINT PRIMARY KEY, amount BIGINT NOT NULL)" + table_options(),
           std::string("INSERT INTO ") + accounts + " VALUES ('alice', " + std::to_string(money) + ")"});
}

void Bank::remove() {
  execute({std::string("DROP TABLE IF EXISTS ") + accounts, std::string("DROP TABLE IF EXISTS ") + transfers});
}

Books Bank::read() {
  const std::vector<Rows> rows = query(
      {std::string("SELECT 0, SUM(balance) FROM ") + accounts, std::string("SELECT id, amount FROM ") + transfers});
  Books books;
  if (!rows.at(0).empty()) books.money = rows[0].front().second;
  for (const auto& [id, amount] : rows.at(1)) books.transfers.emplace(id, amount);
  return books;
}

void Bank::book(TransactionManager& manager, Transaction& transaction, std::int64_t transfer, std::int64_t amount) {
  execute_in(manager, transaction,
             {std::string("UPDATE ") + accounts + " SET balance = balance + (" + std::to_string(amount) +
                  ") WHERE name = 'alice'",
              std::string("INSERT INTO ") + transfers + " VALUES (" + std::to_string(transfer) + ", " +
                  std::to_string(amount) + ")"});
}

std::unique_ptr<Bank> open_bank(ResourceSpec spec) {
  take_password(spec.url);
  const std::string& scheme = spec.url.scheme;
  if (scheme == "sqlite") return sqlite_bank(spec);
  if (scheme == "postgresql" || scheme == "postgres") return postgres_bank(spec);
  if (scheme == "mysql" || scheme == "mariadb") return mysql_bank(spec);
  throw Error(ErrorCode::configuration, "the demonstration knows no database for scheme '" + scheme + "'",
              "use sqlite, postgresql, mysql or mariadb");
}

}  // namespace assent::tool
