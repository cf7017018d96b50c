#include "client/formats/numbers.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>

#include "main/seed.h"

namespace quire::formats {
namespace {

float Parsed(std::string_view text) {
  float value = -1;
  EXPECT_TRUE(ParseFloat(text, value)) << text;
  return value;
}

TEST(NumbersTest, DecimalNumbersBecomeTheNearestFloat) {
  EXPECT_EQ(Parsed("0.1"), 0.1f);
  EXPECT_EQ(Parsed("+2.5"), 2.5f);
  EXPECT_EQ(Parsed("-38"), -38.0f);
  EXPECT_EQ(Parsed("1e-3"), 1e-3f);
  EXPECT_EQ(Parsed("16777217"), 16777216.0f);  // half way: to even
}

TEST(NumbersTest, WhatIsOverTheRangeIsInfiniteAndWhatIsUnderItIsZero) {
  EXPECT_EQ(Parsed("1e39"), std::numeric_limits<float>::infinity());
  EXPECT_EQ(Parsed("-1e999"), -std::numeric_limits<float>::infinity());
  EXPECT_EQ(Parsed("1e-999"), 0.0f);
  EXPECT_TRUE(std::signbit(Parsed("-1e-60")));
  EXPECT_EQ(Parsed("1e-45"), 0x1p-149f);
  EXPECT_EQ(Parsed("0." + std::string(400, '0') + "1"), 0.0f);
}

TEST(NumbersTest, OtherTextIsNoNumber) {
  float ignored;
  for (std::string_view text : {"", "+", "-", "+-1", "the", "1x", "0x10", "1,5",
                                " 1", "1 ", "--1", "1e", "."}) {
    EXPECT_FALSE(ParseFloat(text, ignored)) << text;
  }
}

TEST(NumbersTest, EveryFloatSurvivesTheWayThroughText) {
  std::mt19937_64 random(testing::Seed());
  for (int round = 0; round < 100000; ++round) {
    const auto value = std::bit_cast<float>(static_cast<uint32_t>(random()));
    if (!std::isfinite(value)) continue;
    std::string text;

    AppendFloat(value, text);

    EXPECT_EQ(std::bit_cast<uint32_t>(Parsed(text)),
              std::bit_cast<uint32_t>(value))
        << text;
  }
}

TEST(NumbersTest, TextIsAsShortAsItCanBe) {
  std::string text;
  AppendFloat(0.1f, text);
  text += ' ';
  AppendFloat(-0.038194f, text);
  text += ' ';
  AppendFloat(3, text);
  EXPECT_EQ(text, "0.1 -0.038194 3");
}

}  // namespace
}  // namespace quire::formats
