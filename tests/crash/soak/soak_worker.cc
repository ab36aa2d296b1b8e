// One process of the soak: threads that move money between the databases until they are told to rest.
//
//   soak_worker CONFIG NOTEBOOK TABLES SEED THREADS RESOURCE…
//
// What the applications in it are told goes into the notebook, whatever becomes of the process. On standard input:
//
//   open       opened
//   load       the threads begin; loading
//   rest       each thread ends what it is at; resting
//   what ID    what KIND PENDING TEXT
//   recover    recovered UNFINISHED PERSON: counts of one whole pass
#include <cppconn/connection.h>
#include <cppconn/statement.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdlib>
#include <iostream>
#include <memory>
#include <optional>
#include <pqxx/pqxx>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "assent/adapters/mysql/mysql.h"
#include "assent/adapters/postgres/postgres.h"
#include "assent/adapters/sqlite/sqlite.h"
#include "assent/tests/crash/soak/accounts.h"
#include "assent/tests/crash/soak/notebook.h"
#include "assent/tm/transaction_manager.h"
#include "assent/xa/error.h"

namespace assent::testing {
namespace {

void say(const std::string& line) {
  const std::string text = line + '\n';
  static_cast<void>(!::write(STDOUT_FILENO, text.data(), text.size()));
}

/// Writes down what recovery does, and what must never be heard.
class Listener : public Observer {
 public:
  explicit Listener(const Notebook& notebook) : notebook_(notebook) {}
  void resolved(const TransactionId& id, const std::string& resource, const Reply& reply) override {
    notebook_.write("resolved", id.text() + ' ' + resource + ' ' + describe(reply));
  }
  void heuristic(const Outcome& outcome) override { notebook_.write("alarm", "heuristic: " + outcome.text()); }
  void needs_person(const TransactionId& id, const std::string& resource, const std::string& why) override {
    notebook_.write("alarm", "needs a person: " + id.text() + ' ' + resource + ": " + why);
  }
  void log_stalled(const std::string& why) override { notebook_.write("alarm", "log stalled: " + why); }

 private:
  const Notebook& notebook_;
};

struct Leg {
  std::string resource;
  int account = 0;
  long amount = 0;
};

class Worker {
 public:
  Worker(std::string config, const std::string& notebook, std::string tables, unsigned seed, unsigned threads,
         std::vector<std::string> resources)
      : config_(std::move(config)),
        notebook_(notebook),
        tables_(std::move(tables)),
        seed_(seed),
        thread_count_(threads),
        resources_(std::move(resources)) {}

  void obey(const std::string& line);

 private:
  void open();
  void load();
  void rest();
  void what(const std::string& id);
  void recover();

  /// Resources at random, one account in each (two in a single one), amounts whose sum is nothing.
  std::vector<Leg> choose(std::mt19937& random) const;
  bool transfer(std::mt19937& random);
  void work(Transaction& transaction, const Leg& leg, std::size_t legs, bool votes_no);
  std::string pay(const Leg& leg) const;
  std::string write_down(const Leg& leg, const std::string& id, std::size_t legs, bool votes_no) const;

  const std::string config_;
  const Notebook notebook_;
  const std::string tables_;
  const unsigned seed_;
  const unsigned thread_count_;
  const std::vector<std::string> resources_;
  std::optional<TransactionManager> tm_;
  std::atomic<bool> loading_ = false;
  std::vector<std::thread> threads_;
};

void Worker::open() {
  Registry adapters;
  Postgres::register_with(adapters);
  MySql::register_with(adapters);
  Sqlite::register_with(adapters);
  tm_.emplace(TransactionManager::open(config_, adapters, std::make_shared<Listener>(notebook_)));
  say("opened");
}

std::vector<Leg> Worker::choose(std::mt19937& random) const {
  std::vector<std::string> places = resources_;
  std::ranges::shuffle(places, random);
  places.resize(1 + random() % places.size());
  // Mostly in one order, or the transfers would do little but wait for each other until their deadlines.
  if (random() % 8 != 0) std::ranges::sort(places);
  std::vector<Leg> legs;
  if (places.size() == 1) {
    const int first = static_cast<int>(random() % accounts);
    const int second = (first + 1 + static_cast<int>(random() % (accounts - 1))) % accounts;
    legs = {{places[0], std::min(first, second), 0}, {places[0], std::max(first, second), 0}};
  } else {
    for (const std::string& place : places) legs.push_back({place, static_cast<int>(random() % accounts), 0});
  }
  for (std::size_t i = 0; i + 1 < legs.size(); ++i) {
    legs[i].amount = static_cast<long>(random() % 100) - 50;
    legs.back().amount -= legs[i].amount;
  }
  return legs;
}

std::string Worker::pay(const Leg& leg) const {
  return "UPDATE " + tables_ + "_account SET balance = balance + " + std::to_string(leg.amount) +
         " WHERE id = " + std::to_string(leg.account);
}

std::string Worker::write_down(const Leg& leg, const std::string& id, std::size_t legs, bool votes_no) const {
  return "INSERT INTO " + tables_ + "_history (transfer, account, amount, legs, vote) VALUES ('" + id + "', " +
         std::to_string(leg.account) + ", " + std::to_string(leg.amount) + ", " + std::to_string(legs) + ", " +
         (votes_no ? "0" : "1") + ')';
}

void Worker::work(Transaction& transaction, const Leg& leg, std::size_t legs, bool votes_no) {
  const std::string id = transaction.id().text();
  const std::string first = pay(leg);
  const std::string second = write_down(leg, id, legs, votes_no);
  if (leg.resource == "postgres") {
    transaction.on(tm_->resource<Postgres>(leg.resource), [&](pqxx::transaction_base& sql) {
      sql.exec(first);
      sql.exec(second);
    });
  } else if (leg.resource == "sqlite") {
    transaction.on(tm_->resource<Sqlite>(leg.resource), [&](sqlite3& sql) {
      for (const std::string& each : {first, second}) {
        if (sqlite3_exec(&sql, each.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
          throw std::runtime_error(sqlite3_errmsg(&sql));
        }
      }
    });
  } else {
    transaction.on(tm_->resource<MySql>(leg.resource), [&](sql::Connection& sql) {
      const std::unique_ptr<sql::Statement> statement(sql.createStatement());
      statement->execute(first);
      statement->execute(second);
    });
  }
}

bool Worker::transfer(std::mt19937& random) {
  const std::vector<Leg> legs = choose(random);
  const bool changes_its_mind = random() % 16 == 0;
  const bool votes_no = random() % 16 == 0;  // a foreign key in PostgreSQL that is checked at the end only
  const AckAt ack_at = random() % 2 == 0 ? AckAt::decided : AckAt::finished;
  const std::string last_resource = random() % 3 == 0 ? legs[random() % legs.size()].resource : "";
  Transaction transaction = tm_->begin(
      {.deadline = std::chrono::seconds(2), .label = "soak", .ack_at = ack_at, .last_resource = last_resource});
  const std::string id = transaction.id().text();
  notebook_.write("begun", id);
  bool worked = false;
  try {
    for (const Leg& leg : legs) work(transaction, leg, legs.size(), votes_no);
    worked = true;
  } catch (const std::exception&) {
    // A database that is away, a lock that came too late: what is told of the rollback is what counts.
  }
  const Outcome outcome = worked && !changes_its_mind ? transaction.commit() : transaction.rollback();
  std::string kind(to_string(outcome.kind()));
  std::ranges::replace(kind, ' ', '_');
  if (outcome.kind() == OutcomeKind::heuristic) {
    notebook_.write("alarm", outcome.text());
  } else {
    notebook_.write(kind, id);
  }
  return worked;
}

void Worker::load() {
  loading_ = true;
  for (unsigned i = 0; i < thread_count_; ++i) {
    threads_.emplace_back([this, seed = seed_ + i] {
      std::mt19937 random(seed);
      while (loading_) {
        try {
          // Of databases that are away nothing is learned by asking them all the time.
          if (!transfer(random)) std::this_thread::sleep_for(std::chrono::milliseconds(10));
        } catch (const std::exception& error) {
          notebook_.write("alarm", std::string("an exception: ") + error.what());
          return;
        }
      }
    });
  }
  say("loading");
}

void Worker::rest() {
  loading_ = false;
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  say("resting");
}

void Worker::what(const std::string& id) {
  const Outcome outcome = tm_->outcome(TransactionId::from_text(id).value());
  std::string kind(to_string(outcome.kind()));
  std::ranges::replace(kind, ' ', '_');
  say("what " + kind + ' ' + std::to_string(outcome.pending().size()) + ' ' + outcome.text());
}

void Worker::recover() {
  const RecoveryReport report = tm_->recover_now();
  std::size_t unfinished = 0;
  for (const LogReport& log : report.logs) unfinished += log.unfinished;
  say("recovered " + std::to_string(unfinished) + ' ' + std::to_string(report.needing_person()));
}

void Worker::obey(const std::string& line) {
  if (line == "open") return open();
  if (line == "load") return load();
  if (line == "rest") return rest();
  if (line == "recover") return recover();
  if (line.starts_with("what ")) return what(line.substr(5));
  say("failed: no such command: " + line);
}

}  // namespace
}  // namespace assent::testing

int main(int argc, char** argv) {
  if (argc < 7) return 64;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  assent::testing::Worker worker(argv[1], argv[2], argv[3], static_cast<unsigned>(std::stoul(argv[4])),
                                 static_cast<unsigned>(std::stoul(argv[5])), {argv + 6, argv + argc});
  try {
    for (std::string line; std::getline(std::cin, line);) worker.obey(line);
  } catch (const std::exception& error) {
    assent::testing::say(std::string("failed ") + error.what());
  }
  std::_Exit(0);
}
