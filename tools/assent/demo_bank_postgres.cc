#include <pqxx/connection>
#include <pqxx/nontransaction>
#include <pqxx/transaction>

#include "assent/adapters/postgres/postgres.h"
#include "assent/tools/assent/demo_bank.h"

namespace assent::tool {
namespace {

std::string quoted(const std::string& value) {
  std::string out = "'";
  for (const char c : value) {
    if (c == '\'' || c == '\\') out += '\\';
    out += c;
  }
  return out + '\'';
}

class PostgresBank final : public Bank {
 public:
  PostgresBank(const ResourceSpec& spec, const std::string& tables) : Bank(spec.name, tables) {
    const auto add = [&](const char* key, const std::string& value) {
      if (!value.empty()) options_ += std::string(key) + '=' + quoted(value) + ' ';
    };
    add("host", spec.url.host);
    add("user", spec.url.user);
    add("password", spec.url.password);
    add("dbname", spec.url.path);
    if (spec.url.port != 0) add("port", std::to_string(spec.url.port));
    for (const auto& [key, value] : spec.url.parameters) add(key.c_str(), value);
  }

 private:
  void execute(const std::vector<std::string>& statements) override {
    pqxx::connection connection(options_);
    pqxx::nontransaction work(connection);
    work.exec("SET client_min_messages = warning");
    for (const std::string& each : statements) work.exec(each);
  }

  std::vector<Rows> query(const std::vector<std::string>& queries) override {
    pqxx::connection connection(options_);
    pqxx::transaction<pqxx::isolation_level::repeatable_read> work(connection);
    std::vector<Rows> out;
    for (const std::string& each : queries) {
      Rows rows;
      for (const auto& row : work.exec(each)) rows.emplace_back(row[0].as<std::int64_t>(), row[1].as<std::int64_t>());
      out.push_back(std::move(rows));
    }
    return out;
  }

  void execute_in(TransactionManager& manager, Transaction& transaction,
                  const std::vector<std::string>& statements) override {
    transaction.on(manager.resource<Postgres>(name()), [&](Postgres::Session& session) {
      for (const std::string& each : statements) session.exec(each);
    });
  }

  std::string options_;
};

}  // namespace

std::unique_ptr<Bank> postgres_bank(const ResourceSpec& spec, const std::string& tables) {
  return std::make_unique<PostgresBank>(spec, tables);
}

}  // namespace assent::tool
