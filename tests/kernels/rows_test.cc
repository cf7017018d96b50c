#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

#include "kernels/each_table.h"

namespace quire::kernels {
namespace {

class RowCopyTest : public EachTable {
 protected:
  Stripes stripes_;
};
QUIRE_RUN_ON_EACH_TABLE(RowCopyTest);

// Pointers to rows of an arena, in an order that is not theirs, with repeats.
template <typename Float>
std::vector<Float*> ShuffledRows(Float* arena, size_t count, size_t dim) {
  std::vector<Float*> rows(count);
  for (size_t i = 0; i < count; ++i) {
    rows[i] = arena + (i * 37 + 11) % count * dim;
  }
  return rows;
}

TEST_P(RowCopyTest, GatherCopiesRowsBitForBit) {
  HardFloats random(testing::Seed(), 2);
  for (size_t dim = 1; dim <= 130; ++dim) {
    for (size_t count : {0, 1, 5, 40, 90}) {
      GuardedBytes arena(random.Take(count * dim), 4 * (dim % 16));
      GuardedBytes out(count * dim * sizeof(float), (dim + count) % 5);
      const auto rows = ShuffledRows<const float>(arena.floats(), count, dim);

      GetParam()->gather(rows.data(), count, 0, dim, &stripes_, out.data());

      for (size_t i = 0; i < count; ++i) {
        ASSERT_EQ(std::memcmp(out.data() + i * dim * sizeof(float), rows[i],
                              dim * sizeof(float)),
                  0);
      }
      ASSERT_TRUE(out.GuardsAreIntact());
    }
  }
}

TEST_P(RowCopyTest, GatherOfRowsAheadWritesNothing) {
  constexpr size_t kDim = 64;
  const std::vector<float> arena(kDim * kPrefetchRows, 1.0f);
  const auto rows =
      ShuffledRows<const float>(arena.data(), kPrefetchRows, kDim);
  GuardedBytes out(kDim * sizeof(float), 0);

  GetParam()->gather(rows.data(), 0, kPrefetchRows, kDim, &stripes_,
                     out.data() + out.size());
  GetParam()->gather(rows.data(), 1, kPrefetchRows - 1, kDim, &stripes_,
                     out.data());

  EXPECT_TRUE(out.GuardsAreIntact());
}

TEST_P(RowCopyTest, ScatterCopiesRowsBitForBit) {
  HardFloats random(testing::Seed(), 2);
  for (size_t dim = 1; dim <= 130; ++dim) {
    for (size_t count : {0, 1, 5, 40, 90}) {
      GuardedBytes in(random.Take(count * dim), (dim + count) % 5);
      GuardedBytes arena(count * dim * sizeof(float), 4 * (dim % 16));
      // 37 and these counts have no common divisor: each row once.
      const auto rows = ShuffledRows<float>(arena.floats(), count, dim);

      GetParam()->scatter(rows.data(), count, dim, &stripes_, in.data());

      for (size_t i = 0; i < count; ++i) {
        ASSERT_EQ(std::memcmp(in.data() + i * dim * sizeof(float), rows[i],
                              dim * sizeof(float)),
                  0);
      }
      ASSERT_TRUE(arena.GuardsAreIntact());
    }
  }
}

TEST_P(RowCopyTest, EveryStripeIsFreeAgain) {
  constexpr size_t kDim = 3;
  constexpr size_t kCount = 1000;
  std::vector<float> arena(kDim * kCount, 1.0f);
  std::vector<std::byte> message(arena.size() * sizeof(float));
  const auto rows = ShuffledRows<float>(arena.data(), kCount, kDim);

  GetParam()->scatter(rows.data(), kCount, kDim, &stripes_, message.data());
  GetParam()->gather(rows.data(), kCount, 0, kDim, &stripes_, message.data());

  for (uint8_t byte : stripes_.bytes) {
    EXPECT_EQ(byte, 0);
  }
}

}  // namespace
}  // namespace quire::kernels
