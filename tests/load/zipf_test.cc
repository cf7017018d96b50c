#include "client/load/zipf.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "main/seed.h"

namespace quire::load {
namespace {

// Pearson's statistic of `draws` draws against the exact probabilities, over
// its expectation and in units of its deviation.
double ExcessOfChiSquare(int64_t n, double exponent, int64_t draws,
                         std::mt19937_64& random) {
  const ZipfSampler zipf(n, exponent);
  std::vector<double> expected(static_cast<size_t>(n));
  double sum = 0;
  for (size_t rank = 0; rank < expected.size(); ++rank) {
    expected[rank] = std::pow(static_cast<double>(rank + 1), -exponent);
    sum += expected[rank];
  }
  std::vector<double> found(expected.size());
  for (int64_t i = 0; i < draws; ++i) {
    found.at(static_cast<size_t>(zipf(random))) += 1;
  }

  // Ranks are pooled until a bin has a hundred draws to expect.
  double chi_square = 0, bins = 0, bin_expected = 0, bin_found = 0;
  for (size_t rank = 0; rank < expected.size(); ++rank) {
    bin_expected += expected[rank] / sum * static_cast<double>(draws);
    bin_found += found[rank];
    if (bin_expected >= 100 || rank + 1 == expected.size()) {
      const double error = bin_found - bin_expected;
      chi_square += error * error / std::max(bin_expected, 1.0);
      bins += 1;
      bin_expected = bin_found = 0;
    }
  }
  return (chi_square - bins) / std::sqrt(2 * bins);
}

TEST(ZipfTest, FrequenciesAreThoseOfTheLaw) {
  std::mt19937_64 random(testing::Seed());
  for (double exponent : {0.2, 0.99, 1.0, 1.05, 2.0, 5.0}) {
    for (int64_t n : {1, 2, 10, 3000}) {
      EXPECT_LT(ExcessOfChiSquare(n, exponent, 200'000, random), 9)
          << "exponent " << exponent << ", n " << n;
    }
  }
}

TEST(ZipfTest, TheTestWouldNoticeASlightlyWrongExponent) {
  std::mt19937_64 random(testing::Seed());
  const ZipfSampler off(10, 1.1);
  int64_t first = 0;
  for (int i = 0; i < 200'000; ++i) {
    first += off(random) == 0 ? 1 : 0;
  }
  double sum = 0;
  for (int rank = 1; rank <= 10; ++rank) {
    sum += 1.0 / rank;
  }

  // Ten deviations from what exponent 1 expects of rank 0.
  EXPECT_GT(static_cast<double>(first) - 200'000 / sum,
            10 * std::sqrt(200'000 / sum));
}

TEST(ZipfTest, HugeTablesStayInRange) {
  std::mt19937_64 random(testing::Seed());
  constexpr int64_t kRows = int64_t{1} << 40;
  const ZipfSampler zipf(kRows, 0.5);
  int64_t largest = 0;
  for (int i = 0; i < 100'000; ++i) {
    const int64_t rank = zipf(random);
    ASSERT_GE(rank, 0);
    ASSERT_LT(rank, kRows);
    largest = std::max(largest, rank);
  }
  EXPECT_GT(largest, kRows / 2);
}

}  // namespace
}  // namespace quire::load
