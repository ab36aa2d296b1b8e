// A process with a transaction manager that does what its standard input says, line by line, and says what came of it.
//
//   crash_worker CONFIG TABLE ACCOUNT
//
//   open                       opened
//   trace                      from now on: step VERB RESOURCE before|after
//   at POINT N die|stop        dies or stops there (point.h); N other resources execute the same effect
//   transfer SHAPE AMOUNT      begun ID, then: outcome KIND ID TEXT, or: failed WHY
//   hold SHAPE AMOUNT          the same work, not committed: held ID
//   finish                     commits what is held: outcome …
//   load SHAPE N               N transfers of 1; then: loaded
//   what ID                    what KIND PENDING ID TEXT
//   recover                    recovered UNFINISHED LEFT PERSON: counts of one whole pass
//   prefork N                  N children go on with account ACCOUNT+1, ACCOUNT+2, …; this process waits for them
//   fork                       a child uses what is its parent's: child refused|allowed …, and exits
//   keep-sessions              a child that only holds this process' sockets open: kept PID
//   quit | exit | _exit        ends: cleanly, by exit(0), by _exit(0)
#include <cppconn/connection.h>
#include <cppconn/statement.h>
#include <sqlite3.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <pqxx/pqxx>
#include <sstream>
#include <stdexcept>
#include <string>

#include "assent/adapters/mysql/mysql.h"
#include "assent/adapters/postgres/postgres.h"
#include "assent/adapters/sqlite/sqlite.h"
#include "assent/tests/crash/script.h"
#include "assent/tm/transaction_manager.h"
#include "assent/xa/error.h"

namespace assent::testing {
namespace {

class Worker {
 public:
  Worker(std::string config, std::string table, int account)
      : config_(std::move(config)), table_(std::move(table)), account_(account) {}

  /// False when it is to end.
  bool obey(const std::string& line);

 private:
  TransactionManager& tm() { return *tm_; }
  void open();
  void work(Transaction& transaction, const std::string& shape, int amount);
  void transfer(const std::string& shape, int amount);
  void load(const std::string& shape, int times);
  void finish();
  void tell(const Outcome& outcome);
  void what(const std::string& id);
  void recover();
  void prefork(int children);
  void use_parents();
  void keep_sessions();
  std::string add(int amount) const {
    return "UPDATE " + table_ + " SET balance = balance + " + std::to_string(amount) +
           " WHERE id = " + std::to_string(account_);
  }

  const std::string config_;
  const std::string table_;
  int account_;
  std::shared_ptr<Script> script_ = std::make_shared<Script>();
  std::optional<TransactionManager> tm_;
  std::optional<Transaction> held_;
};

void Worker::open() {
  Registry adapters;
  Postgres::register_with(adapters);
  MySql::register_with(adapters);
  Sqlite::register_with(adapters);
  tm_.emplace(TransactionManager::open(config_, adapters, script_));
  say("opened");
}

// all: 2 from the ledger, 1 each to the shop and the local database; behind: the same, acknowledged at the decision;
// by-RESOURCE: the same, decided by a last resource. Those of one resource alone pay in.
void Worker::work(Transaction& transaction, const std::string& shape, int amount) {
  const bool three =
      shape == "all" || shape == "behind" || shape == "no" || shape == "undo" || shape.starts_with("by-");
  const bool several = three || shape == "pair";
  if (several || shape == "ledger") {
    transaction.on(tm().resource<Postgres>("ledger"), [&](pqxx::transaction_base& sql) {
      sql.exec(add(shape == "pair" ? -amount : several ? -2 * amount : amount));
      // A foreign key that is checked at the end only: the database votes no.
      if (shape == "no") sql.exec("UPDATE " + table_ + " SET branch = 0 WHERE id = " + std::to_string(account_));
    });
  }
  if (several || shape == "shop") {
    transaction.on(tm().resource<MySql>("shop"), [&](sql::Connection& sql) {
      const std::unique_ptr<sql::Statement> statement(sql.createStatement());
      statement->execute(add(amount));
    });
  }
  if (three || shape == "local") {
    transaction.on(tm().resource<Sqlite>("local"), [&](sqlite3& sql) {
      const std::string text = "UPDATE account SET balance = balance + " + std::to_string(amount);
      if (sqlite3_exec(&sql, text.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
        throw std::runtime_error(sqlite3_errmsg(&sql));
      }
    });
  }
}

void Worker::tell(const Outcome& outcome) {
  std::string kind(to_string(outcome.kind()));
  for (char& c : kind) c = c == ' ' ? '_' : c;
  say("outcome " + kind + ' ' + outcome.id().text() + ' ' + outcome.text() + ": " + outcome.reason());
}

void Worker::transfer(const std::string& shape, int amount) {
  try {
    Transaction transaction = tm().begin({.label = shape + ' ' + std::to_string(amount),
                                          .ack_at = shape == "behind" ? AckAt::decided : AckAt::finished,
                                          .last_resource = shape.starts_with("by-") ? shape.substr(3) : ""});
    say("begun " + transaction.id().text());
    work(transaction, shape, amount);
    tell(shape == "undo" ? transaction.rollback() : transaction.commit());
  } catch (const std::exception& error) {
    say(std::string("failed ") + error.what());
  }
}

void Worker::load(const std::string& shape, int times) {
  for (int i = 0; i < times; ++i) transfer(shape, 1);
  say("loaded");
}

void Worker::finish() {
  const Outcome outcome = held_->commit();
  held_.reset();
  tell(outcome);
}

void Worker::what(const std::string& id) {
  const Outcome outcome = tm().outcome(TransactionId::from_text(id).value());
  std::string kind(to_string(outcome.kind()));
  for (char& c : kind) c = c == ' ' ? '_' : c;
  say("what " + kind + ' ' + std::to_string(outcome.pending().size()) + ' ' + outcome.text());
}

void Worker::recover() {
  const RecoveryReport report = tm().recover_now();
  std::size_t unfinished = 0;
  for (const LogReport& log : report.logs) unfinished += log.unfinished;
  std::size_t left = 0;
  for (const BranchReport& branch : report.branches) {
    left += !branch.done && branch.evidence.owner == Owner::in_hand ? 1 : 0;
  }
  say("recovered " + std::to_string(unfinished) + ' ' + std::to_string(left) + ' ' +
      std::to_string(report.needing_person()));
}

// Before open(): each child then has the node directory's next slot. They are told by lines "CHILD COMMAND" that this
// process passes on, and their answers come over the pipe that all share.
void Worker::prefork(int children) {
  std::vector<int> inputs;
  for (int child = 0; child < children; ++child) {
    int ends[2];
    if (::pipe(ends) != 0) throw std::runtime_error("pipe");
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::prctl(PR_SET_PDEATHSIG, SIGKILL);
      ::dup2(ends[0], STDIN_FILENO);
      ::close(ends[0]);
      ::close(ends[1]);
      for (const int other : inputs) ::close(other);
      std::cin.clear();
      account_ += child + 1;
      for (std::string line; std::getline(std::cin, line) && obey(line);) {
      }
      ::_exit(0);
    }
    ::close(ends[0]);
    inputs.push_back(ends[1]);
    say("child " + std::to_string(child) + ' ' + std::to_string(pid));
  }
  std::signal(SIGPIPE, SIG_IGN);
  for (std::string line; std::getline(std::cin, line);) {
    const std::size_t child = std::stoul(line);
    const std::string command = line.substr(line.find(' ') + 1) + '\n';
    static_cast<void>(!::write(inputs.at(child), command.data(), command.size()));
  }
  for (const int input : inputs) ::close(input);
  while (::wait(nullptr) > 0) {
  }
}

void Worker::use_parents() {
  const pid_t child = ::fork();
  if (child == 0) {
    std::string said = "allowed";
    try {
      static_cast<void>(tm().begin());
    } catch (const Error& error) {
      said = error.code() == ErrorCode::misuse ? "refused" : error.what();
    }
    // What is held is destroyed in the child as well: nothing of it may reach the parent's sessions.
    held_.reset();
    say("child " + said);
    tm_.reset();
    std::exit(0);
  }
  ::waitpid(child, nullptr, 0);
  say("forked");
}

void Worker::keep_sessions() {
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(STDIN_FILENO);
    ::close(STDOUT_FILENO);
    while (true) ::pause();
  }
  say("kept " + std::to_string(child));
}

bool Worker::obey(const std::string& line) {
  std::istringstream words(line);
  std::string verb;
  words >> verb;
  std::string shape;
  int number = 0;
  if (verb == "open") {
    open();
  } else if (verb == "trace") {
    script_->trace(true);
  } else if (verb == "at") {
    const Point point = Point::from(words);
    std::size_t others = 0;
    std::string deed;
    words >> others >> deed;
    script_->at(point, others, deed == "die" ? Script::Deed::die : Script::Deed::stop);
  } else if (verb == "transfer") {
    words >> shape >> number;
    transfer(shape, number);
  } else if (verb == "hold") {
    words >> shape >> number;
    held_.emplace(tm().begin());
    work(*held_, shape, number);
    say("held " + held_->id().text());
  } else if (verb == "finish") {
    finish();
  } else if (verb == "load") {
    words >> shape >> number;
    load(shape, number);
  } else if (verb == "what") {
    words >> shape;
    what(shape);
  } else if (verb == "recover") {
    recover();
  } else if (verb == "prefork") {
    words >> number;
    prefork(number);
    return false;
  } else if (verb == "fork") {
    use_parents();
  } else if (verb == "keep-sessions") {
    keep_sessions();
  } else if (verb == "exit") {
    std::exit(0);
  } else if (verb == "_exit") {
    ::_exit(0);
  } else if (verb == "quit") {
    held_.reset();
    tm_.reset();
    say("closed");
    return false;
  } else {
    say("failed: no such command: " + line);
  }
  return true;
}

}  // namespace
}  // namespace assent::testing

int main(int argc, char** argv) {
  if (argc != 4) return 64;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // On the heap and never destroyed but by `quit`: exit() meets it as it is.
  static auto* const worker = new assent::testing::Worker(argv[1], argv[2], std::atoi(argv[3]));
  try {
    for (std::string line; std::getline(std::cin, line) && worker->obey(line);) {
    }
  } catch (const std::exception& error) {
    assent::testing::say(std::string("failed ") + error.what());
    return 1;
  }
  return 0;
}
