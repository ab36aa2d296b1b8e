#include <pwd.h>
#include <unistd.h>

#include <array>
#include <iostream>
#include <string>

#include "assent/tools/assent/command.h"
#include "assent/tools/assent/stop.h"
#include "assent/tools/assent/text.h"

namespace assent::tool {

void confirm(const std::string& question, const std::string& word, bool yes) {
  if (yes) return;
  if (!input_is_terminal()) {
    throw Stop(Exit::refused, "this must be confirmed, and nobody sits at the terminal; nothing was changed",
               "run it from a terminal, or say --yes if you are sure");
  }
  std::cerr << question << "\nType '" << word << "' to go on: " << std::flush;
  std::string typed;
  std::getline(std::cin, typed);
  if (typed != word) throw Stop(Exit::refused, "not confirmed; nothing was changed", "type exactly '" + word + '\'');
}

std::string who_am_i() {
  std::array<char, 4096> room{};
  passwd entry{};
  passwd* found = nullptr;
  const bool known = ::getpwuid_r(::getuid(), &entry, room.data(), room.size(), &found) == 0 && found != nullptr;
  return (known ? printable(std::string_view(entry.pw_name)) : "?") + " (uid " + std::to_string(::getuid()) +
         "), process " + std::to_string(::getpid());
}

}  // namespace assent::tool
