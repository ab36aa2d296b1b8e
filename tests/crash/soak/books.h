#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "assent/tests/crash/soak/notebook.h"
#include "assent/tests/support/servers.h"
#include "assent/xa/xid.h"

namespace assent::testing {

/// By transaction: was it committed? Nothing: nobody knows.
using Verdicts = std::map<std::string, std::optional<bool>>;

/// The money in all databases of the soak, looked at by sessions that know nothing of Assent's pools. In each database
/// a table of accounts and one with a row for each leg of a transfer. Throws std::runtime_error where one does not
/// answer.
class Books {
 public:
  /// Makes the tables in each of the servers and in a SQLite database at `file`.
  Books(const std::vector<Server>& servers, const std::string& file);
  Books(const Books&) = delete;
  Books& operator=(const Books&) = delete;
  ~Books();

  /// Of what the tables' names begin with.
  const std::string& tables() const { return tables_; }

  /// What keeps these logs' transactions from being over: branches that a database lists as prepared, rows that
  /// somebody holds, databases that do not answer.
  std::vector<std::string> unsettled(const std::set<LogId>& logs) const;

  /// What is wrong in the books, when these are all transactions that have touched the money.
  std::vector<std::string> mistakes(const Verdicts& verdicts);

  /// The history is forgotten, the balances go on from where they are. When there was no mistake.
  void begin_a_new_page();

  /// All rows, for people.
  std::string text() const;

 private:
  using Rows = std::vector<std::vector<std::string>>;
  struct Database {
    std::string name;
    std::function<Rows(const std::vector<std::string>&)> ask;  ///< the rows of the last statement
    std::function<std::vector<std::string>(const std::set<LogId>&)> prepared;
    std::string hold;  ///< fails while somebody else holds a row
    std::map<int, long> opening;
  };
  Rows history(const Database& database) const;
  std::map<int, long> balances(const Database& database) const;

  const std::string tables_;
  std::vector<Database> databases_;
};

}  // namespace assent::testing
