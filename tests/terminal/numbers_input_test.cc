#include "client/terminal/numbers_input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "client/formats/input_error.h"
#include "client/formats/npy_header.h"
#include "main/temp_dir.h"

namespace quire::terminal {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::StatusOr<std::vector<IdBatch>> Read(std::vector<std::string> arguments) {
  return ReadIds(arguments);
}

std::string ReadError(std::vector<std::string> arguments) {
  const auto batches = ReadIds(arguments);
  EXPECT_TRUE(formats::IsInputError(batches.status()));
  return std::string(batches.status().message());
}

// An array of int64 or, with other `descr`, whatever.
std::string IdsNpy(std::string_view shape, std::vector<int64_t> ids) {
  std::string dict = "{'descr': '<i8', 'fortran_order': False, 'shape': " +
                     std::string(shape) + "}\n";
  std::string file(formats::kNpyMagic);
  file += {'\x01', '\0', static_cast<char>(dict.size()), '\0'};
  file += dict;
  file.append(reinterpret_cast<const char*>(ids.data()), 8 * ids.size());
  return file;
}

TEST(NumbersInputTest, ALiteralIsOneBatchOfItsShape) {
  const auto batches = Read({"[[2,3],[1,0],[8,6]]"});

  ASSERT_EQ(batches.status(), absl::OkStatus());
  ASSERT_EQ(batches->size(), 1u);
  EXPECT_EQ((*batches)[0].shape, Shape({3, 2}));
  EXPECT_THAT((*batches)[0].ids, ElementsAre(2, 3, 1, 0, 8, 6));
}

TEST(NumbersInputTest, PlainIdsAreOneFlatBatch) {
  const auto batches = Read({"2", "0..2", "9"});

  ASSERT_EQ(batches.status(), absl::OkStatus());
  EXPECT_EQ((*batches)[0].shape, Shape({5}));
  EXPECT_THAT((*batches)[0].ids, ElementsAre(2, 0, 1, 2, 9));
}

TEST(NumbersInputTest, ABatchIsGivenAlone) {
  EXPECT_THAT(ReadError({"[1]", "2"}), HasSubstr("'[1]' is a whole batch"));
  EXPECT_THAT(ReadError({"2", "a.npy"}), HasSubstr("'a.npy' is a whole batch"));
}

TEST(NumbersInputTest, ATextFileHoldsABatchOnEachLine) {
  testing::TempDir dir;

  const auto batches =
      Read({"@" + dir.Write("ids", "[[1,2]]\n[3]\n\n[[4],\n[5]]\n")});

  ASSERT_EQ(batches.status(), absl::OkStatus());
  ASSERT_EQ(batches->size(), 3u);
  EXPECT_EQ((*batches)[0].shape, Shape({1, 2}));
  EXPECT_EQ((*batches)[1].shape, Shape({1}));
  EXPECT_EQ((*batches)[2].shape, Shape({2, 1}));
}

TEST(NumbersInputTest, ATextFileOfPlainIdsIsOneBatch) {
  testing::TempDir dir;

  const auto batches = Read({"@" + dir.Write("ids", "1, 2\n3 4..6\n")});

  ASSERT_EQ(batches.status(), absl::OkStatus());
  ASSERT_EQ(batches->size(), 1u);
  EXPECT_THAT((*batches)[0].ids, ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(NumbersInputTest, AnArrayOfNumpysKeepsItsShape) {
  testing::TempDir dir;

  const auto batches =
      Read({dir.Write("ids.npy", IdsNpy("(2, 2)", {1, 2, 3, 4}))});

  ASSERT_EQ(batches.status(), absl::OkStatus());
  EXPECT_EQ((*batches)[0].shape, Shape({2, 2}));
  EXPECT_THAT((*batches)[0].ids, ElementsAre(1, 2, 3, 4));
}

TEST(NumbersInputTest, BadFilesAreNamedWithThePlace) {
  testing::TempDir dir;
  const std::string nested = dir.Write("nested", "[1]\n[[1],[2,3]]\n");
  const std::string plain = dir.Write("plain", "1 2\n3 x\n");
  const std::string floats = dir.Write(
      "f.npy", formats::MakeNpyHeader(std::vector<int64_t>{1}) + "1234");

  EXPECT_EQ(ReadError({"@" + nested}),
            nested +
                " line 2, character 6: ragged nesting: [1] has length 2, "
                "others 1");
  EXPECT_EQ(ReadError({"@" + plain}),
            plain + " line 2: 'x' is no id: ids are whole numbers");
  EXPECT_THAT(ReadError({floats}), HasSubstr("ids are int64 or int32"));
  EXPECT_THAT(ReadError({dir.Write("neg.npy", IdsNpy("(1,)", {-1}))}),
              HasSubstr("-1 is no id"));
  EXPECT_THAT(
      ReadError({dir.Write("deep.npy", IdsNpy("(1,1,1,1,1,1,1,1,1)", {1}))}),
      HasSubstr("a shape of rank 9; at most 8"));
  EXPECT_THAT(ReadError({"@" + dir.Path("gone")}), HasSubstr("No such file"));
}

TEST(NumbersInputTest, FloatsComeFromLiteralsAndFiles) {
  testing::TempDir dir;
  const std::string text = dir.Write("g.json", "[[0.5,\n-1]]");
  const float values[] = {1, 2};
  const std::string array = dir.Write(
      "g.npy", formats::MakeNpyHeader(std::vector<int64_t>{2, 1}) +
                   std::string(reinterpret_cast<const char*>(values), 8));

  EXPECT_THAT(ReadFloats("[0.5]")->values, ElementsAre(0.5f));
  EXPECT_THAT(ReadFloats("@" + text)->dims, ElementsAre(1, 2));
  EXPECT_THAT(ReadFloats(array)->dims, ElementsAre(2, 1));
  EXPECT_THAT(ReadFloats(array)->values, ElementsAre(1, 2));
  EXPECT_THAT(
      std::string(
          ReadFloats("@" + dir.Write("bad", "[1,\ny]")).status().message()),
      HasSubstr("bad line 2, character 1: 'y' is no number"));
}

TEST(NumbersInputTest, ShapesAreReadAndApplied) {
  EXPECT_EQ(*ParseShape("2,3"), Shape({2, 3}));
  EXPECT_EQ(*ParseShape("(2, 3)"), Shape({2, 3}));
  EXPECT_EQ(*ParseShape("2x3"), Shape({2, 3}));
  EXPECT_EQ(*ParseShape("()"), Shape());
  EXPECT_TRUE(formats::IsInputError(ParseShape("2,b").status()));
  EXPECT_TRUE(formats::IsInputError(ParseShape("-1").status()));
  EXPECT_TRUE(formats::IsInputError(ParseShape("2,,3").status()));

  const auto batch = Reshape((*Read({"1..6"}))[0], {2, 3});
  const auto wrong = Reshape((*Read({"1..6"}))[0], {4});

  ASSERT_EQ(batch.status(), absl::OkStatus());
  EXPECT_EQ(batch->shape, Shape({2, 3}));
  EXPECT_EQ(wrong.status().message(),
            "6 ids do not have the shape (4,), which has 4 elements");
}

}  // namespace
}  // namespace quire::terminal
