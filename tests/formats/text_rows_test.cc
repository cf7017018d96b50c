#include "client/formats/text_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <limits>

#include "client/formats/line_reader.h"
#include "client/formats/npy_header.h"
#include "main/temp_dir.h"

namespace quire::formats {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct Rows {
  RowFileInfo info;
  RowBlock all;
};

absl::StatusOr<Rows> ReadAllRows(RowReader& reader) {
  Rows rows = {.info = reader.info(), .all = {}};
  for (;;) {
    RowBlock block;
    if (absl::Status status = reader.Read(2, block); !status.ok()) {
      return status;
    }
    if (block.row_count == 0) {
      return rows;
    }
    EXPECT_LE(block.row_count, 2);
    rows.all.row_count += block.row_count;
    rows.all.values.insert(rows.all.values.end(), block.values.begin(),
                           block.values.end());
    rows.all.labels.insert(rows.all.labels.end(), block.labels.begin(),
                           block.labels.end());
  }
}

absl::StatusOr<Rows> Read(std::string text, RowReaderOptions options = {}) {
  auto reader = OpenTextRows(SourceOf(std::move(text), "v.txt"), options);
  if (!reader.ok()) {
    return reader.status();
  }
  return ReadAllRows(**reader);
}

std::string ReadError(std::string text, RowReaderOptions options = {}) {
  absl::StatusOr<Rows> rows = Read(std::move(text), options);
  EXPECT_EQ(rows.status().code(), absl::StatusCode::kInvalidArgument);
  return std::string(rows.status().message());
}

TEST(TextRowsTest, GloveRowsAreAWordAndItsVector) {
  absl::StatusOr<Rows> rows = Read("the 0.1 -0.2\nof 3 4e-1\nto 5 6\n");

  ASSERT_EQ(rows.status(), absl::OkStatus());
  EXPECT_EQ(rows->info.format, RowFormat::kGlove);
  EXPECT_EQ(rows->info.row_count, 3);
  EXPECT_EQ(rows->info.dim, 2);
  EXPECT_THAT(rows->all.labels, ElementsAre("the", "of", "to"));
  EXPECT_THAT(rows->all.values, ElementsAre(0.1f, -0.2f, 3, 0.4f, 5, 6));
}

TEST(TextRowsTest, Word2vecTellsItsSizeInTheFirstLine) {
  // The original word2vec.c leaves a space at the end of each line.
  absl::StatusOr<Rows> rows = Read("2 3\n</s> 1 2 3 \nin 4 5 6 \n");

  ASSERT_EQ(rows.status(), absl::OkStatus());
  EXPECT_EQ(rows->info.format, RowFormat::kWord2vec);
  EXPECT_THAT(rows->all.labels, ElementsAre("</s>", "in"));
  EXPECT_THAT(rows->all.values, ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(TextRowsTest, AWordMayHoldSpacesAndLookLikeANumber) {
  absl::StatusOr<Rows> rows =
      Read(". . . 1 2\n2003 3 4\nat name@domain.com 5 6\n1 3/4 7 8\nx 9 10\n");

  ASSERT_EQ(rows.status(), absl::OkStatus());
  EXPECT_EQ(rows->info.dim, 2);
  EXPECT_THAT(rows->all.labels,
              ElementsAre(". . .", "2003", "at name@domain.com", "1 3/4", "x"));
}

TEST(TextRowsTest, TheDimIsWhatMostOfTheFirstLinesHave) {
  const int64_t counts[] = {NumbersAtEnd("in 1979 1 2 3"),
                            NumbersAtEnd("of 1 2 3"), NumbersAtEnd("to 1 2"),
                            NumbersAtEnd("a 1 2 3")};

  EXPECT_EQ(InferDim(counts), 3);
  EXPECT_EQ(InferDim(std::span(counts, 2)), 4);  // both once: the earlier
  EXPECT_EQ(InferDim(std::span(counts, 0)), 0);
}

TEST(TextRowsTest, AGivenDimWinsOverTheRule) {
  absl::StatusOr<Rows> rows = Read("in 1979 1 2 3\n", {.dim = 3});

  ASSERT_EQ(rows.status(), absl::OkStatus());
  EXPECT_THAT(rows->all.labels, ElementsAre("in 1979"));
}

TEST(TextRowsTest, WindowsLineEndsTabsAndBlankLinesAtTheEndAreTolerated) {
  absl::StatusOr<Rows> rows = Read("the\t1  2\r\nof 3 4\r\n\r\n \n");

  ASSERT_EQ(rows.status(), absl::OkStatus());
  EXPECT_THAT(rows->all.labels, ElementsAre("the", "of"));
  EXPECT_THAT(rows->all.values, ElementsAre(1, 2, 3, 4));
}

TEST(TextRowsTest, TheLastLineNeedsNoEnd) {
  absl::StatusOr<Rows> rows = Read("the 1 2\nof 3 4");

  ASSERT_EQ(rows.status(), absl::OkStatus());
  EXPECT_EQ(rows->all.row_count, 2);
}

TEST(TextRowsTest, WordsAreBytes) {
  absl::StatusOr<Rows> rows = Read("caf\xe9 1\ncafé 2\ncafé 3\n");

  ASSERT_EQ(rows.status(), absl::OkStatus());
  EXPECT_THAT(rows->all.labels, ElementsAre("caf\xe9", "café", "café"));
}

TEST(TextRowsTest, AWrongDimensionNamesItsLine) {
  EXPECT_EQ(ReadError("the 1 2 3\nof 4 5 6\nto 7 8\nin 9 10 11\n"),
            "v.txt line 3: 2 numbers after the word, 3 are needed");
  EXPECT_EQ(ReadError("the 1 2 3\nof 4 5 6\nto go 7 8\n"),
            "v.txt line 3: 2 numbers at its end, 3 are needed: 'go' is no "
            "number");
  EXPECT_EQ(ReadError("2 3\nthe 1 2 3\nof 4 5\n"),
            "v.txt line 3: 2 numbers after the word, 3 are needed");
}

TEST(TextRowsTest, FieldsThatAreNoNumbersNameTheirLine) {
  EXPECT_EQ(ReadError("the 1 2\nof 3 4\nto 5x 6\n"),
            "v.txt line 3: 1 numbers at its end, 2 are needed: '5x' is no "
            "number");
  EXPECT_EQ(ReadError("the 1 2\nof nan 4\n"),
            "v.txt line 2: 'nan' is not a finite float32");
  EXPECT_EQ(ReadError("the 1 2\nof 3 -inf\n"),
            "v.txt line 2: '-inf' is not a finite float32");
  EXPECT_EQ(ReadError("the 1 2\nof 3 1e39\n"),
            "v.txt line 2: '1e39' is not a finite float32");
  EXPECT_EQ(ReadError("the 1 2\n 3 4\n"),
            "v.txt line 2: 2 numbers and no word");
  EXPECT_EQ(ReadError("the 1 2\n\nof 3 4\n"),
            "v.txt line 2: 0 numbers after the word, 2 are needed");
}

TEST(TextRowsTest, AWordLongerThanALabelMayBeNamesItsLine) {
  EXPECT_EQ(ReadError("the 1 2\n" + std::string(5000, 'a') + " 1 2\n"),
            "v.txt line 2: a word of 5000 bytes; at most 4096 are allowed");
}

TEST(TextRowsTest, AHeaderThatPromisesOtherRowsIsFound) {
  EXPECT_EQ(ReadError("3 2\nthe 1 2\nof 3 4\n"),
            "'v.txt' ends after 2 rows of 3");
  EXPECT_EQ(ReadError("1 2\nthe 1 2\nof 3 4\n"),
            "v.txt line 3: a row after the last of 1");
  EXPECT_EQ(ReadError("1 2\nthe 1 2\n", {.dim = 3}),
            "v.txt line 1: rows of 2 floats, not of 3");
  EXPECT_THAT(ReadError("the 1 2\n", {.format = RowFormat::kWord2vec}),
              HasSubstr("v.txt line 1: word2vec's header was expected"));
}

TEST(TextRowsTest, FilesThatAreNoEmbeddingsAreRefused) {
  EXPECT_EQ(ReadError(""), "'v.txt' is empty");
  EXPECT_EQ(ReadError("\n\n"), "'v.txt' is empty");
  EXPECT_THAT(ReadError("Call me Ishmael.\nSome years ago\n"),
              HasSubstr("does not look like embeddings"));
  EXPECT_THAT(ReadError("5 99999999\nthe 1\n"), HasSubstr("1 to 65536"));
  EXPECT_THAT(ReadError(std::string(kLineBytesMax + 1, 'x')),
              HasSubstr("line 1"));
}

TEST(TextRowsTest, TheFormatCanBeForced) {
  // One dim, and a number for a word: a row, and not a header.
  absl::StatusOr<Rows> rows =
      Read("2003 1\n2004 2\n", {.format = RowFormat::kGlove});

  ASSERT_EQ(rows.status(), absl::OkStatus());
  EXPECT_THAT(rows->all.labels, ElementsAre("2003", "2004"));
}

std::string Gzip(const testing::TempDir& dir, std::string_view text) {
  gzFile file = gzopen(dir.Path("v.txt.gz").c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  return dir.Path("v.txt.gz");
}

TEST(OpenRowsTest, PackedTextIsUnpackedOnTheWay) {
  testing::TempDir dir;
  std::string text;
  for (int i = 0; i < 100000; ++i) {
    text += "w" + std::to_string(i) + " " + std::to_string(i) + " 0.5\n";
  }

  auto reader = OpenRows(Gzip(dir, text), {});
  ASSERT_EQ(reader.status(), absl::OkStatus());
  absl::StatusOr<Rows> rows = ReadAllRows(**reader);

  ASSERT_EQ(rows.status(), absl::OkStatus());
  EXPECT_EQ(rows->all.row_count, 100000);
  EXPECT_EQ(rows->all.labels[99999], "w99999");
  EXPECT_EQ(rows->all.values[2 * 99999], 99999.0f);
}

TEST(OpenRowsTest, ACutOrDamagedPackedFileIsNeverAShorterOne) {
  testing::TempDir dir;
  Gzip(dir, "the 1 2\nof 3 4\nto 5 6\n");
  const std::string packed = dir.Read("v.txt.gz");
  // Without its magic it is no gzip file.
  for (size_t size = 2; size < packed.size(); ++size) {
    auto reader = OpenRows(dir.Write("cut.gz", packed.substr(0, size)), {});
    EXPECT_FALSE(reader.ok() && ReadAllRows(**reader).ok()) << size;
  }
  std::string damaged = packed;
  damaged[packed.size() - 6] ^= 1;  // of the checksum
  auto reader = OpenRows(dir.Write("bad.gz", damaged), {});
  EXPECT_FALSE(reader.ok() && ReadAllRows(**reader).ok());
}

TEST(OpenRowsTest, AMatrixOfNumpysIsRows) {
  testing::TempDir dir;
  const int64_t dims[] = {3, 2};
  const float values[] = {1, 2, 3, 4, 5, 6};
  const std::string data(reinterpret_cast<const char*>(values), 24);

  auto reader = OpenRows(dir.Write("m.npy", MakeNpyHeader(dims) + data), {});
  ASSERT_EQ(reader.status(), absl::OkStatus());
  absl::StatusOr<Rows> rows = ReadAllRows(**reader);

  ASSERT_EQ(rows.status(), absl::OkStatus());
  EXPECT_FALSE(rows->info.labelled);
  EXPECT_EQ(rows->info.row_count, 3);
  EXPECT_THAT(rows->all.values, ElementsAre(1, 2, 3, 4, 5, 6));
}

TEST(OpenRowsTest, ArraysThatAreNoFiniteMatrixAreRefused) {
  testing::TempDir dir;
  const int64_t vector[] = {2};
  const int64_t matrix[] = {1, 2};
  const float bad[] = {0, std::numeric_limits<float>::quiet_NaN()};
  const std::string data(reinterpret_cast<const char*>(bad), 8);
  const std::string path = dir.Write("m.npy", MakeNpyHeader(matrix) + data);

  auto flat = OpenRows(dir.Write("v.npy", MakeNpyHeader(vector) + data), {});
  auto wrong_dim = OpenRows(path, {.dim = 3});
  auto not_finite = OpenRows(path, {});

  EXPECT_THAT(std::string(flat.status().message()),
              HasSubstr("has the shape (2,); rows need a matrix"));
  EXPECT_THAT(std::string(wrong_dim.status().message()),
              HasSubstr("has rows of 2 floats, not of 3"));
  ASSERT_EQ(not_finite.status(), absl::OkStatus());
  EXPECT_THAT(std::string(ReadAllRows(**not_finite).status().message()),
              HasSubstr("row 0, column 1 is nan"));
}

TEST(OpenRowsTest, FilesThatCannotBeOpenedAreNamed) {
  testing::TempDir dir;

  EXPECT_THAT(std::string(OpenRows(dir.Path("gone"), {}).status().message()),
              HasSubstr("gone': No such file or directory"));
  EXPECT_THAT(std::string(OpenRows(dir.Path(""), {}).status().message()),
              HasSubstr("Is a directory"));
}

TEST(OpenRowsTest, ATableIsNamedAfterItsFile) {
  EXPECT_EQ(TableNameFromPath("data/glove.5k.100d.txt"), "glove.5k.100d");
  EXPECT_EQ(TableNameFromPath("glove.5k.100d.txt.gz"), "glove.5k.100d");
  EXPECT_EQ(TableNameFromPath("/x/y.z/users.npy"), "users");
  EXPECT_EQ(TableNameFromPath("words.vec"), "words");
  EXPECT_EQ(TableNameFromPath("plain"), "plain");
  EXPECT_EQ(TableNameFromPath(".txt"), ".txt");
}

}  // namespace
}  // namespace quire::formats
