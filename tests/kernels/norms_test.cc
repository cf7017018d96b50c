// Norms of rows, and what a lookup renormalises.

#include "kernels/norms.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "kernels/each_table.h"

namespace quire::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kDenormal = std::numeric_limits<float>::denorm_min();

class NormTest : public EachTable {
 protected:
  // What a lookup of one row gives; the row stays as it is.
  std::vector<float> Lookup(const std::vector<float>& row,
                            const Renorm& renorm) {
    GuardedBytes stored(row, 4 * (row.size() % 16));
    GuardedBytes out(row.size() * sizeof(float), row.size() % 5);
    const float* rows[] = {stored.floats()};
    const std::vector<uint32_t> before = stored.words();
    GetParam()->gather_renormed(rows, 1, 0, row.size(), &stripes_, renorm,
                                out.data());
    EXPECT_EQ(stored.words(), before);
    EXPECT_TRUE(out.GuardsAreIntact() && stored.GuardsAreIntact());
    std::vector<float> found(row.size());
    std::memcpy(found.data(), out.data(), out.size());
    return found;
  }

  Stripes stripes_;
};
QUIRE_RUN_ON_EACH_TABLE(NormTest);

std::vector<uint32_t> Words(std::span<const float> floats) {
  std::vector<uint32_t> words;
  for (float x : floats) {
    words.push_back(BitsOf(x));
  }
  return words;
}

TEST_P(NormTest, LookupsRenormaliseToTheBitByEveryNorm) {
  for (int special_one_in : {0, 8, 200}) {
    HardFloats random(testing::Seed(), special_one_in);
    for (const NormKind kind : kNormKinds) {
      for (size_t dim = 1; dim <= 130; ++dim) {
        const Renorm renorm = {
            .max_norm = kind == NormKind::kZero ? dim / 2.0 : 0.9,
            .kind = kind,
            .p = dim % 2 == 0 ? 3.0f : -1.5f};
        const std::vector<float> row = random.Take(dim);
        const std::vector<float> expected = Renormed(row, renorm);
        const bool is_scaled = double{NormOfRow(row, renorm)} > renorm.max_norm;

        const std::vector<float> found = Lookup(row, renorm);

        for (size_t d = 0; d < dim; ++d) {
          // What is not scaled keeps its bits, those of a NaN too.
          ASSERT_EQ(BitsOf(found[d]),
                    is_scaled ? StoredBits(expected[d]) : BitsOf(row[d]))
              << "kind " << static_cast<int>(kind) << ", dim " << dim;
        }
      }
    }
  }
}

TEST_P(NormTest, EveryNormIsItsDefinitionInDouble) {
  HardFloats random(testing::Seed(), 0);
  for (size_t dim = 1; dim <= 130; ++dim) {
    const std::vector<float> row = random.Take(dim);
    double squares = 0, sum = 0, cubes = 0, largest = 0, smallest = 1e30;
    for (const float element : row) {
      const double size = std::abs(double{element});
      squares += size * size;
      sum += size;
      cubes += size * size * size;
      largest = std::max(largest, size);
      smallest = std::min(smallest, size);
    }
    const std::pair<NormKind, double> norms[] = {
        {NormKind::kTwo, std::sqrt(squares)},
        {NormKind::kOne, sum},
        {NormKind::kZero, static_cast<double>(dim)},
        {NormKind::kLargest, largest},
        {NormKind::kSmallest, smallest},
        {NormKind::kOther, std::cbrt(cubes)}};
    for (const auto& [kind, norm] : norms) {
      const std::vector<float> found =
          Lookup(row, {.max_norm = norm / 2, .kind = kind, .p = 3.0f});

      for (size_t d = 0; d < dim; ++d) {
        const double expected = row[d] * (norm / 2) / (norm + 1e-7);
        EXPECT_NEAR(found[d], expected, 4e-6 * std::abs(expected))
            << "kind " << static_cast<int>(kind) << ", dim " << dim;
      }
    }
  }
}

TEST_P(NormTest, ARowAtMaxNormStaysAndOneAboveItIsScaled) {
  const std::vector<float> row = {3.0f, -4.0f};
  const Renorm at = {.max_norm = 5.0, .kind = NormKind::kTwo, .p = 2};
  const Renorm below = {
      .max_norm = std::nextafter(5.0, 0.0), .kind = NormKind::kTwo, .p = 2};

  EXPECT_EQ(Lookup(row, at), row);
  const std::vector<float> scaled = Lookup(row, below);

  // 1e-7 over the norm is enough to be seen: 1 - 2e-8 rounds to 1, so the row
  // is scaled by the nearest float to it.
  const auto scale = static_cast<float>(below.max_norm / (5.0 + 1e-7));
  EXPECT_EQ(scaled, (std::vector<float>{3.0f * scale, -4.0f * scale}));
  // A norm of 1, where 1e-7 is nearer to two last bits than to one.
  const std::vector<float> one = Lookup(
      {1.0f}, {.max_norm = 0x1.fffffffp-1, .kind = NormKind::kTwo, .p = 2});
  EXPECT_EQ(one[0], 1.0f - 0x1p-23f);
}

TEST_P(NormTest, MaxNormZeroGivesZerosWithTheirSigns) {
  const Renorm zero = {.max_norm = 0.0, .kind = NormKind::kTwo, .p = 2};

  EXPECT_EQ(Words(Lookup({3.0f, -4.0f, 0.0f, -0.0f}, zero)),
            Words(std::vector<float>{0.0f, -0.0f, 0.0f, -0.0f}));
  // Its norm is not above 0.
  EXPECT_EQ(Words(Lookup({-0.0f, 0.0f}, zero)),
            Words(std::vector<float>{-0.0f, 0.0f}));
}

TEST_P(NormTest, ANanNormLeavesTheRowAndAnInfiniteOneGivesNan) {
  for (const NormKind kind : kNormKinds) {
    // In the last element of each tail of the lanes, and in the first.
    for (size_t dim = 2; dim <= 40; ++dim) {
      for (size_t at : {size_t{0}, dim - 1}) {
        const Renorm renorm = {.max_norm = 0.5, .kind = kind, .p = 3.0f};
        std::vector<float> row(dim, 1.0f);
        row[at] = kNan;
        const std::vector<float> with_nan = Lookup(row, renorm);
        row[at] = kInfinity;
        const std::vector<float> with_infinity = Lookup(row, renorm);

        if (kind == NormKind::kZero) {
          // Each is one more element that is not 0.
          EXPECT_LT(with_nan[at == 0 ? 1 : 0], 1.0f);
          EXPECT_LT(with_infinity[at == 0 ? 1 : 0], 1.0f);
          continue;
        }
        EXPECT_EQ(with_nan[at == 0 ? 1 : 0], 1.0f);
        EXPECT_TRUE(std::isnan(with_nan[at]));
        const bool norm_is_infinite = kind != NormKind::kSmallest;
        EXPECT_NEAR(with_infinity[at == 0 ? 1 : 0],
                    norm_is_infinite ? 0.0f : 0.5f, 1e-7);
        EXPECT_EQ(std::isnan(with_infinity[at]), norm_is_infinite);
      }
    }
  }
}

// Squares of denormals are 0; their sum, their largest and their number are
// not.
TEST_P(NormTest, DenormalsCountWhereTheyAreNotSquared) {
  const std::vector<float> row(40, kDenormal);
  const auto is_scaled = [&](NormKind kind) {
    return Lookup(row, {.max_norm = 0.0, .kind = kind, .p = 3})[0] == 0.0f;
  };

  EXPECT_FALSE(is_scaled(NormKind::kTwo));
  EXPECT_TRUE(is_scaled(NormKind::kOne));
  EXPECT_TRUE(is_scaled(NormKind::kZero));
  EXPECT_TRUE(is_scaled(NormKind::kLargest));
  EXPECT_TRUE(is_scaled(NormKind::kSmallest));
}

TEST_P(NormTest, ManyRowsAreRenormalisedEachByItself) {
  HardFloats random(testing::Seed(), 0);
  constexpr size_t kDim = 19;
  constexpr size_t kCount = 90;
  const Renorm renorm = {.max_norm = 4.0, .kind = NormKind::kTwo, .p = 2};
  const std::vector<float> arena = random.Take(kCount * kDim);
  std::vector<const float*> rows;
  for (size_t i = 0; i < kCount; ++i) {
    rows.push_back(arena.data() + (i * 37 + 11) % kCount * kDim);
  }
  std::vector<float> out(50 * kDim + 1, 7.0f);

  GetParam()->gather_renormed(rows.data(), 50, 40, kDim, &stripes_, renorm,
                              reinterpret_cast<std::byte*>(out.data()));

  for (size_t i = 0; i < 50; ++i) {
    const std::vector<float> row(rows[i], rows[i] + kDim);
    EXPECT_EQ(Words(std::span(out).subspan(i * kDim, kDim)),
              Words(Renormed(row, renorm)));
  }
  EXPECT_EQ(out.back(), 7.0f);
}

}  // namespace
}  // namespace quire::kernels
