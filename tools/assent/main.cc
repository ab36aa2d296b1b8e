#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <iostream>
#include <map>
#include <nlohmann/json.hpp>

#include "assent/bench/workload.h"
#include "assent/tools/assent/command.h"
#include "assent/tools/assent/json.h"
#include "assent/tools/assent/stop.h"
#include "assent/tools/assent/text.h"
#include "assent/xa/error.h"

namespace assent::tool {
namespace {

constexpr const char* purpose =
    "Finds out what a crash left in doubt in the databases of a node, explains it, and settles it.";

/// Everything that the command line sets, and what it asks for.
class CommandLine {
 public:
  CommandLine() {
    app_.set_version_flag("--version", "assent " ASSENT_VERSION);
    app_.require_subcommand(1);
    app_.fallthrough();
    app_.get_formatter()->column_width(24);
    app_.option_defaults()->disable_flag_override();
    if (const char* named = std::getenv("ASSENT_CONFIG"); named != nullptr && *named != '\0') {
      context_.config_path = named;
    }
    app_.add_option("--config", context_.config_path, "Configuration (default: $ASSENT_CONFIG, or assent.toml)")
        ->type_name("FILE");
    app_.add_flag("--json", context_.json, "Print JSON (docs/operations.md has the schema)");
    const std::map<std::string, ColourMode> modes{
        {"auto", ColourMode::automatic}, {"always", ColourMode::always}, {"never", ColourMode::never}};
    app_.add_option_function<std::string>(
            "--color", [this, modes](const std::string& mode) { context_.colour = modes.at(mode); },
            "Colour: auto (default: on a terminal), always, never")
        ->check(CLI::IsMember(modes))
        ->type_name("WHEN");
    app_.footer("\n" + exit_code_table());
    add_reading_commands();
    add_settling_commands();
    add_log_commands();
    add_demo();
    add_bench();
  }

  int run(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::Success& wanted) {
      return app_.exit(wanted);
    } catch (const CLI::ParseError& error) {
      std::cerr << "assent: error: " << printable(error.what())
                << "\n  hint: `assent --help` shows the commands, `assent COMMAND --help` one of them\n";
      return static_cast<int>(Exit::usage);
    }
    try {
      Terminal terminal(std::cout, context_.colour);
      const Exit exit = command_(terminal);
      std::cout.flush();
      return static_cast<int>(exit);
    } catch (const Stop& stop) {
      return fail(stop.exit(), stop.what(), stop.hint());
    } catch (const Error& error) {
      return fail(exit_for(error.code()), error.what(), error.hint());
    } catch (const std::exception& error) {
      return fail(Exit::internal, std::string("unexpected: ") + error.what(), "please report this, with what you did");
    }
  }

 private:
  CLI::App* command(CLI::App& parent, const std::string& name, const std::string& what, const std::string& examples,
                    std::function<Exit(Terminal&)> run) {
    CLI::App* added = parent.add_subcommand(name, what);
    added->footer("\nExamples:\n" + examples);
    added->fallthrough();
    added->callback([this, run = std::move(run)] { command_ = run; });
    return added;
  }

  void add_reading_commands() {
    auto* list_command = command(app_, "list", "Show what is in doubt", "  assent list\n  assent list --all --json\n",
                                 [this](Terminal& terminal) { return list(context_, list_, terminal); });
    list_command->add_flag("--all", list_.all, "Also branches of other nodes and of other transaction managers");
    auto* explain_command =
        command(app_, "explain", "Show the evidence for one transaction, and what will be done",
                "  assent explain 9c1f04-42\n  assent explain l-0123456789abcdef-9c1f0432a1b2c3d4-42\n",
                [this](Terminal& terminal) { return explain(context_, typed_, terminal); });
    explain_command->add_option("ID", typed_, "As `list` shows it, a full id or its beginning, or PostgreSQL's gid")
        ->required();
    command(app_, "doctor", "Examine databases, log and disk", "  assent doctor\n  assent doctor --json\n",
            [this](Terminal& terminal) { return doctor(context_, terminal); });
  }

  void add_settling_commands() {
    auto* resolve_command =
        command(app_, "resolve", "Settle what the evidence settles",
                "  assent resolve --dry-run\n  assent resolve\n  assent resolve --watch --interval 10\n",
                [this](Terminal& terminal) { return resolve(context_, resolve_, terminal); });
    resolve_command->add_flag("--dry-run", resolve_.dry_run, "Only say what would be done");
    resolve_command->add_flag("--watch", resolve_.watch,
                              "Go on until interrupted, adopting what processes leave behind");
    resolve_command->add_option("--interval", resolve_.interval_s, "Seconds between two rounds of --watch (default 5)")
        ->check(CLI::Range(1U, 3600U))
        ->type_name("SECONDS");

    auto* force_command = command(app_, "force", "Settle one branch by hand, where the evidence does not",
                                  "  assent force 9c1f04-42/ledger rollback\n",
                                  [this](Terminal& terminal) { return force(context_, force_, terminal); });
    force_command->add_option("BRANCH", force_.branch, "ID/RESOURCE")->required();
    force_command->add_option("VERB", force_.verb, "commit or rollback")
        ->required()
        ->check(CLI::IsMember({"commit", "rollback"}))
        ->type_name("");
    force_command->add_flag("--yes", force_.yes, "Do not ask");
    force_command->add_flag("--against-the-decision", force_.against_the_decision,
                            "Break the transaction apart, knowingly");
    force_command->add_flag("--without-its-log", force_.without_its_log, "The log that decides it is lost for good");

    auto* forget_command = command(app_, "forget", "Drop a decision that a person has settled",
                                   "  assent forget 9c1f04-42\n  assent forget 9c1f04-42 --gone oldshop\n",
                                   [this](Terminal& terminal) { return forget(context_, forget_, terminal); });
    forget_command->add_option("ID", forget_.transaction, "The transaction")->required();
    forget_command->add_option("--gone", forget_.gone, "This resource's database is lost for good (may be repeated)")
        ->type_name("RESOURCE")
        ->take_all();
    forget_command->add_flag("--yes", forget_.yes, "Do not ask");
  }

  void add_log_commands() {
    CLI::App* log_command = app_.add_subcommand("log", "Look at the decision log, or adopt a copy of it");
    log_command->require_subcommand(1);
    log_command->fallthrough();
    const auto slot_option = [this](CLI::App* added) {
      added->add_option("--slot", log_.slot, "Only this slot")->type_name("NUMBER");
    };
    slot_option(command(*log_command, "dump", "Print every record", "  assent log dump --slot 0\n",
                        [this](Terminal& terminal) { return dump_log(context_, log_, terminal); }));
    slot_option(command(*log_command, "verify", "Check every byte, changing none", "  assent log verify\n",
                        [this](Terminal& terminal) { return verify_log(context_, log_, terminal); }));
    auto* adopt =
        command(*log_command, "adopt", "Say that a copied or restored log is the log now", "  assent log adopt\n",
                [this](Terminal& terminal) { return adopt_log(context_, log_, terminal); });
    slot_option(adopt);
    adopt->add_flag("--yes", log_.yes, "Do not ask");
  }

  void add_demo() {
    auto* demo_command =
        command(app_, "demo", "See transfers of money that crash halfway, and how they end",
                "  assent demo\n  assent demo --keep /tmp/assent-demo\n"
                "  assent demo --over postgresql://user:password@host/bank --over mysql://user:password@host/bank\n",
                [this](Terminal& terminal) { return demo(context_, demo_, terminal); });
    demo_command->add_option("--keep", demo_.keep, "Leave everything in this directory")->type_name("DIRECTORY");
    demo_command->add_option("--over", demo_.over, "Over this database; give two")->type_name("URL")->take_all();

    // What the demonstration starts and kills; of no use to anybody else.
    CLI::App* child = app_.add_subcommand("demo-child")->group("");
    child->add_option("--die-before", child_.die_before);
    child->add_option("--tables", child_.tables)->required();
    child->add_option("--first", child_.first_transfer);
    child->add_option("--transfers", child_.transfers);
    child->fallthrough();
    child->callback([this] {
      command_ = [this](Terminal&) {
        child_.config_path = context_.config_path;
        return demo_child(child_);
      };
    });
  }

  void add_bench() {
    std::string workloads = "\nWorkloads:\n";
    for (const assent::bench::WorkloadName& each : assent::bench::workload_names()) {
      workloads += "  " + each.name + std::string(16 - each.name.size(), ' ') + each.what +
                   (each.usual ? "\n" : " (only when named)\n");
    }
    auto* bench_command =
        command(app_, "bench", "Measure what a commit costs through Assent, and by hand, in turn",
                "  assent bench\n"
                "  assent bench --over postgresql://user:password@host/db --over mysql://user:password@host/db\n"
                "  assent bench --workload null --log /var/lib/shop --seconds 30 --json\n" +
                    workloads,
                [this](Terminal& terminal) { return bench(context_, bench_, terminal); });
    bench_command
        ->add_option("--over", bench_.over,
                     "A PostgreSQL, MySQL or MariaDB database, to be repeated; tables "
                     "assent_bench_… are made in it, and taken away")
        ->type_name("URL")
        ->take_all();
    bench_command->add_option("--workload", bench_.workloads, "Only this one (may be repeated)")
        ->type_name("NAME")
        ->take_all();
    bench_command->add_option("--clients", bench_.clients, "So many at once, 1 to 1000 (default 1,16)")
        ->type_name("NUMBERS")
        ->delimiter(',')
        ->check(CLI::Range(1, 1000));
    bench_command->add_option("--seconds", bench_.seconds, "For each workload and number of clients (default 10)")
        ->type_name("SECONDS")
        ->check(CLI::Range(0.01, 3600.0));
    bench_command
        ->add_option("--log", bench_.log, "Make the decision logs below this directory, on the disk to measure")
        ->type_name("DIRECTORY");
  }

  int fail(Exit exit, const std::string& what, const std::string& hint) const {
    std::cout.flush();
    std::cerr << "assent: error: " << printable(what) << '\n';
    if (!hint.empty()) std::cerr << "  hint: " << printable(hint) << '\n';
    if (context_.json) {
      Json out = envelope(exit);
      out["error"] = {{"what", what}, {"hint", hint}};
      Terminal terminal(std::cout, ColourMode::never);
      print_json(out, terminal);
      std::cout.flush();
    }
    return static_cast<int>(exit);
  }

  CLI::App app_{purpose, "assent"};
  Context context_;
  std::function<Exit(Terminal&)> command_;
  std::string typed_;
  ListOptions list_;
  ResolveOptions resolve_;
  ForceOptions force_;
  ForgetOptions forget_;
  LogCommandOptions log_;
  DemoOptions demo_;
  BenchOptions bench_;
  DemoChildOptions child_;
};

}  // namespace
}  // namespace assent::tool

int main(int argc, char** argv) {
  // A reader that goes away (`assent list | head`) ends the listing; a database that goes away must not end anything.
  std::signal(SIGPIPE, SIG_IGN);
  assent::tool::CommandLine line;
  return line.run(argc, argv);
}
