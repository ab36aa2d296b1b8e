#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace assent::testing {

/// What a worker was told, one line each, appended with one write: what it wrote survives its kill -9, and the line
/// that the kill tore is known by its missing end.
///
///     begun ID .            before any work
///     committed ID .        the outcome that the application was given; also rolled_back, in_doubt
///     resolved WHAT .       recovery finished a branch
///     alarm WHAT .          what must never be heard: a heuristic outcome, a call for a person, a stalled log
class Notebook {
 public:
  /// Throws std::system_error.
  explicit Notebook(const std::string& path);
  Notebook(const Notebook&) = delete;
  Notebook& operator=(const Notebook&) = delete;
  ~Notebook();

  /// From any thread.
  void write(std::string_view kind, std::string_view what) const;

 private:
  int file_ = -1;
};

/// All that the workers were told.
struct Told {
  std::map<std::string, std::string> transactions;  ///< by ID, the last word: begun, committed, rolled_back, in_doubt
  std::vector<std::string> alarms;
  std::size_t resolved = 0;

  void read(const std::string& path);
  std::size_t count(std::string_view word) const;
};

}  // namespace assent::testing
