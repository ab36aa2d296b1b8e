#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "assent/tm/transaction_manager.h"
#include "assent/xa/resource_url.h"

namespace assent::bench {

/// Accounts in each database of a workload, and what each holds at first.
constexpr int accounts = 10'000;
constexpr std::int64_t opening_balance = 1'000'000;

/// What a server itself has counted since it was started. Nothing where it does not count.
struct ServerCounts {
  std::optional<std::uint64_t> syncs;
  std::optional<std::uint64_t> statements;
};

/// A session as a person would use it who writes two-phase commit by hand: the driver, one statement a round trip.
/// One thread at a time. Failures are the driver's exceptions.
class HandSession {
 public:
  virtual ~HandSession() = default;
  HandSession(const HandSession&) = delete;
  HandSession& operator=(const HandSession&) = delete;

  /// `id` names the branch in the server: letters, digits and '-'.
  virtual void begin_branch(const std::string& id) = 0;
  virtual void begin_local() = 0;
  virtual void begin_reading() = 0;
  virtual void add(int account, int cents) = 0;
  virtual std::int64_t read(int account) = 0;
  virtual void prepare() = 0;
  virtual void commit_prepared() = 0;
  virtual void commit_local() = 0;

 protected:
  HandSession() = default;
};

/// The same work inside of a transaction of Assent's. Thread-safe, as the handle in it.
class AssentShare {
 public:
  virtual ~AssentShare() = default;
  AssentShare(const AssentShare&) = delete;
  AssentShare& operator=(const AssentShare&) = delete;

  virtual void add(Transaction& transaction, int account, int cents) const = 0;
  /// In a branch that is declared read-only.
  virtual std::int64_t read(Transaction& transaction, int account) const = 0;

 protected:
  AssentShare() = default;
};

/// One database of the workloads, with a table of accounts that is the bench's own. Failures are exceptions with the
/// database's own words.
class Database {
 public:
  virtual ~Database() = default;
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  const ResourceSpec& spec() const { return spec_; }
  const std::string& name() const { return spec_.name; }
  const std::string& table() const { return table_; }

  /// "PostgreSQL 15.18", and the settings that say whether a commit is on its disk.
  virtual std::string product() = 0;
  virtual std::vector<std::string> settings() = 0;
  virtual void open_accounts() = 0;
  virtual void remove() = 0;
  virtual std::int64_t sum() = 0;
  /// Asked when no session of the bench is open: what backends did is in by then.
  virtual ServerCounts counts() = 0;
  /// Throws Error{resource_unfit} when the server cannot hold so many prepared transactions at once.
  virtual void demand_room_for_prepared(int transactions) = 0;
  virtual std::unique_ptr<HandSession> connect() = 0;
  virtual std::unique_ptr<AssentShare> share(const TransactionManager& manager) = 0;
  /// On a branch that the database's adapter opened.
  virtual void add_in(Branch& branch, int account, int cents) = 0;

 protected:
  Database(ResourceSpec spec, std::string table) : spec_(std::move(spec)), table_(std::move(table)) {}

 private:
  const ResourceSpec spec_;
  const std::string table_;
};

/// By the URL's scheme: PostgreSQL, MySQL and MariaDB. SQLite has no prepare that could be written by hand. Throws
/// Error{configuration}.
std::unique_ptr<Database> open_database(const ResourceSpec& spec, const std::string& table);
std::unique_ptr<Database> postgres_database(const ResourceSpec& spec, const std::string& table);
std::unique_ptr<Database> mysql_database(const ResourceSpec& spec, const std::string& table);

}  // namespace assent::bench
