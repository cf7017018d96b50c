// What people read: tables, tensors, numbers, progress, suggestions.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>

#include "client/terminal/nested_json.h"
#include "client/terminal/printable.h"
#include "client/terminal/progress.h"
#include "client/terminal/suggestion.h"
#include "client/terminal/tensor_text.h"
#include "client/terminal/text_table.h"
#include "client/terminal/units.h"

namespace quire::terminal {
namespace {

using namespace std::chrono_literals;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

TEST(PrintableTest, NothingOfALabelReachesTheTerminalsControls) {
  EXPECT_EQ(Printable("naïve 漢字"), "naïve 漢字");
  EXPECT_EQ(Printable("\x1b[2Jx\n"), "\\x1b[2Jx\\x0a");
  EXPECT_EQ(Printable("caf\xe9"), "caf\\xe9");
  EXPECT_EQ(Printable("\u202e"), "\\xe2\\x80\\xae");  // turns text around
}

TEST(PrintableTest, WidthIsInColumns) {
  EXPECT_EQ(DisplayWidth("king"), 4u);
  EXPECT_EQ(DisplayWidth("naïve"), 5u);
  EXPECT_EQ(DisplayWidth("e\u0301"), 1u);
  EXPECT_EQ(DisplayWidth("漢字"), 4u);
}

TEST(TextTableTest, CellsStandUnderTheirTitles) {
  TextTable table({{"name"}, {"rows", Align::kRight}, {"state"}});
  table.AddRow({"glove", "5,000", "ready"});
  table.AddRow({"漢字", "1", "\x1b"});

  EXPECT_EQ(table.Text(),
            "name    rows  state\n"
            "glove  5,000  ready\n"
            "漢字       1  \\x1b\n");
}

TEST(TextTableTest, LinesEndWithoutSpaces) {
  TextTable table({{"id"}, {"label"}});
  table.AddRow({"10", "cat"});
  table.AddRow({"2", ""});

  EXPECT_EQ(table.Text(), "id  label\n10  cat\n2\n");
}

TEST(UnitsTest, NumbersAreReadable) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(-1234567), "-1,234,567");
  EXPECT_EQ(FormatCount(0, "row"), "0 rows");
  EXPECT_EQ(FormatCount(1, "row"), "1 row");
  EXPECT_EQ(FormatCount(12345, "row"), "12,345 rows");
  EXPECT_EQ(FormatBytes(512), "512 B");
  EXPECT_EQ(FormatBytes(1536), "1.50 KiB");
  EXPECT_EQ(FormatBytes(int64_t{1} << 40), "1.00 TiB");
  EXPECT_EQ(FormatRate(850), "850");
  EXPECT_EQ(FormatRate(999.9), "1.00 k");
  EXPECT_EQ(FormatRate(12'345), "12.3 k");
  EXPECT_EQ(FormatLatency(83'210ns), "83.2 µs");
  EXPECT_EQ(FormatLatency(12'345us), "12.3 ms");
  EXPECT_EQ(FormatLatency(999'999ns), "1.00 ms");
  EXPECT_EQ(FormatClock(7s), "0:07");
  EXPECT_EQ(FormatClock(3723s), "1:02:03");
}

TEST(SuggestionTest, WhatIsNearIsSuggested) {
  const std::vector<std::string> verbs = {"lookup", "label",  "apply",
                                          "export", "import", "completion"};

  EXPECT_EQ(Suggest("lokup", verbs), "lookup");
  EXPECT_EQ(Suggest("laebl", verbs), "label");
  EXPECT_EQ(Suggest("comp", verbs), "completion");
  EXPECT_EQ(Suggest("xyzzy", verbs), std::nullopt);
  EXPECT_EQ(DidYouMean("improt", verbs), "; did you mean 'import'?");
  EXPECT_EQ(DidYouMean("improt", {}), "");
}

TEST(SuggestionTest, DistanceCountsEdits) {
  EXPECT_EQ(EditDistance("", "abc"), 3u);
  EXPECT_EQ(EditDistance("kitten", "sitting"), 3u);
  EXPECT_EQ(EditDistance("ab", "ba"), 1u);
  EXPECT_EQ(EditDistance("same", "same"), 0u);
}

TEST(TensorTextTest, SmallTensorsAreThoseOfTorch) {
  const std::vector<float> six = {0.1f, -0.25f, 1, 10.5f, 0, 3};

  // In the form of torch/_tensor_str.py.
  EXPECT_EQ(TensorText({6}, six, false),
            "tensor([ 0.1000, -0.2500,  1.0000, 10.5000,  0.0000,  3.0000])");
  EXPECT_EQ(TensorText({2, 3}, six, false),
            "tensor([[ 0.1000, -0.2500,  1.0000],\n"
            "        [10.5000,  0.0000,  3.0000]])");
  EXPECT_EQ(TensorText({3, 1, 2}, six, false),
            "tensor([[[ 0.1000, -0.2500]],\n\n"
            "        [[ 1.0000, 10.5000]],\n\n"
            "        [[ 0.0000,  3.0000]]])");
  EXPECT_EQ(TensorText({}, std::vector<float>{2.5f}, false), "tensor(2.5000)");
  EXPECT_EQ(TensorText({3}, std::vector<float>{1, -20, 0}, false),
            "tensor([  1., -20.,   0.])");
  EXPECT_EQ(TensorText({2}, std::vector<float>{1e-5f, 2e-4f}, false),
            "tensor([1.0000e-05, 2.0000e-04])");
  EXPECT_EQ(TensorText({0}, {}, false), "tensor([])");
  EXPECT_EQ(TensorText({2, 0}, {}, false), "tensor([], size=(2, 0))");
}

TEST(TensorTextTest, NumbersThatAreNotFiniteAreShownAsSuch) {
  const float inf = std::numeric_limits<float>::infinity();

  EXPECT_EQ(TensorText({3}, std::vector<float>{inf, -inf, NAN}, false),
            "tensor([ inf, -inf,  nan])");
}

TEST(TensorTextTest, LongVectorsAreCut) {
  std::vector<float> values(40);
  std::iota(values.begin(), values.end(), 0.5f);

  EXPECT_EQ(TensorText({2, 20}, values, false),
            "tensor([[ 0.5000,  1.5000,  2.5000,  ..., 17.5000, 18.5000, "
            "19.5000],\n"
            "        [20.5000, 21.5000, 22.5000,  ..., 37.5000, 38.5000, "
            "39.5000]])");
}

TEST(TensorTextTest, FullShowsEveryNumberInLinesOfEightyColumns) {
  std::vector<float> values(20);
  std::iota(values.begin(), values.end(), 0.5f);

  // 80 columns hold eight of these after "tensor(".
  EXPECT_EQ(TensorText({20}, values, true),
            "tensor([ 0.5000,  1.5000,  2.5000,  3.5000,  4.5000,  5.5000,  "
            "6.5000,  7.5000,\n"
            "         8.5000,  9.5000, 10.5000, 11.5000, 12.5000, 13.5000, "
            "14.5000, 15.5000,\n"
            "        16.5000, 17.5000, 18.5000, 19.5000])");
}

TEST(TensorTextTest, ManyRowsAreCutAndFewAreNot) {
  const std::string few =
      TensorText({100, 100}, std::vector<float>(10'000, 0.5f), false);
  const std::string many =
      TensorText({200, 100}, std::vector<float>(20'000, 0.5f), false);

  EXPECT_EQ(std::ranges::count(few, '\n'), 99);
  EXPECT_EQ(std::ranges::count(many, '\n'), 6);
  EXPECT_THAT(many, HasSubstr("],\n        ...,\n        ["));
}

TEST(NestedJsonTest, ListsKeepShapeAndEveryBit) {
  std::string out;
  AppendNestedJson({2, 2}, std::vector<float>{0.1f, -3, 1e-45f, 3.4028235e38f},
                   out);
  out += ' ';
  AppendNestedJson({2, 0}, std::vector<float>(), out);
  out += ' ';
  AppendNestedJson({}, std::vector<int64_t>{7}, out);
  out += ' ';
  AppendNestedJson({1}, std::vector<float>{NAN}, out);

  EXPECT_EQ(out, "[[0.1,-3],[1e-45,3.4028235e+38]] [[],[]] 7 [null]");
}

TEST(NestedJsonTest, StringsAreUtf8WhateverTheyWere) {
  std::string out;
  AppendJsonString("a\"\n\xe9", out);
  EXPECT_EQ(out, "\"a\\\"\\n\xef\xbf\xbd\"");
}

class ProgressTest : public ::testing::Test {
 protected:
  ProgressTest() : file_(open_memstream(&text_, &size_)) {}
  ~ProgressTest() override {
    std::fclose(file_);
    std::free(text_);
  }

  Progress::Screen Screen(bool is_terminal) {
    return {.file = file_,
            .is_terminal = is_terminal,
            .columns = 80,
            .now = [this] { return now_; }};
  }

  std::string Shown() {
    std::fflush(file_);
    return {text_, size_};
  }

  Progress::Clock::time_point now_;

 private:
  char* text_ = nullptr;
  size_t size_ = 0;
  std::FILE* file_;
};

TEST_F(ProgressTest, ATerminalShowsABarAndIsCleanInTheEnd) {
  {
    Progress progress("importing", "rows", 5000, Screen(true));
    now_ += 2s;
    progress.Update(2000);
    now_ += 50ms;
    progress.Update(2001);  // too soon to be drawn again
  }

  EXPECT_THAT(Shown(), StartsWith("\rimporting  40% ██"));
  EXPECT_THAT(Shown(), HasSubstr("2,000 of 5,000 rows  1.00 k/s  0:03 left"));
  EXPECT_THAT(Shown(), ::testing::Not(HasSubstr("2,001")));
  EXPECT_THAT(Shown(), EndsWith("\r\x1b[K"));
}

TEST_F(ProgressTest, ElsewhereALineIsWrittenEveryFiveSeconds) {
  {
    Progress progress("importing", "rows", 1000, Screen(false));
    for (int64_t second = 1; second <= 11; ++second) {
      now_ += 1s;
      progress.Update(10 * second);
    }
  }

  EXPECT_EQ(Shown(),
            "importing: 50 of 1,000 rows (5%), 10/s, 1:35 left\n"
            "importing: 100 of 1,000 rows (10%), 10/s, 1:30 left\n");
}

TEST_F(ProgressTest, ShortWorkShowsNothing) {
  {
    Progress progress("importing", "rows", 10, Screen(true));
    progress.Update(10);
  }

  EXPECT_EQ(Shown(), "");
}

TEST(ProgressBarTest, ABarFitsItsColumns) {
  ProgressState state = {.verb = "exporting",
                         .unit = "rows",
                         .done = 999'999'999,
                         .total = 1'000'000'000,
                         .elapsed = 10s};
  for (size_t columns = 1; columns < 120; ++columns) {
    EXPECT_LE(DisplayWidth(ProgressBar(state, columns)), columns);
  }
  EXPECT_THAT(ProgressBar(state, 100), HasSubstr(" 99% "));
}

}  // namespace
}  // namespace quire::terminal
