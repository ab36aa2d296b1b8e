#include <cppconn/connection.h>
#include <cppconn/driver.h>
#include <cppconn/resultset.h>
#include <cppconn/statement.h>

#include "assent/adapters/mysql/mysql.h"
#include "assent/tools/assent/demo_bank.h"

namespace assent::tool {
namespace {

void run(sql::Connection& connection, const std::string& statement) {
  const std::unique_ptr<sql::Statement> prepared(connection.createStatement());
  prepared->execute(statement);
}

class MySqlBank final : public Bank {
 public:
  MySqlBank(const ResourceSpec& spec, const std::string& tables) : Bank(spec.name, tables), url_(spec.url) {}

 private:
  std::unique_ptr<sql::Connection> open() const {
    sql::ConnectOptionsMap options;
    options["userName"] = sql::SQLString(url_.user);
    options["password"] = sql::SQLString(url_.password);
    options["schema"] = sql::SQLString(url_.path);
    const auto socket = url_.parameters.find("socket");
    if (socket != url_.parameters.end()) {
      options["socket"] = sql::SQLString(socket->second);
    } else {
      options["hostName"] = sql::SQLString("tcp://" + url_.host);
      options["port"] = url_.port == 0 ? 3306 : static_cast<int>(url_.port);
    }
    return std::unique_ptr<sql::Connection>(get_driver_instance()->connect(options));
  }

  void execute(const std::vector<std::string>& statements) override {
    const auto connection = open();
    for (const std::string& each : statements) run(*connection, each);
  }

  std::vector<Rows> query(const std::vector<std::string>& queries) override {
    const auto connection = open();
    run(*connection, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY");
    std::vector<Rows> out;
    for (const std::string& each : queries) {
      const std::unique_ptr<sql::Statement> statement(connection->createStatement());
      const std::unique_ptr<sql::ResultSet> result(statement->executeQuery(each));
      Rows rows;
      while (result->next()) rows.emplace_back(result->getInt64(1), result->getInt64(2));
      out.push_back(std::move(rows));
    }
    return out;
  }

  void execute_in(TransactionManager& manager, Transaction& transaction,
                  const std::vector<std::string>& statements) override {
    transaction.on(manager.resource<MySql>(name()), [&](sql::Connection& connection) {
      for (const std::string& each : statements) run(connection, each);
    });
  }

  std::string table_options() const override { return " ENGINE=InnoDB"; }

  const ResourceUrl url_;
};

}  // namespace

std::unique_ptr<Bank> mysql_bank(const ResourceSpec& spec, const std::string& tables) {
  return std::make_unique<MySqlBank>(spec, tables);
}

}  // namespace assent::tool
