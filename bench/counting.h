#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "assent/bench/transfer.h"

namespace assent::bench {

/// What a transaction costs in one database; nothing where it cannot be counted.
struct DatabaseCost {
  std::string database;
  std::optional<double> syncs;       ///< the server's own count, background work included
  std::optional<double> statements;  ///< the server's own count
  std::optional<double> messages;    ///< requests on the wire: round trips
};

struct Cost {
  std::vector<DatabaseCost> databases;
  std::optional<double> log_syncs;  ///< of Assent's decision log
  std::int64_t transactions = 0;
};

/// Messages that this process sent on its open TCP connections, by the port they lead to: segments with data. Verbs are
/// small and the kernel sends each at once, so a segment is a message.
std::map<std::uint16_t, std::uint64_t> messages_sent();
std::uint16_t port_of(const Database& database);

/// Counts what `each` transactions of every client cost, apart from every timed round: PostgreSQL's backends report
/// what they did when they end, so a count spans the life of a side, less what such a life costs without work.
/// `opened` makes the side; `committed` is told how many transactions it committed in the end.
Cost count_cost(const Transfer& transfer, int clients, int each,
                const std::function<std::unique_ptr<TransferSide>()>& opened,
                const std::function<void(std::int64_t)>& committed);

}  // namespace assent::bench
