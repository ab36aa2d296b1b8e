#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <vector>

namespace assent::bench {

/// One of the two things that are compared.
class Side {
 public:
  virtual ~Side() = default;
  Side(const Side&) = delete;
  Side& operator=(const Side&) = delete;

  /// One transaction, as client number `client`. Called by one thread for each client, and by that one only. What it
  /// throws ends the bench.
  virtual void run_one(int client) = 0;

 protected:
  Side() = default;
};

struct Plan {
  int clients = 1;
  int floor_clients = 1;
  int pairs = 1;  ///< of rounds, after one pair that is thrown away
  std::chrono::milliseconds round{250};
};

/// What all rounds of one side came to.
struct Measured {
  std::uint64_t transactions = 0;
  double seconds = 0;
  double cpu_total_us = 0;          ///< of the whole process
  std::vector<double> rates;        ///< transactions a second, of each round
  std::vector<std::uint32_t> took;  ///< tenths of a microsecond, of each transaction, sorted

  double rate() const;    ///< the median of the rounds
  double cpu_us() const;  ///< a transaction
  double percentile_ms(double percent) const;
};

struct Compared {
  Measured floor;
  Measured assent;
  std::vector<double> ratios;  ///< assent to floor, of each pair of rounds that stood beside each other

  double ratio() const;
};

double median(std::vector<double> values);
/// The value below which that share (0 to 1) of the values lies.
double quantile(std::vector<double> values, double share);

/// Runs rounds of the two in turn, floor, assent, assent, floor, floor, assent, …, so that what else the machine does
/// meets both. A time says something only beside the other of the same run. Without a floor, Assent's rounds alone.
/// `go_on` is asked after each pair, and ends it with false. Adds to what was measured `so_far`, with the same sides or
/// with others of their kind.
Compared run_in_turn(Side* floor, Side& assent, const Plan& plan, const std::function<bool()>& go_on,
                     Compared so_far = {});

}  // namespace assent::bench
