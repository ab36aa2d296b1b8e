#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "assent/recovery/decision_log.h"
#include "assent/tests/support/fake_file_system.h"

namespace assent::fuzz {

/// The log's directory on every disk here.
constexpr const char* slot = "slot";

/// Identities and times that are the same in every run. No two logs of one run may take the same `series`.
LogOptions log_options(std::uint64_t series);

/// What the log in `slot` says.
struct Judgement {
  bool damaged = false;
  bool torn = false;
  std::vector<std::string> records;  ///< bytes of each, in their order; up to the damage
};

/// Reads the newest segment in every way there is (verify, dump, view, open) and requires that all of them agree, that
/// what is read keeps its bounds and can be written and read again, that a damaged log is refused and left alone, and
/// that an opened log holds just what was read, also when it is opened once more.
Judgement check_log(test::FakeFileSystem& disk);

/// The same, of a disk with nothing but one segment of these bytes.
Judgement check_segment(std::string bytes, std::uint64_t number);

}  // namespace assent::fuzz
