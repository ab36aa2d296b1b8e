#include "assent/bench/transfer.h"

#include <stdexcept>

#include "assent/adapters/mysql/mysql.h"
#include "assent/adapters/postgres/postgres.h"
#include "assent/xa/machine.h"

namespace assent::bench {
namespace {

TransactionManager open_manager(const Transfer& transfer, int clients, const std::string& log_directory,
                                std::chrono::milliseconds recovery_interval) {
  Config config;
  config.node = "bench";
  config.log_directory = log_directory;
  config.recovery_interval = recovery_interval;
  for (const Database* database : transfer.all()) {
    config.resources.push_back(database->spec());
    config.resources.back().pool_size = static_cast<std::size_t>(clients);
  }
  Registry registry;
  Postgres::register_with(registry);
  MySql::register_with(registry);
  return TransactionManager::open(config, registry);
}

}  // namespace

std::vector<Database*> Transfer::all() const {
  std::vector<Database*> out = written;
  out.insert(out.end(), read.begin(), read.end());
  return out;
}

int Transfer::cents(std::size_t written_database) const {
  if (written.size() == 1) return 1;
  return written_database == 0 ? -static_cast<int>(written.size() - 1) : 1;
}

std::int64_t Transfer::expected_sum(std::size_t written_database, std::int64_t transactions) const {
  return accounts * opening_balance + cents(written_database) * transactions;
}

void TransferSide::run_one(int client) {
  Client& mine = clients_[static_cast<std::size_t>(client)];
  const auto share = static_cast<std::uint64_t>(accounts) / clients_.size();
  const std::uint64_t account = static_cast<std::uint64_t>(client) * share + mine.number % share;
  transfer(client, mine.number++, static_cast<int>(account));
  ++committed_;
}

ByHand::ByHand(const Transfer& transfer, int clients)
    : TransferSide(clients), transfer_(transfer), run_("bench-" + std::to_string(random_bits())) {
  for (int client = 0; client < clients; ++client) {
    Sessions& mine = sessions_.emplace_back();
    for (Database* database : transfer_.written) mine.written.push_back(database->connect());
    for (Database* database : transfer_.read) mine.read.push_back(database->connect());
  }
}

void ByHand::transfer(int client, std::uint64_t number, int account) {
  Sessions& mine = sessions_[static_cast<std::size_t>(client)];
  for (const auto& each : mine.read) {
    each->begin_reading();
    static_cast<void>(each->read(account));
  }
  if (mine.written.size() == 1) {
    mine.written[0]->begin_local();
    mine.written[0]->add(account, transfer_.cents(0));
    for (const auto& each : mine.read) each->commit_local();
    mine.written[0]->commit_local();
    return;
  }
  const std::string id = run_ + '-' + std::to_string(client) + '-' + std::to_string(number);
  for (std::size_t i = 0; i < mine.written.size(); ++i) {
    mine.written[i]->begin_branch(id);
    mine.written[i]->add(account, transfer_.cents(i));
  }
  for (const auto& each : mine.written) each->prepare();
  for (const auto& each : mine.read) each->commit_local();
  for (const auto& each : mine.written) each->commit_prepared();
}

ThroughAssent::ThroughAssent(const Transfer& transfer, int clients, const std::string& log_directory,
                             std::chrono::milliseconds recovery_interval)
    : TransferSide(clients),
      transfer_(transfer),
      manager_(open_manager(transfer, clients, log_directory, recovery_interval)) {
  for (Database* database : transfer_.written) written_.push_back(database->share(manager_));
  for (Database* database : transfer_.read) read_.push_back(database->share(manager_));
}

void ThroughAssent::transfer(int, std::uint64_t, int account) {
  RunOptions options;
  if (transfer_.last_resource != nullptr) options.last_resource = transfer_.last_resource->name();
  const Outcome outcome = manager_.run(options, [&](Transaction& transaction) {
    for (const auto& each : read_) static_cast<void>(each->read(transaction, account));
    for (std::size_t i = 0; i < written_.size(); ++i) written_[i]->add(transaction, account, transfer_.cents(i));
  });
  if (!outcome.committed()) throw std::runtime_error("a transfer did not commit: " + outcome.text());
}

void ThroughAssent::prove_settled() {
  const RecoveryReport report = manager_.recover_now();
  for (const LogReport& log : report.logs) {
    if (log.unfinished != 0) {
      throw std::runtime_error(std::to_string(log.unfinished) + " decisions are left in the log after the bench");
    }
  }
}

}  // namespace assent::bench
