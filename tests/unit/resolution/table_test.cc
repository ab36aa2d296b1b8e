// The decision table once more, as it came out of all combinations of evidence: who changes a row changes it here too,
// and sees how many combinations moved.
#include <gtest/gtest.h>

#include <map>
#include <string_view>

#include "assent/recovery/resolution.h"

namespace assent {
namespace {

struct Row {
  int combinations;
  Verdict verdict;
  Action action;
  int rule;
  std::string_view text;
};

constexpr Row rows[] = {
    {18000, Verdict::leave, Action::none, 1, "not one of Assent's: another party's branch is never touched"},
    {18000, Verdict::leave, Action::none, 1,
     "its decider is a log that this node does not have; only that log can settle it"},
    {18000, Verdict::leave, Action::none, 1, "its decider is the log of a live process, which settles it"},
    {18000, Verdict::leave, Action::none, 9,
     "its decider's slot is held by nobody; whoever adopts the slot settles it"},
    {720, Verdict::leave, Action::none, 2, "the transaction is running in this process"},
    {276, Verdict::needs_person, Action::none, 8,
     "the database lists it for another owner or another of its databases, so it cannot be finished from here"},
    {36, Verdict::wait, Action::none, 6,
     "the engine decided it, and the decision has left the log since: it was finished meanwhile"},
    {3312, Verdict::needs_person, Action::none, 8,
     "another database stands behind the resource's name than the one the log recorded"},
    {3312, Verdict::needs_person, Action::none, 8, "two configured resources are one database"},
    {2760, Verdict::needs_person, Action::none, 8,
     "the log never recorded which database stands behind the resource's name"},
    {3312, Verdict::needs_person, Action::none, 8, "no resource of that name is configured, now or formerly"},
    {1104, Verdict::wait, Action::none, 7, "the database cannot be asked now"},
    {720, Verdict::wait, Action::none, 4,
     "in doubt until the log is opened again, or the last resource that decides it answers"},
    {4, Verdict::roll_back, Action::roll_back, 6,
     "rolled back by the engine, which got no answer; the branch is still prepared"},
    {8, Verdict::heuristic, Action::none, 7,
     "rolled back by the engine, and the witness says that the database committed it"},
    {8, Verdict::wait, Action::none, 6, "not prepared now, but the session that carries it may still prepare it"},
    {8, Verdict::finished, Action::none, 6, "not prepared, and the session that could still prepare it is proven gone"},
    {8, Verdict::wait, Action::none, 6, "rolled back by the engine, and still in progress"},
    {4, Verdict::resurrected, Action::none, 5,
     "the engine is done with the transaction, and the branch is prepared: a restored database"},
    {32, Verdict::finished, Action::none, 6, "the engine is done with the transaction"},
    {20, Verdict::roll_back, Action::roll_back, 2, "its incarnation is gone and left no decision: presumed aborted"},
    {80, Verdict::heuristic, Action::none, 7, "it left no decision, and was committed all the same by somebody else"},
    {240, Verdict::wait, Action::none, 6,
     "no decision, and not prepared now; one empty scan proves nothing, a late prepare is rolled back by a later pass"},
    {20, Verdict::roll_back, Action::roll_back, 1, "the last resource that decides it did not commit, and never can"},
    {414, Verdict::wait, Action::none, 1, "the last resource that decides it cannot be asked now"},
    {414, Verdict::needs_person, Action::none, 8,
     "the last resource that decides it is not configured here, or is another database than it was"},
    {180, Verdict::needs_person, Action::none, 2,
     "the log was copied or restored since, so it presumes nothing until a person adopts it"},
    {180, Verdict::needs_person, Action::none, 2, "the log does not know the incarnation, so it presumes nothing"},
    {44, Verdict::commit, Action::commit, 1, "the decision to commit is recorded"},
    {88, Verdict::finished, Action::none, 7, "decided, and the witness says committed"},
    {48, Verdict::heuristic, Action::none, 7,
     "decided to commit, and the witness says that the database rolled it back"},
    {88, Verdict::wait, Action::commit, 7,
     "decided, not listed, and still in progress: a prepared branch that the server hides"},
    {88, Verdict::needs_person, Action::commit, 7,
     "decided, and neither the list of prepared branches nor a witness knows the branch: it may have been committed, "
     "or lost"},
    {18, Verdict::needs_person, Action::none, 4,
     "a decision to commit is recorded, and the engine says it rolled back"},
    {40, Verdict::needs_person, Action::commit, 7,
     "decided, and no witness says committed; but the log is a copy, and its original may have committed the branch "
     "and swept the witness"},
    {46, Verdict::resurrected, Action::none, 5,
     "the transaction was over, and the branch is prepared again: a restored database"},
    {368, Verdict::finished, Action::none, 5, "every branch gave positive evidence before"},
};

TEST(resolution_table, says_for_every_combination_what_it_said_when_it_was_written_down) {
  struct Seen {
    int combinations = 0;
    Resolution said;
  };
  std::map<std::string_view, Seen> seen;
  Evidence e;
  for (int n = 0; n < 5 * 6 * 5 * 5 * 6 * 5 * 2 * 2; ++n) {
    int rest = n;
    const auto next = [&rest](int values) {
      const int value = rest % values;
      rest /= values;
      return value;
    };
    e.owner = static_cast<Owner>(next(5));
    e.log = static_cast<LogSays>(next(6));
    e.incarnation = static_cast<IncarnationIs>(next(5));
    e.engine = static_cast<EngineSays>(next(5));
    e.database = static_cast<DatabaseSays>(next(6));
    e.identity = static_cast<IdentityIs>(next(5));
    e.ours_to_finish = next(2) != 0;
    e.carrier_gone = next(2) != 0;
    const Resolution said = resolve(e);
    Seen& row = seen[said.text];
    if (row.combinations++ != 0) {
      EXPECT_EQ(said.verdict, row.said.verdict) << said.text;
      EXPECT_EQ(said.action, row.said.action) << said.text;
    }
    row.said = said;
  }
  EXPECT_EQ(seen.size(), std::size(rows));
  for (const Row& row : rows) {
    const Seen& found = seen[row.text];
    EXPECT_EQ(found.combinations, row.combinations) << row.text;
    EXPECT_EQ(found.said.verdict, row.verdict) << row.text;
    EXPECT_EQ(found.said.action, row.action) << row.text;
    EXPECT_EQ(found.said.rule, row.rule) << row.text;
  }
}

}  // namespace
}  // namespace assent
