// Transfers between all databases while processes and servers are killed and stopped at random, round by round; after
// each round everything runs, nobody asks for anything, and the books must balance. scripts/soak says how to run it.
//
//   assent_soak SECONDS SEED
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iomanip>
#include <iostream>
#include <random>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "assent/tests/crash/bank.h"
#include "assent/tests/crash/soak/books.h"
#include "assent/tests/crash/soak/notebook.h"
#include "assent/tests/crash/soak/trouble.h"
#include "assent/tests/crash/world.h"

namespace assent::testing {
namespace {

namespace fs = std::filesystem;
using std::chrono::duration;
using std::chrono::steady_clock;

constexpr std::size_t processes = 4;
constexpr std::size_t threads_each = 2;
/// Longer than anything takes: what is not settled by then never will be.
constexpr std::chrono::seconds settling_limit{180};

std::vector<Server> servers_here() {
  std::vector<Server> servers = {Server::postgres, Server::mariadb};
  if (url(Server::mysql)) {
    servers.push_back(Server::mysql);
    // One of another format in the same binary log, left by whoever was here before, and MySQL may lose ours at a kill.
    Bank::on_mysql(admin_url(Server::mysql).value(), "FLUSH BINARY LOGS");
  } else {
    std::cout << "soak: SKIPPED: MySQL: " << no_mysql << "; the others are soaked without it" << std::endl;
  }
  return servers;
}

std::string make_directory() {
  std::string made = (fs::temp_directory_path() / "assent-soak-XXXXXX").string();
  if (::mkdtemp(made.data()) == nullptr) throw std::runtime_error("cannot make " + made);
  return fs::canonical(made).string();
}

double seconds_since(steady_clock::time_point then) {
  return duration<double>(steady_clock::now() - then).count();
}

class Soak {
 public:
  Soak(double seconds, unsigned seed)
      : seconds_(seconds), seed_(seed), random_(seed), directory_(make_directory()), servers_(servers_here()) {
    incidents_.open(directory_ + "/incidents.txt");
    write_config();
  }

  /// True when every book balanced.
  bool run();

 private:
  std::string file() const { return directory_ + "/local.db"; }
  std::string config() const { return directory_ + "/assent.toml"; }
  std::string notebook(std::size_t worker) const { return directory_ + "/told-" + std::to_string(worker) + ".txt"; }
  void write_config() const;
  std::unique_ptr<Process> make_worker(std::size_t number);
  void round();
  void load_and_strike();
  void settle(Told& told);
  Verdicts verdicts(const Told& told);
  void expect_logs_empty();
  void keep_evidence(const std::string& why);
  void show_progress();
  void report() const;

  const double seconds_;
  const unsigned seed_;
  std::mt19937 random_;
  const std::string directory_;
  const std::vector<Server> servers_;
  const steady_clock::time_point began_ = steady_clock::now();
  std::ofstream incidents_;
  std::unique_ptr<Books> books_;
  std::unique_ptr<Trouble> trouble_;
  unsigned workers_made_ = 0;

  std::size_t rounds_ = 0;
  std::size_t committed_ = 0;
  std::size_t rolled_back_ = 0;
  std::size_t in_doubt_ = 0;
  std::size_t never_told_ = 0;
  std::size_t never_told_committed_ = 0;
  std::size_t end_not_remembered_ = 0;
  std::size_t resolved_ = 0;
  double longest_ = 0;
};

void Soak::write_config() const {
  std::ofstream out(config());
  out << "node = \"soak\"\nlog = \"log\"\nrecovery_interval_ms = 200\nthreads = 8\n";
  for (const Server server : servers_) {
    out << "[resources." << name(server) << "]\nurl = \"" << url(server).value() << "\"\n";
  }
  out << "[resources.sqlite]\nurl = \"sqlite:///local.db\"\n";
}

std::unique_ptr<Process> Soak::make_worker(std::size_t number) {
  std::vector<std::string> command = {ASSENT_SOAK_WORKER,
                                      config(),
                                      notebook(number),
                                      books_->tables(),
                                      std::to_string(seed_ + 1000 * ++workers_made_),
                                      std::to_string(threads_each)};
  for (const Server server : servers_) command.emplace_back(name(server));
  command.emplace_back("sqlite");
  return std::make_unique<Process>(command);
}

void Soak::load_and_strike() {
  for (auto& worker : trouble_->workers()) worker->ask("load", "loading");
  const double length = 4 + static_cast<double>(random_() % 6);
  const auto began = steady_clock::now();
  while (seconds_since(began) < length) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100 + random_() % 1200));
    trouble_->strike(random_);
    show_progress();
  }
  for (auto& worker : trouble_->workers()) worker->say("rest");
  for (auto& worker : trouble_->workers()) worker->hear("resting");
}

void Soak::settle(Told& told) {
  std::set<LogId> logs;
  for (std::size_t i = 0; i < processes; ++i) told.read(notebook(i));
  for (const auto& [id, word] : told.transactions) logs.insert(TransactionId::from_text(id).value().log);
  const auto began = steady_clock::now();
  std::vector<std::string> left;
  if (!eventually([&] { return (left = books_->unsettled(logs)).empty(); }, settling_limit)) {
    std::string all = "not settled after " + std::to_string(settling_limit.count()) + " s:";
    for (const std::string& each : left) all += "\n  " + each;
    throw std::runtime_error(all);
  }
  longest_ = std::max(longest_, seconds_since(began));
  for (std::size_t i = 0; i < processes; ++i) told.read(notebook(i));
}

// What an application was told holds. Of what it was not told, or only that it is in doubt, the process of the node
// that holds the transaction's log knows the end, others may not; and no two may disagree. Once an undecided
// transaction of a process that is gone lies below its incarnation's mark, none can tell any more: its legs must still
// be all or nothing.
Verdicts Soak::verdicts(const Told& told) {
  Verdicts out;
  for (const auto& [id, word] : told.transactions) {
    if (word == "committed" || word == "rolled_back") {
      out[id] = word == "committed";
      continue;
    }
    std::set<std::string> ends;
    std::string all;
    const bool known = eventually([&, &id = id] {
      all.clear();
      for (auto& worker : trouble_->workers()) {
        const std::string says = worker->ask("what " + id, "what");
        all += "\n  " + says;
        if (says.starts_with("what committed 0 ") || says.starts_with("what rolled_back 0 "))
          ends.insert(kind_in(says));
      }
      return !ends.empty() || all.find("too long ago to remember") != std::string::npos;
    });
    if (!known) throw std::runtime_error("nothing is in doubt, but no process knows the end of " + id + all);
    if (ends.size() > 1) throw std::runtime_error("the processes disagree about " + id + all);
    if (ends.empty()) {
      ++end_not_remembered_;
      out[id] = std::nullopt;
    } else {
      out[id] = ends.contains("committed");
      if (word == "begun" && out[id] == true) ++never_told_committed_;
    }
  }
  return out;
}

void Soak::expect_logs_empty() {
  for (auto& worker : trouble_->workers()) {
    std::string says;
    if (!eventually([&] {
          says = worker->ask("recover", "recovered");
          return says == "recovered 0 0";
        })) {
      throw std::runtime_error("nothing is in doubt, but a log is not empty or a person is called: " + says);
    }
  }
}

void Soak::round() {
  load_and_strike();
  Told told;
  settle(told);
  const auto known = verdicts(told);
  std::string wrong;
  for (const std::string& each : told.alarms) wrong += "\n  alarm: " + each;
  for (const std::string& each : books_->mistakes(known)) wrong += "\n  " + each;
  if (!wrong.empty()) throw std::runtime_error("the books do not balance:" + wrong);
  expect_logs_empty();

  ++rounds_;
  committed_ += told.count("committed");
  rolled_back_ += told.count("rolled_back");
  in_doubt_ += told.count("in_doubt");
  never_told_ += told.count("begun");
  resolved_ += told.resolved;
  books_->begin_a_new_page();
  for (std::size_t i = 0; i < processes; ++i) fs::resize_file(notebook(i), 0);
}

bool Soak::run() {
  std::cout << "soak: seed " << seed_ << ", " << processes << " processes with " << threads_each << " threads each, "
            << directory_ << std::endl;
  try {
    books_ = std::make_unique<Books>(servers_, file());
    trouble_ = std::make_unique<Trouble>(
        servers_, processes, [this](std::size_t number) { return make_worker(number); },
        [this](const std::string& line) {
          incidents_ << std::fixed << std::setprecision(3) << seconds_since(began_) << ' ' << line << std::endl;
        });
    do {
      round();
      show_progress();
    } while (seconds_since(began_) < seconds_);
  } catch (const std::exception& error) {
    std::cout << (::isatty(STDOUT_FILENO) == 1 ? "\n" : "") << "soak: FAILED in round " << rounds_ + 1 << ": "
              << error.what() << '\n';
    keep_evidence(error.what());
    report();
    std::cout << "soak: FAILED; the evidence is kept in " << directory_ << std::endl;
    return false;
  }
  if (::isatty(STDOUT_FILENO) == 1) std::cout << '\n';
  report();
  trouble_.reset();
  books_.reset();
  fs::remove_all(directory_);
  return true;
}

// While the workers that are left still run, with what they hold.
void Soak::keep_evidence(const std::string& why) {
  std::ofstream(directory_ + "/why.txt") << why << '\n';
  if (books_) std::ofstream(directory_ + "/books.txt") << books_->text();
  std::ofstream said(directory_ + "/workers.txt");
  if (trouble_) {
    for (auto& worker : trouble_->workers()) {
      said << "process " << worker->pid() << '\n';
      for (const std::string& line : worker->heard()) said << "  " << line << '\n';
    }
  }
  Process list({"/bin/sh", "-c", "exec \"$0\" --config \"$1\" list >\"$2\" 2>&1", ASSENT_TOOL, config(),
                directory_ + "/list.txt"});
  list.wait();
  const char* running = std::getenv("ASSENT_SERVERS");
  if (running == nullptr) return;
  for (const Server server : servers_) {
    std::error_code ignored;
    fs::copy_file(std::string(running) + '/' + name(server) + "/log", directory_ + '/' + name(server) + ".log",
                  ignored);
  }
}

// One line that is written over on a terminal, one a round elsewhere.
void Soak::show_progress() {
  static std::size_t shown = 0;
  const bool terminal = ::isatty(STDOUT_FILENO) == 1;
  if (!terminal && shown == rounds_) return;
  shown = rounds_;
  std::size_t deeds = 0;
  for (const auto& [what, count] : trouble_->counts()) deeds += count;
  std::cout << (terminal ? "\r" : "") << "soak: " << std::fixed << std::setprecision(0) << seconds_since(began_)
            << " of " << seconds_ << " s, round " << rounds_ + (terminal ? 1 : 0) << ": " << committed_
            << " committed, " << rolled_back_ << " rolled back, " << in_doubt_ << " in doubt at first, " << deeds
            << " processes and servers killed or stopped, longest to settle " << std::setprecision(1) << longest_
            << " s" << (terminal ? "   " : "\n") << std::flush;
}

void Soak::report() const {
  std::cout << "soak: " << rounds_ << " rounds in " << std::fixed << std::setprecision(0) << seconds_since(began_)
            << " s, seed " << seed_ << '\n';
  if (trouble_) {
    for (const auto& [what, count] : trouble_->counts()) std::cout << "soak:   " << count << " x " << what << '\n';
  }
  std::cout << "soak: transactions: " << committed_ << " committed, " << rolled_back_ << " rolled back, " << in_doubt_
            << " in doubt at first, " << never_told_ << " killed before they were told (" << never_told_committed_
            << " of them committed; of " << end_not_remembered_ << " no process remembers the end)\n"
            << "soak: " << resolved_
            << " branches finished by recovery; longest time until nothing was in doubt: " << std::setprecision(2)
            << longest_ << " s" << std::endl;
}

}  // namespace
}  // namespace assent::testing

int main(int argc, char** argv) {
  if (argc != 3) {
    std::cerr << "usage: assent_soak SECONDS SEED (scripts/soak runs it)\n";
    return 64;
  }
  try {
    return assent::testing::Soak(std::stod(argv[1]), static_cast<unsigned>(std::stoul(argv[2]))).run() ? 0 : 1;
  } catch (const std::exception& error) {
    std::cerr << "soak: " << error.what() << '\n';
    return 1;
  }
}
