// What is written is read: every format with room for state or labels, with
// and without them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstring>

#include "client/formats/row_writer.h"
#include "main/temp_dir.h"
#include "tests/formats/read_rows.h"

namespace quire::formats {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

constexpr float kValues[] = {1, 0.1f, -0.0f, 1e-45f, 3e38f, -2.5f};
// exp_avg [2] and exp_avg_sq [1] of each row.
constexpr float kState[] = {1, 2, 10, 3, 4, 20, 5, 6, 30};
constexpr std::string_view kLabels[] = {"new york", "", "\xff\n"};

RowFileInfo InfoOf(RowFormat format, bool has_state, bool has_labels) {
  RowFileInfo info = {.format = format,
                      .row_count = 3,
                      .dim = 2,
                      .labelled = has_labels,
                      .metadata = {{"quire.step", "7"}}};
  if (has_state) {
    info.step = (int64_t{1} << 53) + 1;
    info.state = {{.name = "exp_avg", .floats = 2},
                  {.name = "exp_avg_sq", .floats = 1}};
  }
  return info;
}

// In two calls, of two rows and one.
std::string Written(const RowFileInfo& info, std::string_view name = "file") {
  quire::testing::TempDir dir;
  auto file = OutputFile::Create(dir.Path(name), OrderOf(info));
  EXPECT_EQ(file.status(), absl::OkStatus());
  const auto writer = MakeRowWriter(info, *file);
  const bool has_state = !info.state.empty();
  const auto rows = [&](size_t first, size_t count) {
    return RowSpan{
        .first_id = static_cast<int64_t>(first),
        .values = std::span(kValues).subspan(first * 2, count * 2),
        .state = has_state ? std::span(kState).subspan(first * 3, count * 3)
                           : std::span<const float>(),
        .labels = info.labelled ? std::span(kLabels).subspan(first, count)
                                : std::span<const std::string_view>()};
  };
  EXPECT_EQ(writer->Begin(), absl::OkStatus());
  EXPECT_EQ(writer->Write(rows(0, 2)), absl::OkStatus());
  EXPECT_EQ(writer->Write(rows(2, 1)), absl::OkStatus());
  EXPECT_EQ(writer->Finish(), absl::OkStatus());
  EXPECT_EQ(file->Commit(), absl::OkStatus());
  return dir.Read(name);
}

constexpr auto kTensorFormats = std::to_array(
    {RowFormat::kSafetensors, RowFormat::kNpz, RowFormat::kTorch});

TEST(TensorWriterTest, RowsComeBackBitForBit) {
  for (const RowFormat format :
       {RowFormat::kSafetensors, RowFormat::kNpy, RowFormat::kNpz,
        RowFormat::kTorch, RowFormat::kWord2vecBinary, RowFormat::kFvecs}) {
    const auto file = testing::ReadFile(Written(InfoOf(format, false, false)));

    ASSERT_EQ(file.status(), absl::OkStatus()) << RowFormatName(format);
    EXPECT_EQ(file->info.format, format);
    ASSERT_EQ(file->all.values.size(), std::size(kValues));
    EXPECT_EQ(std::memcmp(file->all.values.data(), kValues, sizeof(kValues)),
              0);
  }
}

TEST(TensorWriterTest, StateComesBackBesideItsRows) {
  for (const RowFormat format : kTensorFormats) {
    const RowFileInfo info = InfoOf(format, true, false);
    const std::string bytes = Written(info);

    const auto file = testing::ReadFile(bytes, {.state = true});
    const auto without = testing::ReadFile(bytes);

    ASSERT_EQ(file.status(), absl::OkStatus()) << RowFormatName(format);
    EXPECT_EQ(file->info.state, info.state);
    EXPECT_THAT(file->all.state, ElementsAreArray(kState));
    // Metadata have it in safetensors.
    EXPECT_EQ(file->info.step,
              format == RowFormat::kSafetensors ? std::nullopt : info.step);
    EXPECT_THAT(file->all.values, ElementsAreArray(kValues));
    ASSERT_EQ(without.status(), absl::OkStatus());
    EXPECT_THAT(without->all.state, IsEmpty());
  }
}

TEST(TensorWriterTest, LabelsAndMetadataTravelInSafetensors) {
  for (const bool has_state : {false, true}) {
    const auto file = testing::ReadFile(
        Written(InfoOf(RowFormat::kSafetensors, has_state, true)),
        {.state = has_state});

    ASSERT_EQ(file.status(), absl::OkStatus());
    EXPECT_TRUE(file->info.labelled);
    EXPECT_THAT(file->all.labels, ElementsAreArray(kLabels));
    EXPECT_THAT(file->all.values, ElementsAreArray(kValues));
    EXPECT_THAT(file->info.metadata,
                UnorderedElementsAre(Pair("quire.step", "7")));
  }
}

TEST(TensorWriterTest, AnEmptyTableIsAFileToo) {
  for (const RowFormat format : kTensorFormats) {
    quire::testing::TempDir dir;
    RowFileInfo info = InfoOf(format, true, format == RowFormat::kSafetensors);
    info.row_count = 0;
    auto file = OutputFile::Create(dir.Path("f"), OrderOf(info));
    ASSERT_EQ(file.status(), absl::OkStatus());
    const auto writer = MakeRowWriter(info, *file);
    ASSERT_EQ(writer->Begin(), absl::OkStatus());
    ASSERT_EQ(writer->Finish(), absl::OkStatus());
    ASSERT_EQ(file->Commit(), absl::OkStatus());

    const auto read = testing::ReadFile(dir.Read("f"), {.state = true});

    ASSERT_EQ(read.status(), absl::OkStatus()) << RowFormatName(format);
    EXPECT_EQ(read->info.row_count, 0);
    EXPECT_EQ(read->info.dim, 2);
  }
}

TEST(TensorWriterTest, DataBeginsWhereItIsAligned) {
  const std::string zip = Written(InfoOf(RowFormat::kTorch, false, false));
  const std::string tensors =
      Written(InfoOf(RowFormat::kSafetensors, false, true));
  const std::string values(reinterpret_cast<const char*>(kValues),
                           sizeof(kValues));

  EXPECT_EQ(zip.find(values) % 64, 0u);
  EXPECT_EQ(tensors.find(values) % 8, 0u);
}

TEST(TensorWriterTest, WordsThatABinaryFileCannotHoldAreRefused) {
  quire::testing::TempDir dir;
  const RowFileInfo info = InfoOf(RowFormat::kWord2vecBinary, false, true);
  auto file = OutputFile::Create(dir.Path("f"), OrderOf(info));
  ASSERT_EQ(file.status(), absl::OkStatus());
  const auto writer = MakeRowWriter(info, *file);
  ASSERT_EQ(writer->Begin(), absl::OkStatus());

  const absl::Status status =
      writer->Write({.values = kValues, .labels = kLabels});

  EXPECT_THAT(std::string(status.message()),
              HasSubstr("the label of row 0 holds a space or a line end, which "
                        "word2vec-binary cannot"));
}

TEST(TensorWriterTest, FilesOfSeveralTensorsReachAPipeInTheEnd) {
  const RowFileInfo info = InfoOf(RowFormat::kSafetensors, true, true);
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);

  const std::string path = "/proc/self/fd/" + std::to_string(ends[1]);
  {
    auto file = OutputFile::Create(path, OrderOf(info));
    ASSERT_EQ(file.status(), absl::OkStatus());
    const auto writer = MakeRowWriter(info, *file);
    ASSERT_EQ(writer->Begin(), absl::OkStatus());
    ASSERT_EQ(
        writer->Write({.values = kValues, .state = kState, .labels = kLabels}),
        absl::OkStatus());
    ASSERT_EQ(writer->Finish(), absl::OkStatus());
    ASSERT_EQ(file->Commit(), absl::OkStatus());
  }
  close(ends[1]);
  std::string piped(1 << 16, '\0');
  piped.resize(static_cast<size_t>(read(ends[0], piped.data(), piped.size())));
  close(ends[0]);

  EXPECT_EQ(piped, Written(info));
}

}  // namespace
}  // namespace quire::formats
