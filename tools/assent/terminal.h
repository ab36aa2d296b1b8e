#pragma once

#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

namespace assent::tool {

enum class ColourMode { automatic, always, never };
enum class Style { plain, bold, faint, good, warning, bad };

/// Where a command prints. Not thread-safe.
class Terminal {
 public:
  /// `automatic`: colour when standard output is a terminal, TERM is not "dumb" and NO_COLOR is not set.
  Terminal(std::ostream& out, ColourMode mode);

  std::ostream& out() { return out_; }
  std::string styled(Style style, std::string_view text) const;
  /// Columns of the terminal; none is assumed to be narrower than 60. 0: not a terminal, nothing is shortened.
  std::size_t columns() const { return columns_; }
  /// For running text: the terminal's columns, at most 100.
  std::size_t text_columns() const;

  void line(std::string_view text = "") { out_ << text << '\n'; }
  /// A paragraph, wrapped and indented; `first` stands before its first line, within the indentation.
  void paragraph(std::string_view text, std::size_t indent = 0, std::string_view first = "");

 private:
  std::ostream& out_;
  bool colour_ = false;
  std::size_t columns_ = 0;
};

/// A table with a faint head line. Columns that are empty in every row are left out; the last is shortened to fit.
class Table {
 public:
  struct Cell {
    std::string text;
    Style style = Style::plain;
  };
  explicit Table(std::vector<std::string> head) : head_(std::move(head)) {}
  void row(std::vector<Cell> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.empty(); }
  void print(Terminal& terminal) const;

 private:
  std::vector<std::string> head_;
  std::vector<std::vector<Cell>> rows_;
};

/// True when a person sits at standard input.
bool input_is_terminal();
bool error_is_terminal();

}  // namespace assent::tool
