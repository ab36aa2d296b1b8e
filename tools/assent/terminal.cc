#include "assent/tools/assent/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "assent/tools/assent/text.h"

namespace assent::tool {
namespace {

std::size_t terminal_columns() {
  if (::isatty(STDOUT_FILENO) == 0) return 0;
  winsize size{};
  const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col != 0;
  return known ? std::max<std::size_t>(size.ws_col, 60) : 80;
}

const char* escape(Style style) {
  switch (style) {
    case Style::plain:
      return "";
    case Style::bold:
      return "\033[1m";
    case Style::faint:
      return "\033[2m";
    case Style::good:
      return "\033[32m";
    case Style::warning:
      return "\033[33m";
    case Style::bad:
      return "\033[31m";
  }
  return "";
}

}  // namespace

Terminal::Terminal(std::ostream& out, ColourMode mode) : out_(out), columns_(terminal_columns()) {
  const char* term = std::getenv("TERM");
  const bool able =
      columns_ != 0 && std::getenv("NO_COLOR") == nullptr && (term == nullptr || std::string(term) != "dumb");
  colour_ = mode == ColourMode::always || (mode == ColourMode::automatic && able);
}

std::string Terminal::styled(Style style, std::string_view text) const {
  if (!colour_ || style == Style::plain || text.empty()) return std::string(text);
  return escape(style) + std::string(text) + "\033[0m";
}

std::size_t Terminal::text_columns() const {
  return columns_ == 0 ? 100 : std::min<std::size_t>(columns_, 100);
}

void Terminal::paragraph(std::string_view text, std::size_t indent, std::string_view first) {
  std::string lead(first);
  lead.append(indent > width_of(first) ? indent - width_of(first) : 0, ' ');
  for (const std::string& each : wrapped(text, text_columns() - indent)) {
    line(lead + each);
    lead.assign(indent, ' ');
  }
}

void Table::print(Terminal& terminal) const {
  std::vector<std::size_t> widths(head_.size(), 0);
  for (const auto& row : rows_) {
    for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i].text));
  }
  std::size_t last = 0;
  for (std::size_t i = 0; i < head_.size(); ++i) {
    if (widths[i] == 0) continue;
    widths[i] = std::max(widths[i], width_of(head_[i]));
    last = i;
  }
  const auto print_row = [&](auto&& cell) {
    std::string line;
    std::size_t used = 0;
    for (std::size_t i = 0; i <= last; ++i) {
      if (widths[i] == 0) continue;
      Cell each = cell(i);
      if (i == last && terminal.columns() != 0 && used + 8 < terminal.columns()) {
        each.text = shortened(each.text, terminal.columns() - used);
      }
      line += terminal.styled(each.style, each.text);
      if (i == last) break;
      line.append(widths[i] - width_of(each.text) + 2, ' ');
      used += widths[i] + 2;
    }
    line.erase(line.find_last_not_of(' ') + 1);
    terminal.line(line);
  };
  print_row([&](std::size_t i) { return Cell{head_[i], Style::faint}; });
  for (const auto& row : rows_) print_row([&](std::size_t i) { return i < row.size() ? row[i] : Cell{}; });
}

bool input_is_terminal() {
  return ::isatty(STDIN_FILENO) != 0;
}

bool error_is_terminal() {
  return ::isatty(STDERR_FILENO) != 0;
}

}  // namespace assent::tool
