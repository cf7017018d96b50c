#include "row/pooling.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <random>
#include <vector>

#include "main/seed.h"

namespace quire {
namespace {

constexpr Pooling kPoolings[] = {Pooling::kSum, Pooling::kMean, Pooling::kMax,
                                 Pooling::kSqrtn};

struct Pooled {
  std::vector<float> values;
  std::vector<int32_t> winners;

  bool operator==(const Pooled&) const = default;
};

Pooled Finish(BagPool& pool, size_t dim, bool wants_winners) {
  Pooled pooled = {std::vector<float>(dim, 9.0f), {}};
  pooled.winners.resize(wants_winners ? dim : 0, 9);
  pool.Finish(reinterpret_cast<std::byte*>(pooled.values.data()),
              wants_winners
                  ? reinterpret_cast<std::byte*>(pooled.winners.data())
                  : nullptr);
  return pooled;
}

class BagPoolTest : public ::testing::TestWithParam<Pooling> {};
INSTANTIATE_TEST_SUITE_P(All, BagPoolTest, ::testing::ValuesIn(kPoolings));

TEST_P(BagPoolTest, SplitRunsGiveWhatOneRunGives) {
  std::mt19937_64 random(testing::Seed());
  std::normal_distribution<float> normal;
  const bool is_max = GetParam() == Pooling::kMax;
  for (const bool has_padding : {false, true}) {
    for (const bool is_weighted : {false, true}) {
      if (is_weighted && GetParam() != Pooling::kSum) {
        continue;
      }
      for (const size_t dim : {1, 7, 64}) {
        // One after the other by the same two pools: nothing is left behind.
        BagPool whole(kernels::BestKernels(), GetParam(),
                      static_cast<int64_t>(dim), has_padding);
        BagPool split(kernels::BestKernels(), GetParam(),
                      static_cast<int64_t>(dim), has_padding);
        for (const size_t count : {0, 1, 2, 13, 40}) {
          std::vector<float> rows(count * dim);
          std::ranges::generate(rows, [&] { return normal(random); });
          std::vector<float> weights(is_weighted ? count : 0);
          std::ranges::generate(weights, [&] { return normal(random); });
          std::vector<int32_t> positions(count);
          std::iota(positions.begin(), positions.end(), 3);

          whole.Take(rows.data(), weights, positions);
          for (size_t begin = 0, run; begin < count; begin += run) {
            run = std::min<size_t>(1 + random() % 5, count - begin);
            split.Take(rows.data() + begin * dim,
                       is_weighted ? std::span(weights).subspan(begin, run)
                                   : std::span<const float>(),
                       std::span(positions).subspan(begin, run));
          }

          const Pooled expected = Finish(whole, dim, is_max);
          EXPECT_EQ(Finish(split, dim, is_max), expected);
          if (count == 0) {
            EXPECT_EQ(expected.values, std::vector<float>(dim));
            EXPECT_EQ(expected.winners,
                      std::vector<int32_t>(is_max ? dim : 0, kNoWinner));
          }
        }
      }
    }
  }
}

TEST_P(BagPoolTest, ItIsTorchsToTheBit) {
  std::mt19937_64 random(testing::Seed());
  std::normal_distribution<float> normal;
  constexpr size_t kCount = 7;
  std::vector<float> rows(kCount);
  std::ranges::generate(rows, [&] { return normal(random); });
  const std::vector<int32_t> positions = {0, 1, 3, 4, 5, 8, 9};
  BagPool pool(kernels::BestKernels(), GetParam(), 1, false);

  pool.Take(rows.data(), {}, positions);
  const Pooled found = Finish(pool, 1, GetParam() == Pooling::kMax);

  float sum = 0.0f;
  for (const float w : rows) {
    sum = sum + w;
  }
  const auto largest = std::ranges::max_element(rows);
  switch (GetParam()) {
    case Pooling::kSum:
      EXPECT_EQ(found.values[0], sum);
      break;
    case Pooling::kMean:
      EXPECT_EQ(found.values[0], sum / 7.0f);
      break;
    case Pooling::kSqrtn:
      EXPECT_EQ(found.values[0], sum / static_cast<float>(std::sqrt(7.0)));
      break;
    case Pooling::kMax:
      EXPECT_EQ(found.values[0], *largest);
      EXPECT_EQ(found.winners[0],
                positions[static_cast<size_t>(largest - rows.begin())]);
      break;
  }
}

// torch rounds a weighted row's product only where the table has a padding_idx.
TEST(PoolingTest, AWeightedRowIsRoundedTwiceBesidePadding) {
  const float w = 1.0f + 0x1p-12f;  // w * w needs 25 bits
  for (const bool has_padding : {false, true}) {
    BagPool pool(kernels::BestKernels(), Pooling::kSum, 1, has_padding);
    const float rows[] = {-1.0f, w};
    const std::vector<float> weights = {1.0f, w};

    pool.Take(rows, weights, std::vector<int32_t>{0, 1});

    const float product = w * w;
    EXPECT_EQ(Finish(pool, 1, false).values[0],
              has_padding ? product - 1.0f : std::fma(w, w, -1.0f));
    EXPECT_NE(product - 1.0f, std::fma(w, w, -1.0f));
  }
}

TEST(PoolingTest, TheScaleOfAnOccurrenceIsInDouble) {
  for (const int64_t rows : {1, 2, 3, 7, 1000}) {
    const auto count = static_cast<double>(rows);
    EXPECT_EQ(OccurrenceScale(Pooling::kSum, rows, 0.1f), double{0.1f});
    EXPECT_EQ(OccurrenceScale(Pooling::kMean, rows, 1.0f), 1.0 / count);
    EXPECT_EQ(OccurrenceScale(Pooling::kSqrtn, rows, 1.0f),
              1.0 / std::sqrt(count));
    EXPECT_EQ(OccurrenceScale(Pooling::kMax, rows, 1.0f), 1.0);
  }
  // A bag of padding alone.
  EXPECT_EQ(OccurrenceScale(Pooling::kMean, 0, 1.0f), 1.0);
  EXPECT_EQ(OccurrenceScale(Pooling::kSqrtn, 0, 1.0f), 1.0);
}

}  // namespace
}  // namespace quire
