// x^p without libm, beside libm in double.

#include "kernels/power.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "main/seed.h"

namespace quire::kernels {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

void ExpectPower(float x, double p) {
  const double exact = std::pow(double{x}, p);
  const double found = PowerOf(x, p);
  if (exact > double{std::numeric_limits<float>::max()}) {
    EXPECT_GE(found, std::numeric_limits<float>::max()) << x << "^" << p;
  } else if (exact < double{std::numeric_limits<float>::min()}) {
    EXPECT_NEAR(found, exact, 0x1p-149) << x << "^" << p;
  } else {
    EXPECT_NEAR(found, exact, 1e-7 * exact) << x << "^" << p;
  }
}

TEST(PowerTest, ItIsThatOfDoublesOnFloatsOfEverySize) {
  std::mt19937_64 random(testing::Seed());
  for (const double p : {0.5, -0.5, 1.0, 0.3, 0.1, 0.9, 2.0, -1.0, 1e-3, 7.5}) {
    for (int i = 0; i < 100'000; ++i) {
      // All bit patterns of what is finite and above 0.
      const auto bits = static_cast<uint32_t>(1 + random() % 0x7F7FFFFF);
      ExpectPower(std::bit_cast<float>(bits), p);
    }
  }
}

TEST(PowerTest, ItIsThatOfDoublesOnDenormalsAndAroundOne) {
  for (const double p : {0.5, 0.3, 0.9, -0.1}) {
    for (uint32_t bits = 1; bits < 0x00800000; bits += bits / 64 + 1) {
      ExpectPower(std::bit_cast<float>(bits), p);
    }
    for (int32_t step = -1000; step <= 1000; ++step) {
      ExpectPower(std::bit_cast<float>(0x3F800000 + step), p);
    }
  }
}

TEST(PowerTest, ItKnowsTheEdges) {
  EXPECT_EQ(PowerOf(0.0f, 0.0), 1.0f);
  EXPECT_EQ(PowerOf(-3.0f, 0.0), 1.0f);
  EXPECT_EQ(PowerOf(0.0f, 0.3), 0.0f);
  EXPECT_EQ(PowerOf(0.0f, -0.3), kInfinity);
  EXPECT_EQ(PowerOf(1.0f, 0.3), 1.0f);
  EXPECT_TRUE(std::isnan(PowerOf(-1.0f, 0.3)));
  EXPECT_TRUE(std::isnan(PowerOf(kInfinity, 0.3)));
  EXPECT_TRUE(std::isnan(PowerOf(std::nanf(""), 0.3)));
}

TEST(PowerTest, TheExponentialIsThatOfDoubles) {
  std::mt19937_64 random(testing::Seed());
  std::uniform_real_distribution<double> any(-700.0, 700.0);
  for (int i = 0; i < 100'000; ++i) {
    const double y = any(random);
    EXPECT_NEAR(Exponential(y) / std::exp(y), 1.0, 1e-13) << y;
  }
  EXPECT_EQ(Exponential(0.0), 1.0);
  EXPECT_EQ(Exponential(800.0), Exponential(700.0));
  EXPECT_EQ(Exponential(-800.0), Exponential(-700.0));
}

}  // namespace
}  // namespace quire::kernels
