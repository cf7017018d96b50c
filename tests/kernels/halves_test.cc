// FLOAT16 and BFLOAT16: every number of theirs, and floats between any two.

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

// What a type is, in words of arithmetic.
struct Format {
  const char* name;
  HalfKernels Kernels::*kernels;
  int mantissa_bits;
  int exponent_bits;
  uint16_t quiet_nan;

  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  uint16_t infinity() const {
    return static_cast<uint16_t>(((1 << exponent_bits) - 1) << mantissa_bits);
  }
};

constexpr Format kFormats[] = {{"float16", &Kernels::float16, 10, 5, 0x7E00},
                               {"bfloat16", &Kernels::bfloat16, 7, 8, 0x7FC0}};

// The value of a half, as its format is defined.
double ValueOf(const Format& format, uint16_t half) {
  const double sign = (half & 0x8000) != 0 ? -1.0 : 1.0;
  const int exponent = (half & 0x7FFF) >> format.mantissa_bits;
  const int mantissa = half & ((1 << format.mantissa_bits) - 1);
  if (exponent == (1 << format.exponent_bits) - 1) {
    return mantissa == 0 ? sign * std::numeric_limits<double>::infinity()
                         : std::numeric_limits<double>::quiet_NaN();
  }
  const int unit = std::max(exponent, 1) - format.bias() - format.mantissa_bits;
  const int hidden = exponent == 0 ? 0 : 1 << format.mantissa_bits;
  return sign * std::ldexp(hidden + mantissa, unit);
}

// The half that is nearest to x, by search; of two, the even one. Beyond the
// largest, infinity stands where the next number would.
uint16_t NearestTo(const Format& format, float x) {
  if (std::isnan(x)) {
    return format.quiet_nan;
  }
  const double size = std::abs(double{x});
  const double beyond =
      2 * ValueOf(format, static_cast<uint16_t>(format.infinity() - 1)) -
      ValueOf(format, static_cast<uint16_t>(format.infinity() - 2));
  const auto value = [&](int half) {
    return half == format.infinity()
               ? beyond
               : ValueOf(format, static_cast<uint16_t>(half));
  };
  int low = 0;
  int high = format.infinity();
  while (low < high) {  // the last that is not above it
    const int middle = (low + high + 1) / 2;
    (value(middle) <= size ? low : high) =
        value(middle) <= size ? middle : middle - 1;
  }
  if (low < format.infinity()) {
    const double below = size - value(low);
    const double above = value(low + 1) - size;
    low += above < below || (above == below && low % 2 == 1) ? 1 : 0;
  }
  return static_cast<uint16_t>(low | (std::signbit(x) ? 0x8000 : 0));
}

std::vector<uint16_t> Rounded(const HalfKernels& half,
                              const std::vector<float>& floats,
                              size_t offset = 0) {
  GuardedBytes in(floats, offset);
  GuardedBytes out(floats.size() * sizeof(uint16_t), offset);
  half.round(in.data(), floats.size(), out.data());
  EXPECT_TRUE(out.GuardsAreIntact());
  std::vector<uint16_t> halves(floats.size());
  std::ranges::copy_n(out.data(), static_cast<ptrdiff_t>(out.size()),
                      reinterpret_cast<std::byte*>(halves.data()));
  return halves;
}

std::vector<float> Widened(const HalfKernels& half,
                           const std::vector<uint16_t>& halves,
                           size_t offset = 0) {
  GuardedBytes in(halves.size() * sizeof(uint16_t), offset);
  std::ranges::copy(std::as_bytes(std::span(halves)), in.data());
  GuardedBytes out(halves.size() * sizeof(float), offset);
  half.widen(in.data(), halves.size(), out.data());
  EXPECT_TRUE(out.GuardsAreIntact());
  std::vector<float> floats(halves.size());
  std::ranges::copy_n(out.data(), static_cast<ptrdiff_t>(out.size()),
                      reinterpret_cast<std::byte*>(floats.data()));
  return floats;
}

std::vector<uint16_t> AllHalves() {
  std::vector<uint16_t> halves(1 << 16);
  for (size_t i = 0; i < halves.size(); ++i) {
    halves[i] = static_cast<uint16_t>(i);
  }
  return halves;
}

class HalvesTest : public EachTable {};
QUIRE_RUN_ON_EACH_TABLE(HalvesTest);

TEST_P(HalvesTest, EveryHalfIsWidenedExactly) {
  for (const Format& format : kFormats) {
    const std::vector<uint16_t> halves = AllHalves();

    const std::vector<float> floats =
        Widened(GetParam()->*format.kernels, halves);

    for (size_t i = 0; i < halves.size(); ++i) {
      const double value = ValueOf(format, halves[i]);
      if (std::isnan(value)) {
        const uint32_t payload = (halves[i] & 0x7FFFu)
                                 << (23 - format.mantissa_bits);
        ASSERT_EQ(BitsOf(floats[i]), (halves[i] & 0x8000u) << 16 | 0x7FC00000u |
                                         (payload & 0x007FFFFFu));
      } else {
        ASSERT_EQ(double{floats[i]}, value) << format.name << " " << i;
        ASSERT_EQ(std::signbit(floats[i]), (halves[i] & 0x8000) != 0);
      }
    }
  }
}

TEST_P(HalvesTest, EveryHalfIsItselfAgain) {
  for (const Format& format : kFormats) {
    const HalfKernels& half = GetParam()->*format.kernels;
    const std::vector<uint16_t> halves = AllHalves();

    const std::vector<uint16_t> again = Rounded(half, Widened(half, halves));

    for (size_t i = 0; i < halves.size(); ++i) {
      const bool is_nan = (halves[i] & 0x7FFF) > format.infinity();
      ASSERT_EQ(again[i], is_nan ? format.quiet_nan : halves[i]) << format.name;
    }
  }
}

// Between every two neighbours: the middle, which goes to the even one, and
// the floats on both sides of it; the last of them is on the way to infinity.
TEST_P(HalvesTest, FloatsBetweenTwoHalvesGoToTheNearest) {
  for (const Format& format : kFormats) {
    std::vector<float> floats;
    for (uint16_t half = 0; half < format.infinity(); ++half) {
      const auto next = static_cast<uint16_t>(half + 1);
      const double end =
          next == format.infinity()
              ? 2 * ValueOf(format, half) -
                    ValueOf(format, static_cast<uint16_t>(half - 1))
              : ValueOf(format, next);
      const auto middle = static_cast<float>((ValueOf(format, half) + end) / 2);
      for (const float x :
           {std::nextafter(middle, 0.0f), middle,
            std::nextafter(middle, std::numeric_limits<float>::infinity())}) {
        floats.push_back(x);
        floats.push_back(-x);
      }
    }

    const std::vector<uint16_t> halves =
        Rounded(GetParam()->*format.kernels, floats);

    for (size_t i = 0; i < floats.size(); ++i) {
      ASSERT_EQ(halves[i], NearestTo(format, floats[i]))
          << format.name << " of " << floats[i];
    }
  }
}

TEST_P(HalvesTest, AnyFloatGoesToTheNearest) {
  std::mt19937_64 generator(testing::Seed());
  HardFloats hard(testing::Seed(), 2);
  std::vector<float> floats;
  for (int i = 0; i < 200'000; ++i) {
    floats.push_back(
        i % 2 == 0 ? hard.Next()
                   : std::bit_cast<float>(static_cast<uint32_t>(generator())));
  }
  for (const Format& format : kFormats) {
    const std::vector<uint16_t> halves =
        Rounded(GetParam()->*format.kernels, floats);

    for (size_t i = 0; i < floats.size(); ++i) {
      ASSERT_EQ(halves[i], NearestTo(format, floats[i]))
          << format.name << " of " << floats[i];
    }
  }
}

TEST_P(HalvesTest, RunsOfAnyLengthAndAlignmentAreTheSame) {
  HardFloats random(testing::Seed(), 3);
  for (const Format& format : kFormats) {
    const HalfKernels& half = GetParam()->*format.kernels;
    for (size_t count = 0; count <= 130; ++count) {
      const std::vector<float> floats = random.Take(count);
      for (const size_t offset : {0, 1, 2, 3}) {
        const std::vector<uint16_t> halves = Rounded(half, floats, offset);

        ASSERT_EQ(halves.size(), count);
        for (size_t i = 0; i < count; ++i) {
          ASSERT_EQ(halves[i], NearestTo(format, floats[i])) << format.name;
        }
        const std::vector<float> again = Widened(half, halves, offset);
        for (size_t i = 0; i < count; ++i) {
          ASSERT_EQ(BitsOf(again[i]), BitsOf(Widened(half, {halves[i]})[0]));
        }
      }
    }
  }
}

TEST_P(HalvesTest, GatherRoundsEachRow) {
  Stripes stripes;
  HardFloats random(testing::Seed(), 3);
  for (const Format& format : kFormats) {
    const HalfKernels& half = GetParam()->*format.kernels;
    for (size_t dim = 1; dim <= 130; ++dim) {
      for (const size_t count : {0, 1, 40}) {
        const std::vector<float> floats = random.Take(count * dim);
        GuardedBytes arena(floats, 4 * (dim % 16));
        GuardedBytes out(count * dim * sizeof(uint16_t), (dim + count) % 5);
        std::vector<const float*> rows;
        for (size_t i = 0; i < count; ++i) {
          rows.push_back(arena.floats() + (count - 1 - i) * dim);
        }

        half.gather(rows.data(), count, 0, dim, &stripes, out.data());

        const std::vector<uint16_t> rounded = Rounded(half, floats);
        for (size_t i = 0; i < count; ++i) {
          ASSERT_EQ(std::memcmp(out.data() + i * dim * sizeof(uint16_t),
                                rounded.data() + (count - 1 - i) * dim,
                                dim * sizeof(uint16_t)),
                    0)
              << format.name << " dim " << dim;
        }
        ASSERT_TRUE(out.GuardsAreIntact());
      }
    }
  }
  for (const uint8_t byte : stripes.bytes) {
    EXPECT_EQ(byte, 0);
  }
}

}  // namespace
}  // namespace quire::kernels
