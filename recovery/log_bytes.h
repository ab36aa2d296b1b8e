#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

/// Little-endian integers in byte strings, and bounded reading of them.
namespace assent::log {

template <class Integer>
void put(char* to, Integer value) {
  if constexpr (std::endian::native == std::endian::little) {
    std::memcpy(to, &value, sizeof value);
  } else {
    const auto bits = static_cast<std::uint64_t>(value);
    for (std::size_t i = 0; i < sizeof(Integer); ++i) to[i] = static_cast<char>(bits >> (8 * i) & 0xff);
  }
}

template <class Integer>
void put(std::string& out, Integer value) {
  char bytes[sizeof(Integer)];
  put(bytes, value);
  out.append(bytes, sizeof bytes);
}

template <class Integer>
Integer get(const char* from) {
  if constexpr (std::endian::native == std::endian::little) {
    Integer value;
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  std::uint64_t bits = 0;
  for (std::size_t i = 0; i < sizeof(Integer); ++i) {
    bits |= static_cast<std::uint64_t>(static_cast<unsigned char>(from[i])) << (8 * i);
  }
  return static_cast<Integer>(bits);
}

/// Reads from the front of bytes that came from outside: past the end or over a bound it answers zeros and remembers.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : rest_(bytes) {}

  template <class Integer>
  Integer number() {
    if (rest_.size() < sizeof(Integer)) {
      broken_ = true;
      return Integer{};
    }
    const Integer value = get<Integer>(rest_.data());
    rest_.remove_prefix(sizeof(Integer));
    return value;
  }

  /// A length of two bytes, then as many bytes; at most `bound`.
  std::string text(std::size_t bound) {
    const auto length = number<std::uint16_t>();
    if (broken_ || length > bound || length > rest_.size()) {
      broken_ = true;
      return {};
    }
    std::string value(rest_.substr(0, length));
    rest_.remove_prefix(length);
    return value;
  }

  bool broken() const { return broken_; }
  /// Everything was read, and nothing was missing.
  bool complete() const { return !broken_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool broken_ = false;
};

inline void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<std::uint16_t>(text.size()));
  out.append(text);
}

}  // namespace assent::log
