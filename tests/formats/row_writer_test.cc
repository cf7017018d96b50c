#include "client/formats/row_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "client/formats/label_census.h"
#include "client/formats/npy_header.h"
#include "main/temp_dir.h"

namespace quire::formats {
namespace {

using ::testing::HasSubstr;

constexpr float kValues[] = {1, 0.1f, -2.5f, 1e-10f};

// Writes two rows of two in one call, or in one call each.
absl::Status WriteRows(const std::string& path, RowFormat format,
                       std::vector<std::string_view> labels,
                       bool one_by_one = false) {
  absl::StatusOr<OutputFile> file = OutputFile::Create(path);
  if (!file.ok()) {
    return file.status();
  }
  const RowFileInfo info = {
      .format = format, .row_count = 2, .dim = 2, .labelled = !labels.empty()};
  auto writer = MakeRowWriter(info, *file);
  absl::Status status = writer->Begin();
  const std::span<const std::string_view> names(labels);
  if (one_by_one) {
    status.Update(
        writer->Write({.first_id = 0,
                       .values = std::span(kValues).first(2),
                       .labels = labels.empty() ? names : names.first(1)}));
    status.Update(
        writer->Write({.first_id = 1,
                       .values = std::span(kValues).last(2),
                       .labels = labels.empty() ? names : names.last(1)}));
  } else {
    status.Update(writer->Write({.values = kValues, .labels = names}));
  }
  status.Update(writer->Finish());
  if (status.ok()) {
    status = file->Commit();
  }
  return status;
}

std::string Written(RowFormat format, std::vector<std::string_view> labels) {
  testing::TempDir dir;
  EXPECT_EQ(WriteRows(dir.Path("whole"), format, labels), absl::OkStatus());
  EXPECT_EQ(WriteRows(dir.Path("parts"), format, labels, true),
            absl::OkStatus());
  EXPECT_EQ(dir.Read("whole"), dir.Read("parts"));
  return dir.Read("whole");
}

TEST(RowWriterTest, GloveIsAWordAndItsVector) {
  EXPECT_EQ(Written(RowFormat::kGlove, {"the", "New York"}),
            "the 1 0.1\nNew York -2.5 1e-10\n");
  EXPECT_EQ(Written(RowFormat::kGlove, {"the", ""}),
            "the 1 0.1\n1 -2.5 1e-10\n");
  EXPECT_EQ(Written(RowFormat::kGlove, {}), "0 1 0.1\n1 -2.5 1e-10\n");
}

TEST(RowWriterTest, Word2vecHasAHeader) {
  EXPECT_EQ(Written(RowFormat::kWord2vec, {"the", "of"}),
            "2 2\nthe 1 0.1\nof -2.5 1e-10\n");
}

TEST(RowWriterTest, CsvQuotesWhatMustBeQuoted) {
  EXPECT_EQ(
      Written(RowFormat::kCsv, {"a,b", "say \"a\"\n"}),
      "id,label,0,1\n0,\"a,b\",1,0.1\n1,\"say \"\"a\"\"\n\",-2.5,1e-10\n");
  EXPECT_EQ(Written(RowFormat::kCsv, {}), "id,0,1\n0,1,0.1\n1,-2.5,1e-10\n");
}

TEST(RowWriterTest, NpyIsHeaderAndMemory) {
  const int64_t dims[] = {2, 2};
  EXPECT_EQ(Written(RowFormat::kNpy, {"the", "of"}),
            MakeNpyHeader(dims) +
                std::string(reinterpret_cast<const char*>(kValues), 16));
}

TEST(RowWriterTest, WhatIsWrittenIsReadBack) {
  testing::TempDir dir;
  for (RowFormat format :
       {RowFormat::kNpy, RowFormat::kGlove, RowFormat::kWord2vec}) {
    ASSERT_EQ(WriteRows(dir.Path("rows"), format, {"the", "of it"}),
              absl::OkStatus());

    auto reader = OpenRows(dir.Path("rows"), {});
    ASSERT_EQ(reader.status(), absl::OkStatus());
    RowBlock block;
    ASSERT_EQ((*reader)->Read(10, block), absl::OkStatus());

    EXPECT_EQ((*reader)->info().format, format);
    EXPECT_THAT(block.values, ::testing::ElementsAreArray(kValues));
    if (format != RowFormat::kNpy) {
      EXPECT_THAT(block.labels, ::testing::ElementsAre("the", "of it"));
    }
  }
}

TEST(RowWriterTest, ALabelWithALineEndIsRefusedAndNoFileIsLeft) {
  testing::TempDir dir;

  absl::Status status =
      WriteRows(dir.Path("rows"), RowFormat::kGlove, {"the", "a\nb"});

  EXPECT_THAT(std::string(status.message()),
              HasSubstr("the label of row 1 holds a line end"));
  EXPECT_TRUE(std::filesystem::is_empty(dir.Path("")));
}

TEST(OutputFileTest, WhatWasThereStaysUntilTheCommit) {
  testing::TempDir dir;
  const std::string path = dir.Write("out", "old");
  {
    absl::StatusOr<OutputFile> file = OutputFile::Create(path);
    ASSERT_EQ(file.status(), absl::OkStatus());
    ASSERT_EQ(file->Write("new"), absl::OkStatus());
    EXPECT_EQ(dir.Read("out"), "old");
  }
  EXPECT_EQ(dir.Read("out"), "old");

  absl::StatusOr<OutputFile> file = OutputFile::Create(path);
  ASSERT_EQ(file.status(), absl::OkStatus());
  ASSERT_EQ(file->Write("new"), absl::OkStatus());
  ASSERT_EQ(file->Commit(), absl::OkStatus());
  EXPECT_EQ(dir.Read("out"), "new");
}

TEST(OutputFileTest, AFullDiskIsAnError) {
  absl::StatusOr<OutputFile> file = OutputFile::Create("/dev/full");
  ASSERT_EQ(file.status(), absl::OkStatus());

  absl::Status status = file->Write(std::string(1 << 20, 'x'));
  status.Update(file->Commit());

  EXPECT_THAT(std::string(status.message()), HasSubstr("No space left"));
}

TEST(OutputFileTest, ADirectoryThatIsNotThereIsNamed) {
  EXPECT_THAT(
      std::string(OutputFile::Create("/nowhere/out").status().message()),
      HasSubstr("cannot write '/nowhere/out': No such file"));
}

TEST(LabelCensusTest, DuplicatesAndBadBytesAreCounted) {
  LabelCensus census;
  for (const char* label : {"the", "caf\xe9", "of", "the", "", "", "of", "é"}) {
    census.Add(label);
  }

  EXPECT_EQ(census.label_count(), 6);
  EXPECT_EQ(census.duplicate_count(), 2);
  EXPECT_EQ(census.first_duplicate(), "the");
  EXPECT_EQ(census.not_utf8_count(), 1);
}

}  // namespace
}  // namespace quire::formats
