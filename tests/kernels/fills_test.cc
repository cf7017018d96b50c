#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numbers>
#include <vector>

#include "kernels/box_muller.h"
#include "kernels/each_table.h"
#include "kernels/philox.h"

namespace quire::kernels {
namespace {

// Salmon et al., Random123's known answers.
TEST(PhiloxTest, GivesTheKnownAnswers) {
  struct KnownAnswer {
    PhiloxBlock counter;
    uint64_t key;
    std::array<uint32_t, 4> words;
  };
  const KnownAnswer answers[] = {
      {{0, 0, 0, 0}, 0, {0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8}},
      {{0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF},
       0xFFFFFFFFFFFFFFFF,
       {0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD}},
      {{0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344},
       0x299F31D0A4093822,
       {0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1}},
  };
  for (const KnownAnswer& answer : answers) {
    EXPECT_EQ(std::to_array(Philox(answer.counter, answer.key).words),
              answer.words);
  }
}

TEST(BoxMullerTest, LogIsWithin1e15OfLibmOnAllArguments) {
  double worst = 0;
  for (int32_t i = 1; i <= 1 << 24; ++i) {
    const float u = static_cast<float>(i) * 0x1p-24f;
    const double expected = std::log(double{u});
    worst = std::max(worst, std::abs(LogOfUniform(u) - expected) /
                                std::max(std::abs(expected), 1e-300));
  }
  EXPECT_LE(worst, 1e-15);
}

TEST(BoxMullerTest, LogOfOneIsZero) { EXPECT_EQ(LogOfUniform(1.0f), 0.0); }

constexpr int32_t kTurn = 1 << 24;

// All of its arguments: a quarter turn around 0 against libm, and each of the
// others against this one, which it equals to the bit.
TEST(BoxMullerTest, SineAndCosineAreWithin1e15OfLibmOnAllArguments) {
  double worst = 0;
  size_t unlike = 0;
  for (int32_t i = -kTurn / 8; i < kTurn / 8; ++i) {
    const SineCosine turn = SineCosineOfTurn((i + kTurn) % kTurn);
    const long double angle = 2 * std::numbers::pi_v<long double> * i / kTurn;
    worst = std::max(
        {worst, std::abs(turn.sine - static_cast<double>(std::sin(angle))),
         std::abs(turn.cosine - static_cast<double>(std::cos(angle)))});

    const SineCosine quarter = SineCosineOfTurn(i + kTurn / 4);
    const SineCosine half = SineCosineOfTurn(i + kTurn / 2);
    const SineCosine last = SineCosineOfTurn(i + 3 * (kTurn / 4));
    unlike += quarter.sine != turn.cosine || quarter.cosine != -turn.sine ||
              half.sine != -turn.sine || half.cosine != -turn.cosine ||
              last.sine != -turn.cosine || last.cosine != turn.sine;
  }
  EXPECT_LE(worst, 1e-15);
  EXPECT_EQ(unlike, 0u);
}

TEST(BoxMullerTest, QuarterTurnsAreExact) {
  for (int quarter = 0; quarter < 4; ++quarter) {
    const SineCosine turn = SineCosineOfTurn(quarter * (kTurn / 4));
    EXPECT_EQ(turn.sine, (std::array{0, 1, 0, -1}[quarter]));
    EXPECT_EQ(turn.cosine, (std::array{1, 0, -1, 0}[quarter]));
  }
}

class FillTest : public EachTable {
 protected:
  std::vector<float> Uniform(size_t dim, int64_t id, UniformFill fill) {
    std::vector<float> out(dim);
    GetParam()->fill_uniform(out.data(), dim, id, fill);
    return out;
  }
  std::vector<float> Normal(size_t dim, int64_t id, NormalFill fill) {
    std::vector<float> out(dim);
    GetParam()->fill_normal(out.data(), dim, id, fill);
    return out;
  }
};
QUIRE_RUN_ON_EACH_TABLE(FillTest);

const int64_t kIds[] = {0,
                        1,
                        -1,
                        int64_t{1} << 32,
                        std::numeric_limits<int64_t>::min(),
                        std::numeric_limits<int64_t>::max()};

// The words of element d's block.
PhiloxBlock WordsOf(size_t d, int64_t id, uint64_t seed) {
  const uint64_t bits = static_cast<uint64_t>(id);
  return Philox({static_cast<uint32_t>(d / 4), 0, static_cast<uint32_t>(bits),
                 static_cast<uint32_t>(bits >> 32)},
                seed);
}

TEST_P(FillTest, UniformIsOneWordAnElement) {
  const UniformFill fill = {.seed = testing::Seed(), .low = -3, .high = 5};
  for (int64_t id : kIds) {
    const std::vector<float> row = Uniform(200, id, fill);
    for (size_t d = 0; d < row.size(); ++d) {
      const uint32_t word = WordsOf(d, id, fill.seed).words[d % 4];
      const float u = static_cast<float>(word >> 8) / 16777216;
      EXPECT_EQ(row[d], -3 + 8 * u);
    }
  }
}

TEST_P(FillTest, NormalIsBoxMullerOnPairsOfWords) {
  const NormalFill fill = {.seed = testing::Seed(), .mean = 2, .stddev = 0.5f};
  for (int64_t id : kIds) {
    const std::vector<float> row = Normal(200, id, fill);
    for (size_t d = 0; d < row.size(); d += 2) {
      const PhiloxBlock block = WordsOf(d, id, fill.seed);
      const double u1 = ((block.words[d % 4] >> 8) + 1) / 16777216.0;
      const double u2 = (block.words[d % 4 + 1] >> 8) / 16777216.0;
      const double r = std::sqrt(-2 * std::log(u1));
      const double angle = 2 * std::numbers::pi * u2;
      EXPECT_FLOAT_EQ(row[d], 2 + 0.5 * r * std::cos(angle));
      EXPECT_FLOAT_EQ(row[d + 1], 2 + 0.5 * r * std::sin(angle));
    }
  }
}

TEST_P(FillTest, AnElementDoesNotDependOnTheDim) {
  const uint64_t seed = testing::Seed();
  const std::vector<float> uniform = Uniform(130, 7, {seed, 0, 1});
  const std::vector<float> normal = Normal(130, 7, {seed, 0, 1});
  for (size_t dim = 0; dim <= 130; ++dim) {
    GuardedBytes out(dim * sizeof(float), 4 * (dim % 16));

    GetParam()->fill_uniform(out.floats(), dim, 7, {seed, 0, 1});
    EXPECT_TRUE(
        std::equal(uniform.begin(), uniform.begin() + dim, out.floats()));
    GetParam()->fill_normal(out.floats(), dim, 7, {seed, 0, 1});
    EXPECT_TRUE(std::equal(normal.begin(), normal.begin() + dim, out.floats()));
    EXPECT_TRUE(out.GuardsAreIntact());
  }
}

TEST_P(FillTest, EveryBitOfSeedAndIdMatters) {
  const std::vector<float> row = Uniform(4, 0, {0, 0, 1});
  for (int bit = 0; bit < 64; ++bit) {
    const uint64_t one = uint64_t{1} << bit;
    EXPECT_NE(Uniform(4, 0, {one, 0, 1}), row);
    EXPECT_NE(Uniform(4, static_cast<int64_t>(one), {0, 0, 1}), row);
    EXPECT_NE(Uniform(4, static_cast<int64_t>(one), {0, 0, 1}),
              Uniform(4, 0, {one, 0, 1}));
  }
}

// 2^18 numbers in order.
template <typename Fill>
std::vector<float> SortedSample(Fill fill) {
  std::vector<float> sample;
  for (int64_t id = 0; id < 4096; ++id) {
    const std::vector<float> row = fill(64, id);
    sample.insert(sample.end(), row.begin(), row.end());
  }
  std::ranges::sort(sample);
  return sample;
}

// Kolmogorov-Smirnov: the largest distance of the two distributions, times
// sqrt(n); over 1.95 once in a thousand samples. The seed here is fixed.
template <typename Cdf>
double KolmogorovSmirnov(const std::vector<float>& sorted, Cdf cdf) {
  const double n = static_cast<double>(sorted.size());
  double distance = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    const double expected = cdf(sorted[i]);
    const double rank = static_cast<double>(i);
    distance =
        std::max({distance, expected - rank / n, (rank + 1) / n - expected});
  }
  return distance * std::sqrt(n);
}

double Moment(const std::vector<float>& sample, int power) {
  double sum = 0;
  for (float x : sample) {
    sum += std::pow(double{x}, power);
  }
  return sum / static_cast<double>(sample.size());
}

TEST_P(FillTest, UniformIsUniform) {
  const std::vector<float> sample = SortedSample([&](size_t dim, int64_t id) {
    return Uniform(dim, id, {42, 0, 1});
  });

  EXPECT_GE(sample.front(), 0.0f);
  EXPECT_LT(sample.back(), 1.0f);
  EXPECT_NEAR(Moment(sample, 1), 1.0 / 2, 0.003);
  EXPECT_NEAR(Moment(sample, 2), 1.0 / 3, 0.003);
  EXPECT_LT(KolmogorovSmirnov(sample, [](double x) { return x; }), 1.95);
}

TEST_P(FillTest, NormalIsNormal) {
  const std::vector<float> sample = SortedSample([&](size_t dim, int64_t id) {
    return Normal(dim, id, {42, 0, 1});
  });

  EXPECT_NEAR(Moment(sample, 1), 0, 0.01);
  EXPECT_NEAR(Moment(sample, 2), 1, 0.015);
  EXPECT_NEAR(Moment(sample, 3), 0, 0.03);
  EXPECT_NEAR(Moment(sample, 4), 3, 0.1);
  EXPECT_LT(KolmogorovSmirnov(sample,
                              [](double x) {
                                return std::erfc(-x / std::numbers::sqrt2) / 2;
                              }),
            1.95);
}

// These bytes are promised: a table that was filled by any release is filled
// again with the same. Computed by a separate program from the definition.
TEST_P(FillTest, InitialValuesNeverChange) {
  EXPECT_EQ(
      Uniform(8, 0, {42, -0.05f, 0.05f}),
      (std::vector<float>{0x1.722598p-7f, -0x1.9bbe40p-9f, -0x1.5d9bcep-5f,
                          -0x1.04bb88p-6f, 0x1.8f8a02p-5f, -0x1.1b56e8p-6f,
                          0x1.6c8a80p-10f, -0x1.2b65d0p-8f}));
  EXPECT_EQ(Uniform(8, -7, {0x123456789ABCDEF0, 0, 1}),
            (std::vector<float>{0x1.93b336p-1f, 0x1.0ce750p-3f, 0x1.8a0200p-6f,
                                0x1.99debcp-2f, 0x1.7e0e20p-4f, 0x1.faeb30p-2f,
                                0x1.db044cp-2f, 0x1.c2cb7ep-1f}));
  EXPECT_EQ(
      Normal(8, 0, {42, 0, 1}),
      (std::vector<float>{-0x1.f0bcb4p-1f, 0x1.8d59d8p-3f, -0x1.3c5198p+0f,
                          0x1.ec867cp+0f, -0x1.2bc02ap-4f, 0x1.1cf3fcp-3f,
                          -0x1.1b4e64p+0f, 0x1.4e8614p-2f}));
  EXPECT_EQ(
      Normal(8, (int64_t{1} << 40) + 5, {0x123456789ABCDEF0, 0.5f, 0.01f}),
      (std::vector<float>{0x1.fbefc4p-2f, 0x1.00bdd2p-1f, 0x1.ee1894p-2f,
                          0x1.efab86p-2f, 0x1.fba5eep-2f, 0x1.f467eap-2f,
                          0x1.f5d2bap-2f, 0x1.00229cp-1f}));
}

}  // namespace
}  // namespace quire::kernels
