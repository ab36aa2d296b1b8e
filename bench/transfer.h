#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "assent/bench/database.h"
#include "assent/bench/rounds.h"
#include "assent/tm/config.h"
#include "assent/tm/transaction_manager.h"

namespace assent::bench {

/// What one transaction does: a cent leaves the first database for each of the others that are written, and one account
/// is read in each of those that are read. Borrows the databases.
struct Transfer {
  std::vector<Database*> written = {};
  std::vector<Database*> read = {};
  const Database* last_resource = nullptr;  ///< the written one that decides; else the log does

  std::vector<Database*> all() const;
  /// What each account table must hold after so many transactions.
  std::int64_t expected_sum(std::size_t written_database, std::int64_t transactions) const;
  int cents(std::size_t written_database) const;
};

/// Both sides let each client have accounts of its own: commit is measured, not waiting for locks.
class TransferSide : public Side {
 public:
  void run_one(int client) final;
  std::int64_t committed() const { return committed_; }

 protected:
  explicit TransferSide(int clients) : clients_(static_cast<std::size_t>(clients)) {}
  virtual void transfer(int client, std::uint64_t number, int account) = 0;

 private:
  struct alignas(64) Client {
    std::uint64_t number = 0;
  };
  std::vector<Client> clients_;
  std::atomic<std::int64_t> committed_{0};
};

/// Sequential two-phase commit as one writes it by hand, without any log: a crash between its phases leaves prepared
/// branches that nobody can settle. With one writer there is nothing to agree on: local commits, the writer's last.
class ByHand final : public TransferSide {
 public:
  ByHand(const Transfer& transfer, int clients);

 private:
  struct Sessions {
    std::vector<std::unique_ptr<HandSession>> written;
    std::vector<std::unique_ptr<HandSession>> read;
  };
  void transfer(int client, std::uint64_t number, int account) override;

  const Transfer transfer_;
  const std::string run_;
  std::vector<Sessions> sessions_;
};

/// Through the public door, with a log on disk.
class ThroughAssent final : public TransferSide {
 public:
  /// Recovery looks once at the beginning, and then as often.
  ThroughAssent(const Transfer& transfer, int clients, const std::string& log_directory,
                std::chrono::milliseconds recovery_interval = Config().recovery_interval);

  DecisionLog::Counters log_counters() const { return manager_.log_counters(); }
  /// Throws when anything is left in doubt.
  void prove_settled();

 private:
  void transfer(int client, std::uint64_t number, int account) override;

  const Transfer transfer_;
  TransactionManager manager_;
  std::vector<std::unique_ptr<AssentShare>> written_;
  std::vector<std::unique_ptr<AssentShare>> read_;
};

}  // namespace assent::bench
