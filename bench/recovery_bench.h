#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "assent/bench/database.h"

namespace assent::bench {

/// What a crash leaves, and what it takes to settle it.
struct Recovered {
  std::vector<std::string> databases;  ///< products
  int transactions = 0;                ///< in doubt, each with a prepared branch in each of two databases
  int decided = 0;                     ///< of them; the others are presumed aborted
  double seconds = 0;                  ///< from opening the log until nothing is in doubt
  int passes = 0;
  struct PerDatabase {
    std::optional<std::uint64_t> syncs;
    std::optional<std::uint64_t> statements;  ///< the server's own count
    std::optional<std::uint64_t> messages;    ///< on the sessions that were open in the end
  };
  std::vector<PerDatabase> costs;
};

/// Prepares the branches with the adapters, decides every second transaction in a log of its own, lets go of all of it
/// as a crash would, and times a TransactionManager that settles it. Proves that what was decided is committed, and
/// nothing else. PostgreSQL needs max_prepared_transactions above the number of transactions: throws
/// Error{resource_unfit}. `prepared` is called after each transaction that is prepared.
Recovered time_recovery(Database& first, Database& second, int transactions, const std::string& log_directory,
                        const std::function<void()>& prepared);

struct Opened {
  std::uint64_t decisions = 0;
  double seconds = 0;
  std::uint64_t bytes = 0;  ///< of the log's files that were read
};

/// Times DecisionLog::open over a log of that many decisions, all of them finished, since its last checkpoint. `made`
/// is called after every ten thousand.
Opened time_opening(int decisions, const std::string& log_directory, const std::function<void()>& made);

}  // namespace assent::bench
