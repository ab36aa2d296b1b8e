#include <iomanip>
#include <ostream>
#include <sstream>

#include <nlohmann/json.hpp>

#include "assent/bench/workload.h"

namespace assent::bench {
namespace {

using Json = nlohmann::ordered_json;

std::string number(double value, int digits) {
  std::ostringstream out;
  out << std::fixed << std::setprecision(digits) << value;
  return out.str();
}

std::string padded(const std::string& text, std::size_t width) {
  return std::string(text.size() < width ? width - text.size() : 0, ' ') + text;
}

/// Three digits or so, whatever the size.
std::string short_number(double value) {
  return number(value, value < 1 ? 4 : value < 10 ? 2 : value < 100 ? 1 : 0);
}

std::string or_dash(const std::optional<double>& value) {
  return value ? number(*value, 2) : "-";
}

std::string count_or_dash(const std::optional<std::uint64_t>& value) {
  return value ? std::to_string(*value) : "-";
}

void print_side(const std::string& name, const Measured& measured, std::ostream& out) {
  out << "  " << name << std::string(name.size() < 8 ? 8 - name.size() : 0, ' ')
      << padded(number(measured.rate(), 0), 9) << padded(short_number(measured.percentile_ms(50)), 9)
      << padded(short_number(measured.percentile_ms(99)), 9) << padded(short_number(measured.percentile_ms(99.9)), 9)
      << padded(short_number(measured.cpu_us()), 9) << '\n';
}

void print_cost(const std::string& name, const Cost& cost, const Result& result, std::ostream& out) {
  out << "  " << name << ':';
  for (std::size_t i = 0; i < cost.databases.size(); ++i) {
    const DatabaseCost& each = cost.databases[i];
    out << (i == 0 ? " " : "; ") << result.databases[i] << ' ' << or_dash(each.syncs) << " syncs, "
        << or_dash(each.messages) << " round trips";
    if (each.statements) out << ", " << or_dash(each.statements) << " statements";
  }
  if (cost.log_syncs && *cost.log_syncs > 0) out << "; log " << number(*cost.log_syncs, 2) << " syncs";
  out << '\n';
}

Json side_json(const Measured& measured) {
  return {{"transactions", measured.transactions},   {"per_s", measured.rate()},
          {"p50_ms", measured.percentile_ms(50)},    {"p99_ms", measured.percentile_ms(99)},
          {"p999_ms", measured.percentile_ms(99.9)}, {"cpu_us", measured.cpu_us()}};
}

template <class T>
Json optional_json(const std::optional<T>& value) {
  return value ? Json(*value) : Json(nullptr);
}

Json cost_json(const std::optional<Cost>& cost) {
  if (!cost) return nullptr;
  Json databases = Json::array();
  for (const DatabaseCost& each : cost->databases) {
    databases.push_back({{"syncs", optional_json(each.syncs)},
                         {"round_trips", optional_json(each.messages)},
                         {"statements", optional_json(each.statements)}});
  }
  return {
      {"transactions", cost->transactions}, {"databases", databases}, {"log_syncs", optional_json(cost->log_syncs)}};
}

}  // namespace

void print(const Report& report, std::ostream& out) {
  out << report.machine << "; log on " << report.log_volume << '\n';
  for (const auto& database : report.settings) {
    for (std::size_t i = 0; i < database.size(); ++i) out << (i == 0 ? "" : i == 1 ? ": " : ", ") << database[i];
    out << '\n';
  }
  out << '\n';
  for (const Result& result : report.results) {
    out << result.workload;
    for (std::size_t i = 0; i < result.databases.size(); ++i) out << (i == 0 ? ": " : " + ") << result.databases[i];
    out << ", " << result.clients << (result.clients == 1 ? " client" : " clients") << '\n';
    out << "             tx/s   p50 ms   p99 ms  p999 ms    CPU us\n";
    if (!result.times.ratios.empty()) print_side("floor", result.times.floor, out);
    print_side("Assent", result.times.assent, out);
    if (!result.times.ratios.empty()) {
      out << "  Assent / floor " << number(result.times.ratio(), 3) << " (middle half of " << result.times.ratios.size()
          << " pairs of rounds: " << number(quantile(result.times.ratios, 0.25), 3) << " to "
          << number(quantile(result.times.ratios, 0.75), 3) << "); floor: " << result.floor << '\n';
    }
    if (result.decisions_a_sync) {
      out << "  " << short_number(*result.decisions_a_sync) << " decisions shared a sync of the log\n";
    }
    if (result.floor_cost) print_cost("floor", *result.floor_cost, result, out);
    if (result.assent_cost) print_cost("Assent", *result.assent_cost, result, out);
    out << '\n';
  }
  for (const Recovered& each : report.recoveries) {
    out << "recovery of " << each.transactions << " transactions in doubt, " << each.decided
        << " of them decided: " << short_number(each.seconds) << " s in " << each.passes
        << (each.passes == 1 ? " pass\n" : " passes\n");
    for (std::size_t i = 0; i < each.costs.size(); ++i) {
      const auto& cost = each.costs[i];
      out << "  " << each.databases[i] << ": " << count_or_dash(cost.syncs) << " syncs, "
          << count_or_dash(cost.messages) << " round trips";
      if (cost.statements) out << ", " << *cost.statements << " statements";
      out << '\n';
    }
  }
  for (const Opened& each : report.openings) {
    out << "opening a log of " << each.decisions << " decisions (" << each.bytes / 1'000'000
        << " MB of files): " << short_number(each.seconds) << " s\n";
  }
}

nlohmann::ordered_json to_json(const Report& report) {
  Json results = Json::array();
  for (const Result& result : report.results) {
    const bool compared = !result.times.ratios.empty();
    results.push_back({{"workload", result.workload},
                       {"databases", result.databases},
                       {"clients", result.clients},
                       {"floor_is", result.floor},
                       {"round_ms", result.round_ms},
                       {"ratio", compared ? Json(result.times.ratio()) : Json(nullptr)},
                       {"ratios", result.times.ratios},
                       {"floor", compared ? side_json(result.times.floor) : Json(nullptr)},
                       {"assent", side_json(result.times.assent)},
                       {"floor_cost", cost_json(result.floor_cost)},
                       {"assent_cost", cost_json(result.assent_cost)},
                       {"decisions_a_sync", optional_json(result.decisions_a_sync)}});
  }
  Json recoveries = Json::array();
  for (const Recovered& each : report.recoveries) {
    Json costs = Json::array();
    for (const auto& cost : each.costs) {
      costs.push_back({{"syncs", optional_json(cost.syncs)},
                       {"round_trips", optional_json(cost.messages)},
                       {"statements", optional_json(cost.statements)}});
    }
    recoveries.push_back({{"databases", each.databases},
                          {"transactions", each.transactions},
                          {"decided", each.decided},
                          {"seconds", each.seconds},
                          {"passes", each.passes},
                          {"costs", costs}});
  }
  Json openings = Json::array();
  for (const Opened& each : report.openings) {
    openings.push_back({{"decisions", each.decisions}, {"seconds", each.seconds}, {"bytes", each.bytes}});
  }
  return {{"machine", report.machine}, {"log_volume", report.log_volume}, {"settings", report.settings},
          {"results", results},        {"recoveries", recoveries},        {"openings", openings}};
}

}  // namespace assent::bench
