#pragma once

#include <chrono>
#include <cstddef>
#include <string>
#include <vector>

#include "assent/tm/outcome.h"
#include "assent/xa/resource_url.h"

namespace assent {

/// What `assent.toml` says; may be built in code as well.
///
///     node = "shop-1"                  # this node's name; the log directory belongs to it
///     log = "/var/lib/shop/assent"     # directory of the decision log; relative to the file
///     recovery_interval_ms = 1000      # how often recovery looks (default 1000)
///     threads = 16                     # for the verbs of all branches but a transaction's first (default 16)
///     ack_at = "finished"              # or "decided": commit() answers at the durable decision (AckAt)
///     last_resource = "ledger"         # decides by a row of its own, instead of the log (TransactionOptions)
///     behind = 1000                    # most transactions whose phase two goes on behind their callers (default 1000)
///
///     [resources.ledger]
///     url = "postgresql://app@db1/ledger?password_env=LEDGER_PASSWORD"
///     formerly = ["bank"]              # earlier names of the same database
///     pool = 16                        # most sessions at once (default 16)
///     pool_wait_ms = 5000              # longest wait for a session without a deadline (default 5000)
struct Config {
  std::string node;
  std::string log_directory;
  std::chrono::milliseconds recovery_interval{1000};
  std::size_t threads = 16;  ///< of the asynchronous interface too, for each of three kinds of verbs: tm/async.h
  AckAt ack_at = AckAt::finished;
  std::string last_resource;                ///< empty: the log decides
  std::size_t behind = 1000;                ///< one more finishes before its commit() answers
  std::size_t log_segment_bytes = 4 << 20;  ///< of one file of the log; two of them at most, in the ordinary run
  std::vector<ResourceSpec> resources;
};

/// Throws Error{configuration} that names file, line and key; unknown keys are errors. Relative `log` paths and
/// `sqlite:///relative` URLs are taken from the file's own directory.
Config load_config(const std::string& path);

/// The same from text; `origin` stands for the file's name in errors, `directory` for its place.
Config parse_config(const std::string& text, const std::string& origin, const std::string& directory);

}  // namespace assent
