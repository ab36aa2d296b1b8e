#include "assent/tests/crash/soak/notebook.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <system_error>

namespace assent::testing {

Notebook::Notebook(const std::string& path)
    : file_(::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600)) {
  if (file_ < 0) throw std::system_error(errno, std::generic_category(), path);
  // Whatever the one before left unfinished is a line of its own now.
  static_cast<void>(!::write(file_, "\n", 1));
}

Notebook::~Notebook() {
  ::close(file_);
}

void Notebook::write(std::string_view kind, std::string_view what) const {
  std::string line(kind);
  line += ' ';
  line += what;
  std::replace(line.begin(), line.end(), '\n', ' ');
  line += " .\n";
  if (::write(file_, line.data(), line.size()) != static_cast<ssize_t>(line.size())) {
    throw std::system_error(errno, std::generic_category(), "the notebook");
  }
}

void Told::read(const std::string& path) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (!line.ends_with(" .")) continue;
    line.resize(line.size() - 2);
    const std::size_t blank = line.find(' ');
    const std::string kind = line.substr(0, blank);
    const std::string what = line.substr(blank + 1);
    if (kind == "alarm") {
      alarms.push_back(what);
    } else if (kind == "resolved") {
      ++resolved;
    } else {
      transactions[what] = kind;
    }
  }
}

std::size_t Told::count(std::string_view word) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(transactions, [&](const auto& each) { return each.second == word; }));
}

}  // namespace assent::testing
