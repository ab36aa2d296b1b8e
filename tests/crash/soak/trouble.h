#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "assent/tests/crash/process.h"
#include "assent/tests/support/servers.h"

namespace assent::testing {

/// The soak's worker processes and database servers, and what is done to them: killed with -9 and stopped, one of them
/// or several at the same time. Not thread-safe: the workers end with the thread that made them.
class Trouble {
 public:
  using MakeWorker = std::function<std::unique_ptr<Process>(std::size_t)>;

  /// `note` is given a line for each thing that is done.
  Trouble(std::vector<Server> servers, std::size_t workers, MakeWorker make, std::function<void(std::string)> note);

  std::vector<std::unique_ptr<Process>>& workers() { return workers_; }

  /// One incident: some of all are killed or stopped, and some time later all run again, loaded.
  void strike(std::mt19937& random);

  /// By what was done to whom.
  const std::map<std::string, std::size_t>& counts() const { return counts_; }

 private:
  struct Victim {
    bool server = false;
    std::size_t number = 0;
    bool killed = false;  ///< or stopped
  };
  std::vector<Victim> choose(std::mt19937& random) const;
  std::string describe(const Victim& victim) const;
  void hit(const std::vector<Victim>& victims);
  void restore_servers(const std::vector<Victim>& victims);
  void restore_workers(const std::vector<Victim>& victims, std::mt19937& random);

  const std::vector<Server> servers_;
  const MakeWorker make_;
  const std::function<void(std::string)> note_;
  std::vector<std::unique_ptr<Process>> workers_;
  std::map<std::string, std::size_t> counts_;
};

}  // namespace assent::testing
