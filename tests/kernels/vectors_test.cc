#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <span>
#include <vector>

#include "kernels/each_table.h"

namespace quire::kernels {
namespace {

constexpr int64_t kMin = std::numeric_limits<int64_t>::min();
constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

class IdCheckTest : public EachTable {};
QUIRE_RUN_ON_EACH_TABLE(IdCheckTest);

TEST_P(IdCheckTest, GoodIdsGiveTheirCount) {
  std::mt19937_64 generator(testing::Seed());
  for (size_t count = 0; count <= 300; ++count) {
    std::vector<int64_t> ids(count);
    for (int64_t& id : ids) {
      id = static_cast<int64_t>(generator() % 1000);
    }

    EXPECT_EQ(GetParam()->first_out_of_range(ids.data(), count, 1000), count);
  }
}

TEST_P(IdCheckTest, ABadIdIsFoundAtEveryPosition) {
  for (int64_t bad : {int64_t{-1}, int64_t{10}, int64_t{11}, kMin, kMin + 1,
                      kMin + 10, kMin + 11, kMax, kMax - 1}) {
    for (size_t position = 0; position < 200; ++position) {
      std::vector<int64_t> ids(200, 9);
      ids[position] = bad;

      EXPECT_EQ(GetParam()->first_out_of_range(ids.data(), ids.size(), 10),
                position)
          << bad;
    }
  }
}

TEST_P(IdCheckTest, TheFirstOfSeveralBadIdsIsFound) {
  std::mt19937_64 generator(testing::Seed());
  for (int round = 0; round < 1000; ++round) {
    std::vector<int64_t> ids(generator() % 500 + 2, 0);
    const size_t a = generator() % ids.size();
    const size_t b = generator() % ids.size();
    ids[a] = ids[b] = -1;

    EXPECT_EQ(GetParam()->first_out_of_range(ids.data(), ids.size(), 1),
              std::min(a, b));
  }
}

TEST_P(IdCheckTest, ALimitOfZeroOrBelowAdmitsNothing) {
  for (int64_t limit : {int64_t{0}, int64_t{-1}, kMin}) {
    for (int64_t id : {int64_t{0}, int64_t{1}, int64_t{-1}, kMin, kMax}) {
      const std::vector<int64_t> ids(70, id);

      EXPECT_EQ(GetParam()->first_out_of_range(ids.data(), ids.size(), limit),
                0u)
          << id << " of " << limit;
    }
  }
}

TEST_P(IdCheckTest, TheLargestLimitAdmitsAllBelowIt) {
  const std::vector<int64_t> ids = {0, kMax - 1, kMax, 0, kMin};

  EXPECT_EQ(GetParam()->first_out_of_range(ids.data(), 2, kMax), 2u);
  EXPECT_EQ(GetParam()->first_out_of_range(ids.data(), 5, kMax), 2u);
  EXPECT_EQ(GetParam()->first_out_of_range(&ids[3], 2, kMax), 1u);
}

class FiniteCheckTest : public EachTable {};
QUIRE_RUN_ON_EACH_TABLE(FiniteCheckTest);

TEST_P(FiniteCheckTest, ANonFiniteFloatIsFoundAtEveryPosition) {
  for (uint32_t bad : {0x7F800000u, 0xFF800000u, 0x7FC00000u, 0xFFFFFFFFu,
                       0x7F800001u, 0xFF812345u}) {
    for (size_t count : {1, 15, 64, 65, 200}) {
      for (size_t position = 0; position < count; ++position) {
        std::vector<float> floats(count, 1.5f);
        floats[position] = std::bit_cast<float>(bad);
        GuardedBytes bytes(floats, position % 4);

        EXPECT_EQ(GetParam()->first_non_finite(bytes.data(), count), position);
      }
    }
  }
}

TEST_P(FiniteCheckTest, ExtremesDenormalsAndZerosAreFinite) {
  std::vector<float> floats;
  for (int i = 0; i < 40; ++i) {
    for (uint32_t bits : {0u, 0x80000000u, 1u, 0x80000001u, 0x007FFFFFu,
                          0x7F7FFFFFu, 0xFF7FFFFFu}) {
      floats.push_back(std::bit_cast<float>(bits));
    }
  }
  for (size_t count = 0; count <= floats.size(); ++count) {
    GuardedBytes bytes(std::span<const float>(floats.data(), count), count % 4);

    EXPECT_EQ(GetParam()->first_non_finite(bytes.data(), count), count);
  }
}

class SumTest : public EachTable {};
QUIRE_RUN_ON_EACH_TABLE(SumTest);

TEST_P(SumTest, AddScaledRoundsOnce) {
  HardFloats random(testing::Seed(), 3);
  for (size_t count = 0; count <= 130; ++count) {
    const std::vector<float> a = random.Take(count);
    const std::vector<float> b = random.Take(count);
    GuardedBytes sum(a, 4 * (count % 16));
    GuardedBytes x(b, count % 4);

    GetParam()->add_scaled(sum.floats(), x.data(), 0.3f, count);

    const std::vector<uint32_t> words = sum.words();
    for (size_t i = 0; i < count; ++i) {
      EXPECT_EQ(words[i], StoredBits(std::fma(b[i], 0.3f, a[i])));
    }
    EXPECT_TRUE(sum.GuardsAreIntact());
  }
}

TEST_P(SumTest, DotRunsThroughTheSixteenLanes) {
  HardFloats random(testing::Seed(), 0);
  for (size_t count = 0; count <= 130; ++count) {
    const std::vector<float> a = random.Take(count);
    const std::vector<float> b = random.Take(count);

    const float dot = GetParam()->dot(a.data(), b.data(), count);

    EXPECT_EQ(BitsOf(dot), BitsOf(SumOfLanes(count, [&](size_t i, float sum) {
                return std::fma(a[i], b[i], sum);
              })));
    double exact = 0;
    double size = 0;
    for (size_t i = 0; i < count; ++i) {
      exact += double{a[i]} * b[i];
      size += std::abs(double{a[i]} * b[i]);
    }
    EXPECT_NEAR(dot, exact, 1e-6 * size);
  }
}

TEST_P(SumTest, SquaredDistanceRunsThroughTheSixteenLanes) {
  HardFloats random(testing::Seed(), 0);
  for (size_t count = 0; count <= 130; ++count) {
    const std::vector<float> a = random.Take(count);
    const std::vector<float> b = random.Take(count);

    const float distance =
        GetParam()->squared_distance(a.data(), b.data(), count);

    const float lanes = SumOfLanes(count, [&](size_t i, float sum) {
      return std::fma(a[i] - b[i], a[i] - b[i], sum);
    });
    EXPECT_EQ(BitsOf(distance), BitsOf(lanes));
    double exact = 0;
    for (size_t i = 0; i < count; ++i) {
      exact += (double{a[i]} - b[i]) * (double{a[i]} - b[i]);
    }
    EXPECT_NEAR(distance, exact, 1e-6 * exact);
  }
}

}  // namespace
}  // namespace quire::kernels
