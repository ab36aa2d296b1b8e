#include "assent/bench/rounds.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace assent::bench {
namespace {

/// Notes each transaction under its own letter.
class Noting final : public Side {
 public:
  Noting(char letter, std::string& notes) : letter_(letter), notes_(notes) {}
  void run_one(int) override { notes_ += letter_; }

 private:
  const char letter_;
  std::string& notes_;
};

std::string without_repetitions(const std::string& text) {
  std::string out;
  for (const char c : text) {
    if (out.empty() || out.back() != c) out += c;
  }
  return out;
}

TEST(Rounds, of_the_two_sides_take_turns_and_the_first_pair_is_thrown_away) {
  std::string notes;
  Noting floor('f', notes);
  Noting assent('a', notes);
  const Plan plan{.pairs = 3, .round = std::chrono::milliseconds(1)};
  int asked = 0;
  const Compared compared = run_in_turn(&floor, assent, plan, [&] { return ++asked > 0; });
  EXPECT_EQ(without_repetitions(notes), "fafafa") << "fa, thrown away; fa; af; fa";
  EXPECT_EQ(asked, 4);
  EXPECT_EQ(compared.ratios.size(), 3U);
  EXPECT_EQ(compared.floor.rates.size(), 3U);
  EXPECT_EQ(compared.assent.took.size(), compared.assent.transactions);
  EXPECT_LT(compared.floor.transactions + compared.assent.transactions, notes.size());
}

TEST(Rounds, add_up_over_sides_that_are_opened_anew) {
  std::string notes;
  Compared compared;
  for (int opening = 0; opening < 3; ++opening) {
    Noting floor('f', notes);
    Noting assent('a', notes);
    const Plan plan{.pairs = 2, .round = std::chrono::milliseconds(1)};
    compared = run_in_turn(
        &floor, assent, plan, [] { return true; }, std::move(compared));
  }
  EXPECT_EQ(compared.ratios.size(), 6U);
  EXPECT_EQ(compared.floor.took.size(), compared.floor.transactions);
  EXPECT_TRUE(std::is_sorted(compared.assent.took.begin(), compared.assent.took.end()));
}

TEST(Rounds, end_when_they_are_told_to) {
  std::string notes;
  Noting floor('f', notes);
  Noting assent('a', notes);
  int asked = 0;
  const Plan plan{.pairs = 100, .round = std::chrono::milliseconds(1)};
  const Compared compared = run_in_turn(&floor, assent, plan, [&] { return ++asked < 3; });
  EXPECT_EQ(compared.ratios.size(), 2U);
}

TEST(Rounds, give_every_client_a_thread_and_every_transaction_a_place) {
  class Counting final : public Side {
   public:
    void run_one(int client) override {
      ++transactions;
      seen.at(static_cast<std::size_t>(client)) = true;
    }
    std::atomic<std::uint64_t> transactions{0};
    std::vector<char> seen = std::vector<char>(8, false);
  };
  Counting assent;
  const Plan plan{.clients = 8, .pairs = 1, .round = std::chrono::milliseconds(1)};
  std::uint64_t warm_up = 0;
  const Compared compared = run_in_turn(nullptr, assent, plan, [&] {
    if (warm_up == 0) warm_up = assent.transactions;
    return true;
  });
  EXPECT_EQ(compared.assent.transactions, assent.transactions - warm_up);
  EXPECT_EQ(assent.seen, std::vector<char>(8, true));
  EXPECT_TRUE(compared.ratios.empty());
}

TEST(Rounds, end_with_the_exception_of_a_client) {
  class Failing final : public Side {
   public:
    void run_one(int client) override {
      if (client == 2) throw std::runtime_error("no server");
    }
  };
  Failing assent;
  const Plan plan{.clients = 3, .pairs = 1, .round = std::chrono::milliseconds(1)};
  EXPECT_THROW(static_cast<void>(run_in_turn(nullptr, assent, plan, [] { return true; })), std::runtime_error);
}

TEST(Rounds, are_summed_up_by_medians_and_percentiles) {
  EXPECT_DOUBLE_EQ(median({3, 1, 2}), 2);
  EXPECT_DOUBLE_EQ(median({4, 1, 2, 3}), 2.5);
  EXPECT_DOUBLE_EQ(median({}), 0);
  EXPECT_DOUBLE_EQ(quantile({1, 2, 3, 4, 5}, 0.25), 2);
  Measured measured;
  for (std::uint32_t i = 1; i <= 1000; ++i) measured.took.push_back(i * 10'000);
  EXPECT_DOUBLE_EQ(measured.percentile_ms(50), 500);
  EXPECT_DOUBLE_EQ(measured.percentile_ms(99), 990);
  EXPECT_DOUBLE_EQ(measured.percentile_ms(99.9), 999);
}

}  // namespace
}  // namespace assent::bench
