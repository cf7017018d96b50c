#include "client/formats/safetensors_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "tests/formats/read_rows.h"
#include "tests/formats/sample_files.h"

namespace quire::formats {
namespace {

using testing::BytesOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::MakeSafetensors;
using ::testing::Pair;
using testing::ReadFile;
using testing::Refusal;

const std::string kData = BytesOf<float>({1, 2, 3, 4, 5, 6});

std::string Weight(std::string_view fields) {
  return "{\"weight\":{" + std::string(fields) + "}}";
}

constexpr std::string_view kGood =
    R"("dtype":"F32","shape":[3,2],"data_offsets":[0,24])";

TEST(SafetensorsTest, AMatrixIsRows) {
  const auto file = ReadFile(MakeSafetensors(Weight(kGood) + "   ", kData));

  ASSERT_EQ(file.status(), absl::OkStatus());
  EXPECT_EQ(file->info.format, RowFormat::kSafetensors);
  EXPECT_EQ(file->info.row_count, 3);
  EXPECT_EQ(file->info.dim, 2);
  EXPECT_FALSE(file->info.labelled);
  EXPECT_THAT(file->all.values, ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(SafetensorsTest, NarrowAndWideFloatsAreConverted) {
  const std::string halves = BytesOf<uint16_t>({0x3c00, 0xc100});
  const std::string brains = BytesOf<uint16_t>({0x3f80, 0xc020});
  const std::string doubles = BytesOf<double>({1, -2.5});
  const std::string header =
      R"({"d":{"dtype":"F64","shape":[1,2],"data_offsets":[8,24]},)"
      R"("h":{"dtype":"F16","shape":[1,2],"data_offsets":[0,4]},)"
      R"("b":{"dtype":"BF16","shape":[1,2],"data_offsets":[4,8]}})";

  for (const char* name : {"h", "b", "d"}) {
    const auto file = ReadFile(
        MakeSafetensors(header, halves + brains + doubles), {.tensor = name});

    ASSERT_EQ(file.status(), absl::OkStatus()) << name;
    EXPECT_THAT(file->all.values, ElementsAre(1, -2.5f)) << name;
  }
}

TEST(SafetensorsTest, OfItsMetadataOnlyOursIsKept) {
  const auto file = ReadFile(MakeSafetensors(
      R"({"__metadata__":{"format":"pt","quire.step":"7"},"weight":{)" +
          std::string(kGood) + "}}",
      kData));

  ASSERT_EQ(file.status(), absl::OkStatus());
  EXPECT_THAT(file->info.metadata, ElementsAre(Pair("quire.step", "7")));
}

TEST(SafetensorsTest, OneOfSeveralIsChosenByName) {
  const std::string bytes = MakeSafetensors(
      R"({"a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"F32","shape":[2,2],"data_offsets":[8,24]}})",
      kData);

  EXPECT_EQ(Refusal(bytes),
            "'file' holds 2 tensors: choose one with --tensor NAME; it has a "
            "[1, 2] float32, b [2, 2] float32");
  EXPECT_THAT(Refusal(bytes, {.tensor = "c"}),
              HasSubstr("'file' has no tensor 'c'; it has a [1, 2]"));
  EXPECT_THAT(ReadFile(bytes, {.tensor = "b"})->all.values,
              ElementsAre(3, 4, 5, 6));
}

TEST(SafetensorsTest, AHeaderThatLiesIsRefused) {
  const auto refusal = [](std::string_view fields) {
    return Refusal(MakeSafetensors(Weight(fields), kData));
  };

  EXPECT_THAT(refusal(R"("dtype":"F32","shape":[4,2],"data_offsets":[0,24])"),
              HasSubstr("'weight' has 24 bytes; its shape and dtype need 32"));
  EXPECT_THAT(refusal(R"("dtype":"F32","shape":[2,2],"data_offsets":[0,16])"),
              HasSubstr("the tensors are 16 bytes, the file holds 24"));
  EXPECT_THAT(refusal(R"("dtype":"F32","shape":[2,2],"data_offsets":[8,24])"),
              HasSubstr("begins at byte 8 of the data, where 0 was expected"));
  EXPECT_THAT(refusal(R"("dtype":"F32","shape":[3,2],"data_offsets":[24,0])"),
              HasSubstr("ends at 0, before it begins"));
  EXPECT_THAT(
      refusal(
          R"("dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,24])"),
      HasSubstr("impossible shape"));
  EXPECT_THAT(refusal(R"("dtype":"F32","shape":[3,-2],"data_offsets":[0,24])"),
              HasSubstr("a number below 0"));
  EXPECT_THAT(refusal(R"("dtype":"F32","shape":[3,2])"),
              HasSubstr("lacks its dtype, shape or data_offsets"));
  EXPECT_THAT(refusal(R"("dtype":"F32","shape":[3,2],"data_offsets":[0])"),
              HasSubstr("has 1 data_offsets of 2"));
  EXPECT_THAT(refusal(std::string(kGood) + R"(,"shape":[1,1])"),
              HasSubstr("a list where none belongs, after 'shape'"));
}

TEST(SafetensorsTest, OverlapsHolesAndDuplicatesAreRefused) {
  const auto two = [](std::string_view a, std::string_view b) {
    return Refusal(MakeSafetensors(
        R"({"a":{"dtype":"F32","shape":[1,3],"data_offsets":)" +
            std::string(a) +
            R"(},"b":{"dtype":"F32","shape":[1,3],"data_offsets":)" +
            std::string(b) + "}}",
        kData));
  };

  EXPECT_THAT(two("[0,12]", "[8,20]"), HasSubstr("'b' begins at byte 8"));
  EXPECT_THAT(two("[0,12]", "[0,12]"), HasSubstr("'b' begins at byte 0"));
  EXPECT_THAT(two("[0,12]", "[16,28]"), HasSubstr("'b' begins at byte 16"));
  EXPECT_THAT(
      Refusal(MakeSafetensors("{\"w\":{" + std::string(kGood) + "},\"w\":{" +
                                  std::string(kGood) + "}}",
                              kData)),
      HasSubstr("'w' comes twice"));
}

TEST(SafetensorsTest, AHeaderThatIsNoHeaderIsRefused) {
  const RowReaderOptions options = {.format = RowFormat::kSafetensors};
  const std::string good = MakeSafetensors(Weight(kGood), kData);

  EXPECT_THAT(Refusal("1234", options), HasSubstr("4 bytes, at least 8"));
  EXPECT_THAT(Refusal(std::string(8, '\xff'), options),
              HasSubstr("a header of 18446744073709551615 bytes in a file of"));
  EXPECT_THAT(Refusal(MakeSafetensors("[1]", ""), options),
              HasSubstr("does not begin with '{'"));
  EXPECT_THAT(Refusal(MakeSafetensors("{\"a\":", ""), options),
              HasSubstr("no JSON at byte"));
  EXPECT_THAT(Refusal(MakeSafetensors("{\"a\":\"b\"}", ""), options),
              HasSubstr("a string where none belongs, after 'a'"));
  EXPECT_THAT(Refusal(MakeSafetensors("{\"a\":{\"b\":{", ""), options),
              HasSubstr("an object where none belongs"));
  EXPECT_THAT(Refusal(MakeSafetensors(std::string(100'000, '['), ""), options),
              HasSubstr("does not begin with '{'"));
  EXPECT_THAT(
      Refusal(MakeSafetensors("{\"a\":" + std::string(100'000, '[') + "}", "")),
      HasSubstr("a list where none belongs"));
  for (size_t size = 0; size < good.size(); ++size) {
    EXPECT_NE(Refusal(good.substr(0, size), options), "") << size;
  }
}

TEST(SafetensorsTest, RowsOfOtherThingsAreRefused) {
  const auto refusal = [](std::string_view fields) {
    return Refusal(MakeSafetensors(Weight(fields), kData));
  };

  EXPECT_THAT(refusal(R"("dtype":"I32","shape":[3,2],"data_offsets":[0,24])"),
              HasSubstr("tensor 'weight' holds int32; floats are needed"));
  EXPECT_THAT(
      refusal(R"("dtype":"F8_E4M3","shape":[12,2],"data_offsets":[0,24])"),
      HasSubstr("holds F8_E4M3; floats are needed"));
  EXPECT_THAT(refusal(R"("dtype":"F32","shape":[6],"data_offsets":[0,24])"),
              HasSubstr("has the shape [6]; rows need a matrix"));
  EXPECT_THAT(
      Refusal(MakeSafetensors(
          R"({"w":{"dtype":"F32","shape":[0,0],"data_offsets":[0,0]}})", "")),
      HasSubstr("rows of 0 floats; 1 to 65536 are needed"));
  EXPECT_THAT(Refusal(MakeSafetensors(Weight(kGood),
                                      BytesOf<float>({1, 2, 3, NAN, 5, 6}))),
              HasSubstr("'weight' row 1, column 1 is nan"));
}

TEST(SafetensorsTest, LabelsThatGoBackAreRefused) {
  const auto labelled = [](const std::vector<int64_t>& ends) {
    return MakeSafetensors(
        R"({"labels.ends":{"dtype":"I64","shape":[3],"data_offsets":[0,24]},)"
        R"("weight":{"dtype":"F32","shape":[3,2],"data_offsets":[24,48]},)"
        R"("labels.bytes":{"dtype":"U8","shape":[5],"data_offsets":[48,53]}})",
        BytesOf(ends) + kData + "onetw");
  };

  const auto file = ReadFile(labelled({3, 3, 5}));

  ASSERT_EQ(file.status(), absl::OkStatus());
  EXPECT_THAT(file->all.labels, ElementsAre("one", "", "tw"));
  EXPECT_THAT(Refusal(labelled({3, 2, 5})),
              HasSubstr("the label of row 1 ends at 2, after 3, of 5 bytes"));
  EXPECT_THAT(Refusal(labelled({3, 4, 6})), HasSubstr("row 2 ends at 6"));
  EXPECT_THAT(Refusal(labelled({-1, 4, 5})), HasSubstr("row 0 ends at -1"));
}

}  // namespace
}  // namespace quire::formats
