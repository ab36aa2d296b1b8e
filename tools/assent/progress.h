#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "assent/recovery/recoverer.h"

namespace assent::tool {

/// A bar on standard error, drawn only when that is a terminal and the work is long enough to be watched. Thread-safe.
class Progress {
 public:
  explicit Progress(std::string what) : what_(std::move(what)) {}
  ~Progress() { end(); }
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// How much there is to do; below a handful nothing is drawn.
  void expect(std::size_t total);
  void step();
  /// Wipes the bar.
  void end();

 private:
  void draw();

  const std::string what_;
  std::mutex mutex_;
  std::size_t total_ = 0;
  std::size_t done_ = 0;
  bool drawn_ = false;
};

/// The same resources, reporting every branch that was tried to be finished.
std::vector<RecoverableResource> watched(const std::vector<RecoverableResource>& resources, Progress& progress);

}  // namespace assent::tool
