#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace assent::tool {

/// "12 s", "4 min", "3 h", "5 d".
std::string duration_text(std::chrono::seconds duration);
std::chrono::seconds since(std::int64_t unix_ms);
/// "2026-11-22 18:09:25 UTC".
std::string time_text(std::int64_t unix_ms);

/// What comes from outside, safe for a terminal: control characters (also C1, in UTF-8) become '?'.
std::string printable(std::string_view text);

/// Columns that a terminal needs for UTF-8 text without double-width characters; colours need none.
std::size_t width_of(std::string_view text);
/// Shortened to that many columns, with '…' where something is missing.
std::string shortened(std::string_view text, std::size_t columns);

/// Words in lines of at most `columns`.
std::vector<std::string> wrapped(std::string_view text, std::size_t columns);

/// "1 branch", "2 branches"
std::string counted(std::size_t count, std::string_view one, std::string_view many);

}  // namespace assent::tool
