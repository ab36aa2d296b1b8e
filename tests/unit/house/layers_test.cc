#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

// The house rules of docs/ARCHITECTURE.md, enforced from the sources: data flows one way, and what is foreign appears
// in one place only.

namespace assent {
namespace {

namespace fs = std::filesystem;

const fs::path root = ASSENT_SOURCE_DIR;

struct Include {
  std::string file;    ///< relative to the root
  std::string folder;  ///< "xa", "adapters/mysql", "tm/protocol", …
  std::string target;
};

/// The longest known folder that holds the path.
std::string folder_of(const std::string& path) {
  static const std::vector<std::string> folders = {"xa",
                                                   "adapters/postgres",
                                                   "adapters/mysql",
                                                   "adapters/sqlite",
                                                   "adapters/scripted",
                                                   "adapters",
                                                   "recovery",
                                                   "tm/protocol",
                                                   "tm"};
  std::string best;
  for (const std::string& folder : folders) {
    if (path.starts_with(folder + "/") && folder.size() > best.size()) best = folder;
  }
  return best;
}

std::vector<fs::path> sources() {
  std::vector<fs::path> out;
  for (const char* top : {"xa", "adapters", "recovery", "tm"}) {
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const auto extension = entry.path().extension();
      if (extension == ".h" || extension == ".cc") out.push_back(entry.path());
    }
  }
  return out;
}

const std::vector<Include>& includes() {
  static const std::vector<Include> all = [] {
    std::vector<Include> out;
    const std::regex include(R"(^\s*#\s*include\s*[<"]([^>"]+)[>"])");
    for (const fs::path& path : sources()) {
      std::ifstream in(path);
      const std::string relative = fs::relative(path, root).string();
      for (std::string line; std::getline(in, line);) {
        std::smatch match;
        if (std::regex_search(line, match, include)) out.push_back({relative, folder_of(relative), match[1]});
      }
    }
    return out;
  }();
  return all;
}

TEST(House, data_flows_one_way) {
  const std::map<std::string, std::set<std::string>> allowed = {
      {"xa", {"xa"}},
      {"adapters", {"adapters", "xa"}},
      {"adapters/postgres", {"adapters/postgres", "adapters", "xa"}},
      {"adapters/mysql", {"adapters/mysql", "adapters", "xa"}},
      {"adapters/sqlite", {"adapters/sqlite", "adapters", "xa"}},
      {"adapters/scripted", {"adapters/scripted", "adapters", "xa"}},
      {"recovery", {"recovery", "xa"}},
      {"tm/protocol", {"tm/protocol", "xa"}},
      {"tm", {"tm", "tm/protocol", "recovery", "xa"}},
  };
  std::size_t seen = 0;
  for (const Include& include : includes()) {
    if (!include.target.starts_with("assent/")) continue;
    ++seen;
    const std::string target = folder_of(include.target.substr(7));
    EXPECT_TRUE(allowed.at(include.folder).contains(target)) << include.file << " includes " << include.target;
  }
  EXPECT_GT(seen, 50U);
}

TEST(House, our_own_headers_are_included_by_their_installed_names) {
  for (const Include& include : includes()) {
    if (folder_of(include.target).empty()) continue;
    ADD_FAILURE() << include.file << " includes " << include.target << " without assent/ before it";
  }
}

TEST(House, a_client_library_is_seen_in_its_own_adapter_only) {
  const std::map<std::string, std::string> homes = {{"pqxx", "adapters/postgres"}, {"libpq-fe.h", "adapters/postgres"},
                                                    {"mysql_", "adapters/mysql"},  {"cppconn", "adapters/mysql"},
                                                    {"mysql", "adapters/mysql"},   {"mariadb", "adapters/mysql"},
                                                    {"sqlite3", "adapters/sqlite"}};
  std::size_t seen = 0;
  for (const Include& include : includes()) {
    for (const auto& [library, home] : homes) {
      if (!include.target.starts_with(library)) continue;
      ++seen;
      EXPECT_EQ(include.folder, home) << include.file << " includes " << include.target;
    }
  }
  EXPECT_GT(seen, 2U);
}

TEST(House, the_contract_stands_on_the_standard_library_alone) {
  // The standard has no fork, no process id, and no semaphore that may be gone while it is released.
  const std::set<std::string> posix = {"pthread.h", "semaphore.h", "unistd.h"};
  for (const Include& include : includes()) {
    if (include.folder != "xa" || include.target.starts_with("assent/xa/")) continue;
    EXPECT_TRUE(include.target.find_first_of("./") == std::string::npos || posix.contains(include.target))
        << include.file << " includes " << include.target;
  }
}

TEST(House, protocols_have_no_thread_clock_random_or_stream) {
  const std::set<std::string> forbidden = {"thread", "mutex",       "condition_variable", "atomic",  "chrono",
                                           "ctime",  "random",      "iostream",           "fstream", "sstream",
                                           "future", "shared_mutex"};
  for (const Include& include : includes()) {
    if (include.folder != "tm/protocol") continue;
    EXPECT_FALSE(forbidden.contains(include.target) || include.target.starts_with("boost/"))
        << include.file << " includes " << include.target;
  }
}

TEST(House, what_differs_from_run_to_run_comes_from_one_header) {
  const std::regex own(R"(std::(mutex|shared_mutex|condition_variable|j?thread|this_thread|random_device|mt19937)\b|)"
                       R"(_clock::now|\bthread_local\b|\bgetpid\b|\bpthread_)");
  const std::set<std::string> system = {"recovery/file_system.cc"};  // the seam itself
  std::size_t seen = 0;
  for (const fs::path& path : sources()) {
    const std::string relative = fs::relative(path, root).string();
    if (!relative.starts_with("tm/") && !relative.starts_with("recovery/")) continue;
    ++seen;
    if (system.contains(relative)) continue;
    std::ifstream in(path);
    for (std::string line; std::getline(in, line);) {
      EXPECT_FALSE(std::regex_search(line, own)) << relative << ": " << line << "\n  take it from xa/machine.h";
    }
  }
  EXPECT_GT(seen, 30U);
}

TEST(House, asio_appears_only_where_something_waits_or_talks) {
  for (const Include& include : includes()) {
    if (!include.target.starts_with("boost/asio")) continue;
    EXPECT_EQ(include.folder, "tm") << include.file << " includes " << include.target;
  }
}

TEST(House, a_file_is_one_idea_of_at_most_600_lines) {
  for (const fs::path& path : sources()) {
    std::ifstream in(path);
    const auto lines = std::count(std::istreambuf_iterator<char>(in), {}, '\n');
    EXPECT_LE(lines, 600) << path;
  }
}

}  // namespace
}  // namespace assent
