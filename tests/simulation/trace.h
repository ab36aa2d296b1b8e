#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "assent/tests/simulation/scheduler.h"

namespace assent::simulation {

/// The story of one world, line by line, as it is told to people; and its fingerprint, so that two runs of a seed can
/// be compared without being told.
class Trace {
 public:
  /// `keep`: somebody listens.
  explicit Trace(bool keep) : keep_(keep) {}

  bool keeps() const { return keep_; }
  void say(Time now, std::string_view who, const std::string& what);
  /// The same, for what is put into words only when somebody listens: it leaves the fingerprint alone.
  void tell(Time now, std::string_view who, const std::string& what);
  /// Of what is not worth a line.
  void mix(std::uint64_t value) { fingerprint_ = (fingerprint_ ^ value) * 0x100000001B3U; }

  const std::vector<std::string>& lines() const { return lines_; }
  std::uint64_t fingerprint() const { return fingerprint_; }

 private:
  const bool keep_;
  std::vector<std::string> lines_;
  std::uint64_t fingerprint_ = 0xCBF29CE484222325U;
};

}  // namespace assent::simulation
