#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

// What the documents name must be there: tests, files and links rot silently otherwise.

namespace assent {
namespace {

namespace fs = std::filesystem;

const fs::path root = ASSENT_SOURCE_DIR;

std::string read(const fs::path& path) {
  std::ifstream in(path);
  EXPECT_TRUE(in) << path << " cannot be read";
  return {std::istreambuf_iterator<char>(in), {}};
}

std::vector<std::smatch> matches(const std::string& text, const std::regex& pattern) {
  return {std::sregex_iterator(text.begin(), text.end(), pattern), {}};
}

/// "Suite.name" of every test in the sources.
std::set<std::string> tests() {
  static const std::regex test(R"(\nTEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\))");
  std::set<std::string> out;
  for (const auto& entry : fs::recursive_directory_iterator(root / "tests")) {
    if (entry.path().extension() != ".cc") continue;
    const std::string text = read(entry.path());
    for (const std::smatch& each : matches(text, test)) out.insert(each.str(1) + '.' + each.str(2));
  }
  return out;
}

/// Our own documents: README.md and the like, and docs/.
std::vector<fs::path> documents() {
  std::vector<fs::path> out;
  for (const fs::path& folder : {root, root / "docs"}) {
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.path().extension() == ".md") out.push_back(entry.path());
    }
  }
  return out;
}

TEST(Documents, name_only_tests_that_exist) {
  static const std::regex name(R"(`([A-Za-z]+\.[a-z0-9]+_[a-z0-9_]+)`)");
  const std::set<std::string> known = tests();
  std::size_t seen = 0;
  for (const fs::path& document : documents()) {
    const std::string text = read(document);
    for (const std::smatch& each : matches(text, name)) {
      ++seen;
      EXPECT_TRUE(known.contains(each.str(1))) << document << " names the test " << each.str(1);
    }
  }
  EXPECT_GT(seen, 30U);
}

TEST(Documents, say_for_each_safety_rule_which_test_goes_red_without_it) {
  static const std::regex row(R"(\n\| ?(\d+)[a-z] \|([^\n]*))");
  static const std::regex test(R"(`[A-Za-z]+\.[a-z0-9]+_[a-z0-9_]+`)");
  const std::string text = read(root / "docs/ARCHITECTURE.md");
  std::map<std::string, std::size_t> rows;
  for (const std::smatch& each : matches(text, row)) {
    ++rows[each.str(1)];
    EXPECT_TRUE(std::regex_search(each[2].first, each[2].second, test)) << "no test in:" << each.str(0);
  }
  for (int rule = 1; rule <= 10; ++rule) EXPECT_GT(rows[std::to_string(rule)], 0U) << "rule " << rule;
}

TEST(Documents, link_only_to_files_that_exist) {
  static const std::regex link(R"(\]\(([^)#\s]+)(?:#[^)]*)?\))");
  std::size_t seen = 0;
  for (const fs::path& document : documents()) {
    const std::string text = read(document);
    for (const std::smatch& each : matches(text, link)) {
      const std::string target = each.str(1);
      if (target.find("://") != std::string::npos) continue;
      ++seen;
      EXPECT_TRUE(fs::exists(document.parent_path() / target)) << document << " links to " << target;
    }
  }
  EXPECT_GT(seen, 5U);
}

TEST(Documents, name_only_sources_that_exist) {
  static const std::regex source(R"(`((?:xa|adapters|recovery|tm|tools|tests|examples|scripts|docs)/[\w/.-]*\w)`)");
  std::size_t seen = 0;
  for (const char* document : {"docs/ARCHITECTURE.md", "docs/adapters.md", "CONTRIBUTING.md"}) {
    const std::string text = read(root / document);
    for (const std::smatch& each : matches(text, source)) {
      ++seen;
      EXPECT_TRUE(fs::exists(root / each.str(1))) << document << " names " << each.str(1);
    }
  }
  EXPECT_GT(seen, 20U);
}

}  // namespace
}  // namespace assent
