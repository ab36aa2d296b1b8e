#include "assent/tools/assent/demo_bank.h"

#include "assent/xa/error.h"

namespace assent::tool {
void Bank::open_accounts(std::int64_t money) {
  remove();
  const std::string create = "CREATE TABLE ";
  execute({create + accounts_ + " (name VARCHAR(20) PRIMARY KEY, balance BIGINT NOT NULL)" + table_options(),
           create + transfers_ + " (id BIGINT PRIMARY KEY, amount BIGINT NOT NULL)" + table_options(),
           std::string("INSERT INTO ") + accounts_ + " VALUES ('alice', " + std::to_string(money) + ")"});
}

void Bank::remove() {
  execute({std::string("DROP TABLE IF EXISTS ") + accounts_, std::string("DROP TABLE IF EXISTS ") + transfers_});
}

Books Bank::read() {
  const std::vector<Rows> rows = query(
      {std::string("SELECT 0, SUM(balance) FROM ") + accounts_, std::string("SELECT id, amount FROM ") + transfers_});
  Books books;
  if (!rows.at(0).empty()) books.money = rows[0].front().second;
  for (const auto& [id, amount] : rows.at(1)) books.transfers.emplace(id, amount);
  return books;
}

void Bank::book(TransactionManager& manager, Transaction& transaction, std::int64_t transfer, std::int64_t amount) {
  execute_in(manager, transaction,
             {std::string("UPDATE ") + accounts_ + " SET balance = balance + (" + std::to_string(amount) +
                  ") WHERE name = 'alice'",
              std::string("INSERT INTO ") + transfers_ + " VALUES (" + std::to_string(transfer) + ", " +
                  std::to_string(amount) + ")"});
}

std::unique_ptr<Bank> open_bank(ResourceSpec spec, const std::string& tables) {
  take_password(spec.url);
  const std::string& scheme = spec.url.scheme;
  if (scheme == "sqlite") return sqlite_bank(spec, tables);
  if (scheme == "postgresql" || scheme == "postgres") return postgres_bank(spec, tables);
  if (scheme == "mysql" || scheme == "mariadb") return mysql_bank(spec, tables);
  throw Error(ErrorCode::configuration, "the demonstration knows no database for scheme '" + scheme + "'",
              "use sqlite, postgresql, mysql or mariadb");
}

}  // namespace assent::tool
