#pragma once

#include <libpq-fe.h>

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "assent/xa/reply.h"

namespace assent::detail::postgres {

/// What the server said to one simple query string: a result for each statement, up to the first that failed.
class Answer {
 public:
  struct Clear {
    void operator()(PGresult* result) const { PQclear(result); }
  };
  using Owned = std::unique_ptr<PGresult, Clear>;

  /// Nothing left this process: the session was dead before.
  bool unsent = false;
  /// The session ended before the server was done answering: what was sent may or may not have taken effect.
  bool lost = false;
  std::string sqlstate;  ///< of the statement that failed; empty when none did, or when no server said it
  std::string text;      ///< one line for people
  std::vector<Owned> results;

  bool ok() const { return !unsent && !lost && sqlstate.empty() && text.empty(); }
  /// The command tag of the last result: "COMMIT", "ROLLBACK", "PREPARE TRANSACTION"; empty if there is none.
  std::string_view tag() const;

  /// Of the last result that has rows; 0 if none has.
  int rows() const;
  /// A field of that result; empty for null or out of range.
  std::string field(int row, int column) const;
  bool is_null(int row, int column) const;

 private:
  const PGresult* table() const;
};

/// The reply to a verb whose query string failed. An ERROR is certain: nothing of it took effect. A session that ended
/// is not: the server may have obeyed and been unable to say so.
Reply failure_of(const Answer& answer);

/// The reply to COMMIT PREPARED or ROLLBACK PREPARED. The branch outlives every error, so none is a rollback, though a
/// late cancel request (57014) that ended the command alone looks like one.
Reply finish_reply(const Answer& answer);

/// The X/Open code for a SQLSTATE that ended a transaction.
Code code_of(std::string_view sqlstate);

/// Line breaks and runs of blanks become one blank; at most 500 bytes.
std::string one_line(std::string_view text);

}  // namespace assent::detail::postgres
