// Moves money from an account in PostgreSQL to one in MySQL or MariaDB, in both or in neither.
//
//   transfer assent.toml FROM TO CENTS
//
// The configuration names a resource `ledger` (PostgreSQL) and a resource `shop` (MySQL or MariaDB); each database has
//   CREATE TABLE account (id INTEGER PRIMARY KEY, cents BIGINT NOT NULL CHECK (cents >= 0))

#include <assent/adapters/mysql/mysql.h>
#include <assent/adapters/postgres/postgres.h>
#include <assent/tm/transaction_manager.h>
#include <assent/xa/error.h>
#include <cppconn/connection.h>
#include <cppconn/exception.h>
#include <cppconn/prepared_statement.h>

#include <chrono>
#include <iostream>
#include <memory>
#include <pqxx/pqxx>
#include <stdexcept>
#include <string>

namespace {

void withdraw(pqxx::transaction_base& sql, long account, long cents) {
  const auto rows = sql.exec_params("UPDATE account SET cents = cents - $1 WHERE id = $2", cents, account);
  if (rows.affected_rows() != 1) throw std::runtime_error("no account " + std::to_string(account) + " in the ledger");
}

void deposit(sql::Connection& sql, long account, long cents) {
  const std::unique_ptr<sql::PreparedStatement> update(
      sql.prepareStatement("UPDATE account SET cents = cents + ? WHERE id = ?"));
  update->setInt64(1, cents);
  update->setInt64(2, account);
  if (update->executeUpdate() != 1) throw std::runtime_error("no account " + std::to_string(account) + " in the shop");
}

int transfer(const std::string& configuration, long from, long to, long cents) {
  assent::Registry adapters;
  assent::Postgres::register_with(adapters);
  assent::MySql::register_with(adapters);
  auto tm = assent::TransactionManager::open(configuration, adapters);
  const auto ledger = tm.resource<assent::Postgres>("ledger");
  const auto shop = tm.resource<assent::MySql>("shop");

  const assent::RunOptions options{.deadline = std::chrono::seconds(5),
                                   .label = "transfer " + std::to_string(from) + " to " + std::to_string(to)};
  const assent::Outcome outcome = tm.run(options, [&](assent::Transaction& tx) {
    tx.on(ledger, [&](pqxx::transaction_base& sql) { withdraw(sql, from, cents); });
    tx.on(shop, [&](sql::Connection& sql) { deposit(sql, to, cents); });
  });

  std::cout << outcome.text() << '\n';
  switch (outcome.kind()) {
    case assent::OutcomeKind::committed:
      return 0;
    case assent::OutcomeKind::rolled_back:
      return 1;
    case assent::OutcomeKind::in_doubt:
    case assent::OutcomeKind::heuristic:
      std::cout << "look at it with: assent explain " << outcome.id().text() << '\n';
      return 2;
  }
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: transfer assent.toml FROM TO CENTS\n";
    return 64;
  }
  try {
    return transfer(argv[1], std::stol(argv[2]), std::stol(argv[3]), std::stol(argv[4]));
  } catch (const assent::Error& error) {
    std::cerr << "transfer: " << error.what() << "\n  " << error.hint() << '\n';
  } catch (const std::exception& error) {
    std::cerr << "transfer: rolled back: " << error.what() << '\n';
  }
  return 1;
}
