#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "assent/bench/rounds.h"
#include "assent/tm/transaction_manager.h"

namespace assent::bench {

/// Two resources that say ok to everything at once: what is left is Assent itself, and its log.
class NullTransactions : public Side {
 public:
  enum class Decider { log, first_resource };
  NullTransactions(const std::string& log_directory, Decider decider);

  void run_one(int client) override;
  /// Lets what is under way end.
  virtual void settle() {}
  DecisionLog::Counters log_counters() const { return manager_.log_counters(); }
  std::uint64_t committed() const { return committed_; }

 protected:
  struct Null;
  void count(const Outcome& outcome);

  TransactionManager manager_;
  const Resource<Null> first_;
  const Resource<Null> second_;
  std::atomic<std::uint64_t> committed_{0};
};

/// The same by coroutines, so many in flight at any time, of one client: its thread is all that they have. Each time
/// measured is that from one commit to the next.
class AsyncNullTransactions final : public NullTransactions {
 public:
  AsyncNullTransactions(const std::string& log_directory, int in_flight);
  ~AsyncNullTransactions() override;

  /// One client only.
  void run_one(int client) override;
  void settle() override;

 private:
  struct Flight;
  const std::unique_ptr<Flight> flight_;
};

/// One write of the log that is followed by a sync.
struct Batch {
  std::uint64_t offset = 0;
  std::size_t bytes = 0;
};

/// Where one client's decisions over two resources make the log write, and how much: recorded from a log of that many
/// decisions in `directory`, which is best in memory, and removed afterwards.
std::vector<Batch> record_log_writes(const std::string& directory, int decisions);

/// The least that such a log costs: the same sizes at the same offsets, written and synced into a file of zeros.
class RawDisk final : public Side {
 public:
  RawDisk(const std::string& directory, std::vector<Batch> batches);
  ~RawDisk() override;

  /// One client only.
  void run_one(int client) override;

 private:
  const std::string path_;
  const std::vector<Batch> batches_;
  std::string bytes_;
  int descriptor_ = -1;
  std::size_t next_ = 0;
};

}  // namespace assent::bench
