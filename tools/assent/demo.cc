#include <spawn.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>

#include "assent/tools/assent/command.h"
#include "assent/tools/assent/demo_bank.h"
#include "assent/tools/assent/names.h"
#include "assent/tools/assent/setup.h"
#include "assent/tools/assent/stop.h"
#include "assent/tools/assent/survey.h"
#include "assent/tools/assent/text.h"
#include "assent/xa/error.h"

extern char** environ;

namespace assent::tool {
namespace {

constexpr std::int64_t opening_balance = 1000;
constexpr const char* self = "/proc/self/exe";

/// Where the demonstration keeps configuration, log and, by default, the databases.
class Workplace {
 public:
  explicit Workplace(const DemoOptions& options) : kept_(!options.keep.empty()) {
    if (kept_) {
      path_ = std::filesystem::absolute(options.keep);
      std::error_code error;
      std::filesystem::create_directories(path_, error);
      if (error || !std::filesystem::is_empty(path_, error)) {
        throw Stop(Exit::usage, "the directory " + path_.string() + " cannot be made, or is not empty",
                   "name a new or empty directory");
      }
      std::filesystem::permissions(path_, std::filesystem::perms::owner_all, error);
    } else {
      std::string name = (std::filesystem::temp_directory_path() / "assent-demo-XXXXXX").string();
      if (::mkdtemp(name.data()) == nullptr) {
        throw Stop(Exit::environment, "no temporary directory can be made in " + name, "set TMPDIR, or use --keep");
      }
      path_ = name;
    }
  }
  ~Workplace() {
    std::error_code error;
    if (!kept_) std::filesystem::remove_all(path_, error);
  }
  Workplace(const Workplace&) = delete;
  Workplace& operator=(const Workplace&) = delete;

  bool kept() const { return kept_; }
  void keep() { kept_ = true; }
  std::string config() const { return (path_ / "assent.toml").string(); }

  void write_config(const std::vector<std::string>& urls) const {
    const auto quoted = [](const std::string& text) {
      std::string out = "\"";
      for (const char c : text) out += c == '"' || c == '\\' ? std::string("\\") + c : std::string(1, c);
      return out + '"';
    };
    // It may hold a password: nobody else may read it, not even for a moment.
    const mode_t before = ::umask(077);
    std::ofstream file(config());
    ::umask(before);
    file << "node = \"demo\"\nlog = \"log\"\n\n[resources.north]\nurl = " << quoted(urls.at(0))
         << "\n\n[resources.south]\nurl = " << quoted(urls.at(1)) << '\n';
    if (!file.flush()) throw Stop(Exit::environment, config() + " cannot be written", "make room, or use --keep");
  }

 private:
  bool kept_;
  std::filesystem::path path_;
};

class Demonstration {
 public:
  Demonstration(Workplace& place, const Context& context, Terminal& terminal)
      : place_(place), context_(context), terminal_(terminal) {
    context_.config_path = place.config();
    context_.json = false;
    context_.shown_program = "assent";
    for (const ResourceSpec& spec : load_config(place.config()).resources) banks_.push_back(open_bank(spec, tables_));
  }

  Exit run() {
    for (const auto& bank : banks_) bank->open_accounts(opening_balance);
    say("Two banks, north and south, each with a database of its own. Alice has 1000 in both. A program moves her "
        "money from north to south: each transfer in both databases, or in neither.");
    show_books("at the start");
    terminal_.line();
    work({.config_path = place_.config(), .tables = tables_, .die_before = "", .first_transfer = 1, .transfers = 4},
         false);
    show_books("after 4 transfers");

    title("First crash: decided, but nobody was told");
    say("During transfer 5 the program is killed (kill -9): the decision to commit is on its disk, but neither "
        "database was told. Both have the work prepared: safe on disk, not yet done, and they wait to be told.");
    work({.config_path = place_.config(),
          .tables = tables_,
          .die_before = "commit",
          .first_transfer = 5,
          .transfers = 1},
         true);
    show_books("after the crash");
    settle();
    show_books("after it was settled");
    say("Transfer 5 happened, in both.");

    title("Second crash: prepared, but not decided");
    say("During transfer 6 the program is killed again, a moment earlier: both databases have prepared the work, but "
        "there is no decision yet.");
    work(
        {.config_path = place_.config(), .tables = tables_, .die_before = "force", .first_transfer = 6, .transfers = 1},
        true);
    show_books("after the crash");
    settle();
    show_books("after it was settled");
    say("Transfer 6 happened nowhere.");
    return prove();
  }

  void remove() {
    for (const auto& bank : banks_) bank->remove();
  }

 private:
  void say(std::string_view text) { terminal_.paragraph(text); }
  void title(std::string_view text) {
    terminal_.line();
    terminal_.line(terminal_.styled(Style::bold, text));
  }

  /// A process of its own, so that its death takes nothing along.
  void work(const DemoChildOptions& options, bool dies) {
    terminal_.out().flush();
    std::vector<std::string> words{"assent",        "--config",
                                   place_.config(), "demo-child",
                                   "--tables",      options.tables,
                                   "--first",       std::to_string(options.first_transfer),
                                   "--transfers",   std::to_string(options.transfers)};
    if (!options.die_before.empty()) words.insert(words.end(), {"--die-before", options.die_before});
    std::vector<char*> arguments;
    arguments.reserve(words.size() + 1);
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    pid_t child = 0;
    if (const int error = ::posix_spawn(&child, self, nullptr, nullptr, arguments.data(), environ); error != 0) {
      throw Stop(Exit::environment, "no process can be started: " + std::generic_category().message(error),
                 "try again");
    }
    int status = 0;
    while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
    }
    const bool died = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (died != dies || (!dies && WEXITSTATUS(status) != 0)) {
      throw Stop(Exit::internal, "the program that moves the money did not end as it should",
                 "what it said stands above; `assent --config " + place_.config() + " doctor` may tell more");
    }
    if (dies) terminal_.line(terminal_.styled(Style::bad, "  killed: process " + std::to_string(child)));
  }

  /// As anybody reads it, without Assent. SQLite refuses to be read while a branch is in doubt; servers show the state
  /// before it.
  void show_books(const std::string& when) {
    std::int64_t together = 0;
    bool all = true;
    std::string line = "  " + when;
    line.append(line.size() < 26 ? 26 - line.size() : 1, ' ');
    for (const auto& bank : banks_) {
      std::string money = "in doubt";
      try {
        const Books books = bank->read();
        together += books.money;
        money = std::to_string(books.money);
      } catch (const std::exception&) {
        all = false;
      }
      line += bank->name() + ' ' + std::string(money.size() < 8 ? 8 - money.size() : 0, ' ') + money + "   ";
    }
    if (!all) return terminal_.line(line + terminal_.styled(Style::faint, "(SQLite lets nobody read it meanwhile)"));
    const std::string sum = std::to_string(together);
    terminal_.line(
        line + "together " +
        (together == 2 * opening_balance ? terminal_.styled(Style::good, sum) : terminal_.styled(Style::warning, sum)));
  }

  void prompt(const std::string& command) {
    terminal_.line();
    terminal_.line(terminal_.styled(Style::faint, "$ ") + terminal_.styled(Style::bold, "assent " + command));
  }

  void settle() {
    prompt("list");
    list(context_, {}, terminal_);
    const Setup setup = Setup::load(context_.config_path);
    const auto ids = take_survey(setup).transactions();
    if (ids.empty()) throw Stop(Exit::internal, "nothing is in doubt, though the program was killed in between", "");
    const std::string name = short_names(ids).begin()->second;
    prompt("explain " + name);
    explain(context_, name, terminal_);
    prompt("resolve");
    const Exit exit = resolve(context_, {}, terminal_);
    terminal_.line();
    if (exit != Exit::done) throw Stop(exit, "what was in doubt could not be settled", "see above");
  }

  Exit prove() {
    title("The proof");
    const Books north = banks_.at(0)->read();
    const Books south = banks_.at(1)->read();
    bool right = north.money + south.money == 2 * opening_balance && north.transfers.size() == 5;
    terminal_.line("  transfer     out of north   into south");
    for (int transfer = 1; transfer <= 6; ++transfer) {
      const auto out = north.transfers.find(transfer);
      const auto in = south.transfers.find(transfer);
      const bool left = out != north.transfers.end();
      const bool arrived = in != south.transfers.end();
      right = right && left == arrived && (!left || out->second == -in->second);
      const auto cell = [](const std::string& text, std::size_t width) {
        return std::string(text.size() < width ? width - text.size() : 0, ' ') + text;
      };
      terminal_.line(cell(std::to_string(transfer), 10) + cell(left ? std::to_string(-out->second) : "-", 17) +
                     cell(arrived ? std::to_string(in->second) : "-", 13));
    }
    const std::string sums = "before: " + std::to_string(2 * opening_balance) +
                             "   now: " + std::to_string(north.money) + " + " + std::to_string(south.money) + " = " +
                             std::to_string(north.money + south.money);
    terminal_.line("  " + sums);
    terminal_.line();
    if (!right) {
      throw Stop(Exit::internal, "MONEY WAS LOST OR MADE: the two banks disagree", "please report this with --keep");
    }
    terminal_.line(terminal_.styled(Style::good, "No money was lost, and none was made."));
    return Exit::done;
  }

  Workplace& place_;
  Context context_;
  Terminal& terminal_;
  const std::string tables_ = "assent_demo_" + std::to_string(::getpid());
  std::vector<std::unique_ptr<Bank>> banks_;
};

}  // namespace

Exit demo(const Context& context, const DemoOptions& options, Terminal& terminal) {
  if (!options.over.empty() && options.over.size() != 2) {
    throw Stop(Exit::usage, "the demonstration runs over two databases, not " + std::to_string(options.over.size()),
               "give --over URL twice, or not at all");
  }
  Workplace place(options);
  const bool embedded = options.over.empty();
  place.write_config(embedded ? std::vector<std::string>{"sqlite:///north.db?mode=rwc", "sqlite:///south.db?mode=rwc"}
                              : options.over);
  Demonstration demonstration(place, context, terminal);
  Exit exit = Exit::done;
  try {
    exit = demonstration.run();
  } catch (...) {
    // Were the log thrown away now, branches could stay in doubt for ever.
    place.keep();
    terminal.line();
    terminal.paragraph("Everything is left in place, the log too. To settle what may be in doubt: `assent --config " +
                       place.config() + " resolve`.");
    throw;
  }
  terminal.line();
  if (place.kept()) {
    terminal.paragraph("Everything is left in place: `assent --config " + place.config() + " log dump`, for example.");
  } else {
    demonstration.remove();
  }
  if (embedded) {
    terminal.line("The same over servers of your own, or over private ones started for it:");
    terminal.line("  assent demo --over postgresql://USER:PASSWORD@HOST/DB --over mysql://USER:PASSWORD@HOST/DB");
    terminal.line("  scripts/demo --servers");
  }
  return exit;
}

}  // namespace assent::tool
