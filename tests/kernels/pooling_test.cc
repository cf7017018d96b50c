// What bags are made of: sums and maxima of rows, and what their gradients add.

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "kernels/each_table.h"

namespace quire::kernels {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class PoolingTest : public EachTable {
 protected:
  // Rows of one float, one after the other from the position 10 on.
  float MaxOf(const std::vector<float>& rows, int32_t& winner,
              bool is_first = true, float held = 0.0f) {
    std::vector<int32_t> positions;
    for (size_t i = 0; i < rows.size(); ++i) {
      positions.push_back(static_cast<int32_t>(10 + i));
    }
    float largest = held;
    GetParam()->pool_max(&largest, &winner, rows.data(), positions.data(),
                         rows.size(), is_first, 1);
    return largest;
  }
};
QUIRE_RUN_ON_EACH_TABLE(PoolingTest);

TEST_P(PoolingTest, SumsAddRowAfterRowToTheBit) {
  for (int special_one_in : {0, 8}) {
    HardFloats random(testing::Seed(), special_one_in);
    for (size_t dim = 1; dim <= 130; ++dim) {
      for (size_t count : {0, 1, 7}) {
        const std::vector<float> rows = random.Take(count * dim);
        const std::vector<float> weights = random.Take(count);
        const std::vector<float> start = random.Take(dim);
        for (int way = 0; way < 3; ++way) {
          const bool is_weighted = way != 0;
          const bool fused = way == 1;
          GuardedBytes sum(start, 4 * (dim % 16));

          GetParam()->pool_sum(sum.floats(), rows.data(),
                               is_weighted ? weights.data() : nullptr, fused,
                               count, dim);

          const std::vector<uint32_t> words = sum.words();
          for (size_t d = 0; d < dim; ++d) {
            float expected = start[d];
            for (size_t i = 0; i < count; ++i) {
              const float w = rows[i * dim + d];
              expected = !is_weighted ? expected + w
                         : fused      ? std::fma(weights[i], w, expected)
                                      : expected + w * weights[i];
            }
            ASSERT_EQ(words[d],
                      count == 0 ? BitsOf(start[d]) : StoredBits(expected))
                << "way " << way << ", dim " << dim << ", count " << count;
          }
          ASSERT_TRUE(sum.GuardsAreIntact());
        }
      }
    }
  }
}

TEST_P(PoolingTest, MaximaAndTheirWinnersAreThoseOfAPlainLoop) {
  for (int special_one_in : {0, 3}) {
    HardFloats random(testing::Seed(), special_one_in);
    for (size_t dim = 1; dim <= 130; ++dim) {
      constexpr size_t kCount = 9;
      const std::vector<float> rows = random.Take(kCount * dim);
      std::vector<int32_t> positions;
      for (size_t i = 0; i < kCount; ++i) {
        positions.push_back(static_cast<int32_t>(3 * i + 2));
      }
      std::vector<float> largest(dim, 100.0f);
      std::vector<int32_t> winners(dim, -1);

      // In two runs.
      GetParam()->pool_max(largest.data(), winners.data(), rows.data(),
                           positions.data(), 4, true, dim);
      GetParam()->pool_max(largest.data(), winners.data(), &rows[4 * dim],
                           &positions[4], kCount - 4, false, dim);

      for (size_t d = 0; d < dim; ++d) {
        size_t best = 0;
        for (size_t i = 1; i < kCount; ++i) {
          best = rows[i * dim + d] > rows[best * dim + d] ? i : best;
        }
        ASSERT_EQ(BitsOf(largest[d]), BitsOf(rows[best * dim + d]));
        ASSERT_EQ(winners[d], positions[best]);
      }
    }
  }
}

TEST_P(PoolingTest, OfEqualElementsTheFirstWins) {
  int32_t winner = -1;

  EXPECT_EQ(MaxOf({1.0f, 2.0f, 2.0f, 1.0f}, winner), 2.0f);
  EXPECT_EQ(winner, 11);
  // Zeros are equal, whatever their signs.
  EXPECT_EQ(BitsOf(MaxOf({-0.0f, 0.0f}, winner)), BitsOf(-0.0f));
  EXPECT_EQ(winner, 10);
  // What a run before held is first.
  winner = 3;
  EXPECT_EQ(MaxOf({2.0f}, winner, /*is_first=*/false, 2.0f), 2.0f);
  EXPECT_EQ(winner, 3);
}

TEST_P(PoolingTest, ANanThatIsFirstStaysAndALaterOneNeverWins) {
  int32_t winner = -1;

  EXPECT_TRUE(std::isnan(MaxOf({kNan, 5.0f, kInfinity}, winner)));
  EXPECT_EQ(winner, 10);
  EXPECT_EQ(MaxOf({-kInfinity, kNan, -1.0f, kNan}, winner), -1.0f);
  EXPECT_EQ(winner, 12);
  winner = 3;
  EXPECT_EQ(MaxOf({kNan}, winner, /*is_first=*/false, -5.0f), -5.0f);
  EXPECT_EQ(winner, 3);
}

TEST_P(PoolingTest, DivideDividesEachElement) {
  HardFloats random(testing::Seed(), 5);
  for (size_t count = 0; count <= 130; ++count) {
    const std::vector<float> x = random.Take(count);
    const auto divisor = static_cast<float>(count) * 0.7f + 1.0f;
    GuardedBytes quotients(x, 4 * (count % 16));

    GetParam()->divide(quotients.floats(), divisor, count);

    const std::vector<uint32_t> words = quotients.words();
    for (size_t i = 0; i < count; ++i) {
      EXPECT_EQ(words[i], StoredBits(x[i] / divisor));
    }
    EXPECT_TRUE(quotients.GuardsAreIntact());
  }
}

TEST_P(PoolingTest, AddScaledRoundsOnce) {
  HardFloats random(testing::Seed(), 6);
  for (size_t count = 0; count <= 130; ++count) {
    for (const float scale : {1.0f, -0.3f, 0.0f, random.Next()}) {
      const std::vector<float> a = random.Take(count);
      const std::vector<float> b = random.Take(count);
      GuardedBytes sum(a, 4 * (count % 16));
      GuardedBytes x(b, count % 5);

      GetParam()->add_scaled(sum.floats(), x.data(), scale, count);

      const std::vector<uint32_t> words = sum.words();
      for (size_t i = 0; i < count; ++i) {
        EXPECT_EQ(words[i], StoredBits(std::fma(b[i], scale, a[i])));
      }
      EXPECT_TRUE(sum.GuardsAreIntact());
    }
  }
}

TEST_P(PoolingTest, AddWhereAddsWhatThePositionWonAndTouchesNoOther) {
  HardFloats random(testing::Seed(), 6);
  for (size_t count = 0; count <= 130; ++count) {
    const std::vector<float> a = random.Take(count);
    const std::vector<float> b = random.Take(count);
    std::vector<int32_t> winners(count);
    for (size_t i = 0; i < count; ++i) {
      winners[i] = static_cast<int32_t>((i * 7 + count) % 4) - 1;
    }
    GuardedBytes sum(a, 4 * (count % 16));
    GuardedBytes x(b, count % 5);

    GetParam()->add_where(sum.floats(), x.data(), winners.data(), 2, count);

    const std::vector<uint32_t> words = sum.words();
    for (size_t i = 0; i < count; ++i) {
      EXPECT_EQ(words[i],
                winners[i] == 2 ? StoredBits(a[i] + b[i]) : BitsOf(a[i]));
    }
    EXPECT_TRUE(sum.GuardsAreIntact());
  }
}

}  // namespace
}  // namespace quire::kernels
