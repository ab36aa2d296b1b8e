#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

/// What the fuzzers share. libFuzzer calls LLVMFuzzerTestOneInput() with bytes that it made up.
namespace assent::fuzz {

/// A promise that the code under test makes; broken, it is a finding.
inline void require(bool holds, const char* promise) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", promise);
  std::abort();
}

/// One line that may go to a terminal as it is.
inline bool is_printable(std::string_view text) {
  return std::none_of(text.begin(), text.end(),
                      [](char c) { return static_cast<unsigned char>(c) < ' ' || c == '\x7f'; });
}

/// Reads the input as a series of choices; when it is used up, every choice is 0 and every text empty.
class Script {
 public:
  Script(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

  bool used_up() const { return rest_.empty(); }

  /// From 0 to before `bound`.
  std::size_t below(std::size_t bound) {
    std::size_t value = 0;
    for (std::size_t reach = 1; reach < bound; reach <<= 8) value = value << 8 | byte();
    return bound == 0 ? 0 : value % bound;
  }
  std::uint8_t byte() {
    const std::string one = text(1);
    return one.empty() ? 0 : static_cast<std::uint8_t>(one[0]);
  }
  std::uint64_t number() {
    std::uint64_t value = 0;
    for (int i = 0; i < 8; ++i) value = value << 8 | byte();
    return value;
  }
  std::string text(std::size_t length) {
    std::string out(rest_.substr(0, length));
    rest_.remove_prefix(out.size());
    return out;
  }
  std::string rest() { return text(rest_.size()); }

 private:
  std::string_view rest_;
};

}  // namespace assent::fuzz
