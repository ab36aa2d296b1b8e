// The process whose calls fail: `fault_worker DIRECTORY PHASE CALLS NUMBER ERRNO`.
//
// DIRECTORY holds the databases a.db and b.db, and the log. In PHASE (`open`: of the transaction manager, with what
// recovery does then; `commit`: of three transfers; `first`: of the first of them) the NUMBER-th of CALLS (`files`,
// `memory`) fails with ERRNO. The transfer i moves 2^i from a to b. Says, a line each: `transfer I KIND`, `refused
// WHY`, and `calls N` at the end of PHASE.

#include <dlfcn.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <string>

#include "assent/adapters/sqlite/sqlite.h"
#include "assent/tests/crash/faults/fault_bank.h"
#include "assent/tm/transaction_manager.h"
#include "assent/xa/error.h"

namespace assent::testing {
namespace {

// Unbuffered: what was said stays said when the process ends.
void say(const std::string& line) {
  static_cast<void>(!::write(STDOUT_FILENO, (line + '\n').data(), line.size() + 1));
}

class Faults {
 public:
  Faults(const std::string& calls, std::string directory, long number, int error)
      : directory_(calls == "files" ? std::move(directory) : std::string()), number_(number), error_(error) {}

  void begin() const {
    const auto start = reinterpret_cast<void (*)(const char*, long, int)>(::dlsym(RTLD_DEFAULT, "assent_fail_call"));
    start(directory_.c_str(), number_, error_);
  }
  static void end() {
    const auto stop = reinterpret_cast<long (*)()>(::dlsym(RTLD_DEFAULT, "assent_failed_calls"));
    say("calls " + std::to_string(stop()));
  }

 private:
  const std::string directory_;
  const long number_;
  const int error_;
};

int run(const std::string& directory, const std::string& phase, const Faults& faults) {
  if (phase == "open") faults.begin();
  try {
    auto tm = open_bank(directory);
    tm.recover_now();
    if (phase == "open") Faults::end();
    if (phase == "commit" || phase == "first") faults.begin();
    for (int i = 0; i < transfers; ++i) {
      try {
        const Outcome outcome = transfer(tm, 1 << i);
        say("transfer " + std::to_string(i) + ' ' + std::string(to_string(outcome.kind())));
      } catch (const std::exception& failure) {
        say("refused " + std::to_string(i) + ": " + failure.what());
      }
      if (phase == "first" && i == 0) Faults::end();
    }
    if (phase == "commit") Faults::end();
  } catch (const std::exception& failure) {
    Faults::end();
    say(std::string("refused to open: ") + failure.what());
  }
  return 0;
}

}  // namespace
}  // namespace assent::testing

int main(int count, char** argument) {
  if (count != 6) return 2;
  const assent::testing::Faults faults(argument[3], argument[1], std::strtol(argument[4], nullptr, 10),
                                       std::atoi(argument[5]));
  return assent::testing::run(argument[1], argument[2], faults);
}
