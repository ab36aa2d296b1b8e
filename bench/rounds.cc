#include "assent/bench/rounds.h"

#include <sys/resource.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <cmath>
#include <cstdint>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

namespace assent::bench {
namespace {

using Clock = std::chrono::steady_clock;

double cpu_us_so_far() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto us = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) * 1e6 + static_cast<double>(time.tv_usec);
  };
  return us(usage.ru_utime) + us(usage.ru_stime);
}

/// The clients: threads that live through all rounds.
class Clients {
 public:
  explicit Clients(int count) : took_(static_cast<std::size_t>(count)), gate_(count + 1) {
    threads_.reserve(static_cast<std::size_t>(count));
    for (int client = 0; client < count; ++client) threads_.emplace_back([this, client] { live(client); });
  }
  ~Clients() {
    side_ = nullptr;
    gate_.arrive_and_wait();
  }
  Clients(const Clients&) = delete;
  Clients& operator=(const Clients&) = delete;

  void round(Side& side, std::chrono::milliseconds length, Measured& sum) {
    for (auto& each : took_) each.clear();
    const double cpu = cpu_us_so_far();
    const auto begin = Clock::now();
    side_ = &side;
    until_ = begin + length;
    gate_.arrive_and_wait();
    gate_.arrive_and_wait();
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    const double used = cpu_us_so_far() - cpu;
    if (failure_) std::rethrow_exception(failure_);
    std::uint64_t transactions = 0;
    for (const auto& each : took_) {
      transactions += each.size();
      sum.took.insert(sum.took.end(), each.begin(), each.end());
    }
    sum.transactions += transactions;
    sum.seconds += seconds;
    sum.cpu_total_us += used;
    sum.rates.push_back(static_cast<double>(transactions) / seconds);
  }

 private:
  void live(int client) {
    std::vector<std::uint32_t>& took = took_[static_cast<std::size_t>(client)];
    while (true) {
      gate_.arrive_and_wait();
      if (side_ == nullptr) return;
      try {
        // One at least, so that the shortest round says something.
        auto begin = Clock::now();
        do {
          side_->run_one(client);
          const auto end = Clock::now();
          const auto tenths = std::chrono::duration_cast<std::chrono::nanoseconds>(end - begin).count() / 100;
          took.push_back(static_cast<std::uint32_t>(std::min<std::int64_t>(tenths, UINT32_MAX)));
          begin = end;
        } while (begin < until_ && !failed_);
      } catch (...) {
        const std::lock_guard lock(failure_mutex_);
        if (!failure_) failure_ = std::current_exception();
        failed_ = true;
      }
      gate_.arrive_and_wait();
    }
  }

  std::vector<std::vector<std::uint32_t>> took_;
  std::barrier<> gate_;
  Side* side_ = nullptr;     // written and read on the two sides of the gate
  Clock::time_point until_;  // likewise
  std::mutex failure_mutex_;
  std::exception_ptr failure_;
  std::atomic<bool> failed_{false};
  std::vector<std::jthread> threads_;
};

}  // namespace

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const double place = share * static_cast<double>(values.size() - 1);
  const auto low = static_cast<std::size_t>(place);
  const std::size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (values[high] - values[low]) * (place - std::floor(place));
}

double median(std::vector<double> values) {
  return quantile(std::move(values), 0.5);
}

double Measured::rate() const {
  return median(rates);
}

double Measured::cpu_us() const {
  return transactions == 0 ? 0 : cpu_total_us / static_cast<double>(transactions);
}

double Measured::percentile_ms(double percent) const {
  if (took.empty()) return 0;
  // 99.9 has no exact binary form: a whole rank must not be rounded up for it.
  const auto rank = static_cast<std::size_t>(std::ceil(percent / 100 * static_cast<double>(took.size()) - 1e-6));
  return took[std::clamp<std::size_t>(rank, 1, took.size()) - 1] / 10'000.0;
}

double Compared::ratio() const {
  return median(ratios);
}

Compared run_in_turn(Side* floor, Side& assent, const Plan& plan, const std::function<bool()>& go_on, Compared so_far) {
  std::optional<Clients> floor_clients;
  if (floor != nullptr) floor_clients.emplace(plan.floor_clients);
  Clients clients(plan.clients);
  const auto pair = [&](Measured& of_floor, Measured& of_assent, bool floor_first) {
    if (floor != nullptr && floor_first) floor_clients->round(*floor, plan.round, of_floor);
    clients.round(assent, plan.round, of_assent);
    if (floor != nullptr && !floor_first) floor_clients->round(*floor, plan.round, of_floor);
    return go_on();
  };
  Measured thrown_away;
  bool more = pair(thrown_away, thrown_away, true);
  for (int i = 0; more && i < plan.pairs; ++i) {
    more = pair(so_far.floor, so_far.assent, i % 2 == 0);
    if (floor != nullptr) so_far.ratios.push_back(so_far.assent.rates.back() / so_far.floor.rates.back());
  }
  std::ranges::sort(so_far.floor.took);
  std::ranges::sort(so_far.assent.took);
  return so_far;
}

}  // namespace assent::bench
