// word2vec's binary form, and fvecs.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "client/formats/fvecs_rows.h"
#include "client/formats/word2vec_rows.h"
#include "tests/formats/read_rows.h"
#include "tests/formats/sample_files.h"

namespace quire::formats {
namespace {

using testing::BytesOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::MakeFvecs;
using testing::MakeWord2vecBinary;
using testing::ReadFile;
using testing::Refusal;

TEST(Word2vecBinaryTest, WordsAndFloatsAreRead) {
  const auto file = ReadFile(
      MakeWord2vecBinary({{"the", {1, -2.5f}}, {"S\xc3\xa3o", {0.1f, 1e30f}}}));

  ASSERT_EQ(file.status(), absl::OkStatus());
  EXPECT_EQ(file->info.format, RowFormat::kWord2vecBinary);
  EXPECT_THAT(file->all.labels, ElementsAre("the", "S\xc3\xa3o"));
  EXPECT_THAT(file->all.values, ElementsAre(1, -2.5f, 0.1f, 1e30f));
}

TEST(Word2vecBinaryTest, LineEndsBetweenRowsMayBeMissing) {
  const std::string rows =
      "2 1\nthe " + BytesOf<float>({1}) + "of " + BytesOf<float>({2});

  const auto file = ReadFile(rows);

  ASSERT_EQ(file.status(), absl::OkStatus());
  EXPECT_THAT(file->all.labels, ElementsAre("the", "of"));
}

TEST(Word2vecBinaryTest, FloatsThatLookLikeALineEndAreFloats) {
  // 0x0a0a0a0a is four line ends, 0x20202020 four spaces.
  const float line_ends = std::bit_cast<float>(0x0a0a0a0a);
  const float spaces = std::bit_cast<float>(0x20202020);

  const auto file =
      ReadFile(MakeWord2vecBinary({{"a", {line_ends, spaces, 1}}}));

  ASSERT_EQ(file.status(), absl::OkStatus());
  EXPECT_THAT(file->all.values, ElementsAre(line_ends, spaces, 1));
}

TEST(Word2vecBinaryTest, TextIsNotTakenForIt) {
  EXPECT_FALSE(LooksLikeWord2vecBinary("2 2\nthe 1 2\nof 3 4\n"));
  EXPECT_FALSE(LooksLikeWord2vecBinary("1 2\nS\xc3\xa3o Paulo 1 2\n"));
  EXPECT_FALSE(LooksLikeWord2vecBinary("the 1 2\nof 3 4\n"));
  EXPECT_FALSE(LooksLikeWord2vecBinary(""));
}

TEST(Word2vecBinaryTest, FilesThatLieAreRefused) {
  const RowReaderOptions options = {.format = RowFormat::kWord2vecBinary};
  const std::string good =
      MakeWord2vecBinary({{"the", {1, 2}}, {"of", {3, 4}}});
  const std::string row = "the " + BytesOf<float>({1, 2});

  EXPECT_EQ(Refusal(good, options), "");
  for (size_t size = 0; size + 1 < good.size(); ++size) {
    EXPECT_NE(Refusal(good.substr(0, size), options), "") << size;
  }
  EXPECT_THAT(Refusal("9999999999 2\n" + row, options),
              HasSubstr("promises 9999999999 rows of 2 floats, more than"));
  EXPECT_THAT(Refusal("1 999999\n" + row, options),
              HasSubstr("rows of 999999 floats; 1 to 65536"));
  EXPECT_THAT(Refusal("1 -1\n" + row, options), HasSubstr("header"));
  EXPECT_THAT(Refusal("1 2\n " + BytesOf<float>({1, 2}), options),
              HasSubstr("row 0: there is no word"));
  EXPECT_THAT(Refusal("1 2\n" + row + row, options),
              HasSubstr("goes on after the last of 1 rows"));
  EXPECT_THAT(Refusal("1 2\nthe " + BytesOf<float>({1, INFINITY}), options),
              HasSubstr("'file' row 0, column 1 is inf"));
  EXPECT_THAT(Refusal("1 2\n" + std::string(5000, 'x') + row, options),
              HasSubstr("row 0: a word of more than 4096 bytes"));
}

TEST(FvecsTest, RowsAreRead) {
  const auto file = ReadFile(MakeFvecs({{1, 2, 3}, {4, 5, 6}, {7, 8, -9}}));

  ASSERT_EQ(file.status(), absl::OkStatus());
  EXPECT_EQ(file->info.format, RowFormat::kFvecs);
  EXPECT_EQ(file->info.dim, 3);
  EXPECT_THAT(file->all.values, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, -9));
}

TEST(FvecsTest, RowsOfAnotherDimAreRefusedByTheirNumber) {
  std::string bytes = MakeFvecs({{1, 2}, {3, 4}, {5, 6}});
  bytes[12] = 3;

  EXPECT_EQ(Refusal(bytes), "'file' row 1 has 3 floats, the first has 2");
}

TEST(FvecsTest, TheEndingDecidesWhereTheBytesDoNot) {
  const std::string cut = MakeFvecs({{1, 2}, {3, 4}}).substr(0, 20);

  EXPECT_THAT(Refusal(cut, {}, "v.fvecs"),
              HasSubstr("'v.fvecs' has 20 bytes, which are no whole rows of 2 "
                        "floats (of 12 bytes each)"));
  EXPECT_THAT(Refusal("", {}, "v.fvecs"), HasSubstr("0 bytes"));
  EXPECT_THAT(Refusal(MakeFvecs({{NAN}}), {}, "v.fvecs"),
              HasSubstr("row 0, column 0 is nan"));
  EXPECT_THAT(Refusal(std::string(8, '\xff'), {.format = RowFormat::kFvecs}),
              HasSubstr("rows of -1 floats"));
}

TEST(FvecsTest, WhatHasOneTableHasNoTensorsAndNoState) {
  const std::string bytes = MakeFvecs({{1, 2}});

  EXPECT_THAT(Refusal(bytes, {.tensor = "w"}),
              HasSubstr("fvecs holds one table, and none named 'w'"));
  EXPECT_THAT(Refusal(bytes, {.state = true}),
              HasSubstr("fvecs has no room for optimizer state"));
  EXPECT_THAT(Refusal("the 1 2\n", {.state = true}),
              HasSubstr("glove has no room for optimizer state"));
}

}  // namespace
}  // namespace quire::formats
