#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "assent/bench/workload.h"
#include "assent/xa/error.h"

namespace {

namespace bench = assent::bench;

std::vector<std::string> servers_of_the_environment() {
  std::vector<std::string> out;
  for (const char* name : {"ASSENT_TEST_POSTGRES_URL", "ASSENT_TEST_MARIADB_URL", "ASSENT_TEST_MYSQL_URL"}) {
    if (const char* url = std::getenv(name); url != nullptr) out.emplace_back(url);
  }
  return out;
}

}  // namespace

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);
  bench::Settings settings;
  bool json = false;
  CLI::App app{"Measures what a commit costs through Assent and by hand, in turn", "assent_bench"};
  app.add_option("--over", settings.urls, "A database; may be repeated (default: those of scripts/with-servers)")
      ->type_name("URL")
      ->take_all();
  app.add_option("--workload", settings.workloads, "Only this one; may be repeated")->type_name("NAME")->take_all();
  app.add_option("--clients", settings.clients, "Numbers of clients (default 1,16)")->delimiter(',');
  app.add_option("--seconds", settings.seconds, "Of each workload and number of clients (default 10)");
  app.add_option("--log", settings.log_directory, "Where the decision log is made (default: the temporary directory)");
  app.add_flag("--json", json, "Print JSON");
  std::string names;
  for (const bench::WorkloadName& each : bench::workload_names()) {
    names += "  " + each.name + std::string(16 - each.name.size(), ' ') + each.what +
             (each.usual ? "\n" : " (when named)\n");
  }
  app.footer("\nWorkloads:\n" + names);
  CLI11_PARSE(app, argc, argv);
  if (settings.urls.empty()) settings.urls = servers_of_the_environment();
  const bool temporary = settings.log_directory.empty();
  if (temporary) {
    std::string pattern = (std::filesystem::temp_directory_path() / "assent-bench-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) return 9;
    settings.log_directory = pattern;
  }
  try {
    const bench::Report report = bench::run(settings, [](const std::string&, std::size_t, std::size_t) {});
    if (json) {
      std::cout << bench::to_json(report).dump(2) << '\n';
    } else {
      print(report, std::cout);
    }
  } catch (const assent::Error& error) {
    std::cerr << "assent_bench: " << error.what() << "\n  hint: " << error.hint() << '\n';
    return 2;
  } catch (const std::exception& error) {
    std::cerr << "assent_bench: " << error.what() << "\n  hint: the log is left in " << settings.log_directory << '\n';
    return 70;
  }
  if (temporary) std::filesystem::remove_all(settings.log_directory);
  return 0;
}
