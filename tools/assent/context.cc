#include "assent/tools/assent/command.h"

namespace assent::tool {

std::string Context::program() const {
  if (!shown_program.empty()) return shown_program;
  if (config_path == "assent.toml" || config_path == "./assent.toml") return "assent";
  const bool plain = config_path.find_first_of(" \t'\"\\$`&|;<>()*?[]#~!{}") == std::string::npos;
  if (plain) return "assent --config " + config_path;
  std::string quoted;
  for (const char c : config_path) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return "assent --config '" + quoted + '\'';
}

}  // namespace assent::tool
