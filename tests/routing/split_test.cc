#include "routing/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "main/seed.h"

namespace quire {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr int64_t kMuch = int64_t{1} << 40;

PartLimits AtMostIds(int64_t ids) {
  return {.reply_bytes = kMuch, .ids = ids, .items = kMuch};
}

// Rows [begin, begin + count) of an item without bags.
ItemRange Rows(size_t item_index, int64_t begin, int64_t count) {
  return {item_index, begin, count, begin, count};
}

TEST(SplitLookupTest, WhatFitsIsOnePart) {
  const std::vector<SplitItem> items = {{5, 16}, {0, 0}, {3, 8}};

  const std::vector<Part> parts = SplitLookup(items, AtMostIds(8));

  ASSERT_EQ(parts.size(), 1u);
  EXPECT_THAT(parts[0].ranges,
              ElementsAre(Rows(0, 0, 5), Rows(1, 0, 0), Rows(2, 0, 3)));
  EXPECT_EQ(parts[0].row_count, 8);
  EXPECT_EQ(parts[0].id_count, 8);
  EXPECT_EQ(parts[0].reply_bytes, 5 * 16 + 3 * 8);
}

TEST(SplitLookupTest, APartEndsInTheMiddleOfAnItem) {
  const std::vector<SplitItem> items = {{5, 16}, {3, 16}, {0, 0}};

  const std::vector<Part> parts = SplitLookup(items, AtMostIds(4));

  ASSERT_EQ(parts.size(), 2u);
  EXPECT_THAT(parts[0].ranges, ElementsAre(Rows(0, 0, 4)));
  EXPECT_THAT(parts[1].ranges,
              ElementsAre(Rows(0, 4, 1), Rows(1, 0, 3), Rows(2, 0, 0)));
}

TEST(SplitLookupTest, NoItemsAreOneEmptyPart) {
  const std::vector<Part> parts = SplitLookup({}, AtMostIds(1));

  ASSERT_EQ(parts.size(), 1u);
  EXPECT_THAT(parts[0].ranges, IsEmpty());
}

TEST(SplitLookupTest, ItemsAreCountedAsWellAsTheirIds) {
  const std::vector<SplitItem> items(5, SplitItem{1, 4});

  const std::vector<Part> parts =
      SplitLookup(items, {.reply_bytes = kMuch, .ids = kMuch, .items = 2});

  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].ranges.size(), 2u);
  EXPECT_EQ(parts[1].ranges.size(), 2u);
  EXPECT_EQ(parts[2].ranges.size(), 1u);
}

TEST(SplitLookupTest, ARowOverTheLimitIsAPartOfItsOwn) {
  const std::vector<SplitItem> items = {{1, 10}, {2, 1000}, {1, 10}};

  const std::vector<Part> parts =
      SplitLookup(items, {.reply_bytes = 100, .ids = kMuch, .items = kMuch});

  ASSERT_EQ(parts.size(), 4u);
  EXPECT_THAT(parts[1].ranges, ElementsAre(Rows(1, 0, 1)));
  EXPECT_THAT(parts[2].ranges, ElementsAre(Rows(1, 1, 1)));
}

TEST(SplitLookupTest, ABagIsNeverCut) {
  const std::vector<int64_t> offsets = {0, 2, 2, 5, 9};
  const std::vector<SplitItem> items = {
      {.row_count = 4, .row_bytes = 8, .offsets = offsets}};

  const std::vector<Part> parts = SplitLookup(items, AtMostIds(6));

  ASSERT_EQ(parts.size(), 2u);
  EXPECT_THAT(parts[0].ranges, ElementsAre(ItemRange{0, 0, 3, 0, 5}));
  EXPECT_THAT(parts[1].ranges, ElementsAre(ItemRange{0, 3, 1, 5, 4}));
}

TEST(SplitLookupTest, ABagOverTheLimitIsAPartOfItsOwn) {
  const std::vector<int64_t> offsets = {0, 1, 8, 9};
  const std::vector<SplitItem> items = {
      {.row_count = 3, .row_bytes = 8, .offsets = offsets}};

  const std::vector<Part> parts = SplitLookup(items, AtMostIds(6));

  ASSERT_EQ(parts.size(), 3u);
  EXPECT_THAT(parts[1].ranges, ElementsAre(ItemRange{0, 1, 1, 1, 7}));
}

TEST(SplitLookupTest, EmptyBagsAreCountedToo) {
  const std::vector<int64_t> offsets(8, 0);
  const std::vector<SplitItem> items = {
      {.row_count = 7, .row_bytes = 8, .offsets = offsets}};

  const std::vector<Part> parts = SplitLookup(items, AtMostIds(6));

  ASSERT_EQ(parts.size(), 2u);
  EXPECT_THAT(parts[1].ranges, ElementsAre(ItemRange{0, 6, 1, 0, 0}));
}

// Random lookups against what a split has to be.
class RandomSplitTest : public ::testing::Test {
 protected:
  int64_t Below(int64_t bound) {
    return std::uniform_int_distribution<int64_t>(0, bound - 1)(random_);
  }

  void Draw() {
    items_.resize(static_cast<size_t>(Below(8)));
    offsets_.assign(items_.size(), {});
    for (size_t i = 0; i < items_.size(); ++i) {
      SplitItem& item = items_[i];
      item = {.row_count = Below(3) == 0 ? 0 : Below(50),
              .row_bytes = Below(40)};
      if (Below(2) == 0) {
        offsets_[i] = {0};
        for (int64_t row = 0; row < item.row_count; ++row) {
          offsets_[i].push_back(offsets_[i].back() + Below(6));
        }
        item.offsets = offsets_[i];
      }
    }
    limits_ = {.reply_bytes = 1 + Below(400),
               .ids = 1 + Below(60),
               .items = 1 + Below(4),
               .item_bytes = Below(10)};
    parts_ = SplitLookup(items_, limits_);
  }

  bool Fits(const Part& part) const {
    return part.reply_bytes <= limits_.reply_bytes &&
           part.id_count <= limits_.ids && part.row_count <= limits_.ids &&
           std::ssize(part.ranges) <= limits_.items;
  }

  // `part` with the first row (or empty item) of `next` added.
  Part Grown(Part part, const ItemRange& next) const {
    const SplitItem& item = items_[next.item_index];
    const int64_t row_count = std::min<int64_t>(next.count, 1);
    const bool same_item = !part.ranges.empty() &&
                           part.ranges.back().item_index == next.item_index;
    if (!same_item) {
      part.ranges.push_back({next.item_index, next.begin, 0});
      part.reply_bytes += limits_.item_bytes;
    }
    part.ranges.back().count += row_count;
    part.row_count += row_count;
    part.id_count +=
        item.IdsBefore(next.begin + row_count) - item.IdsBefore(next.begin);
    part.reply_bytes += row_count * item.row_bytes;
    return part;
  }

  std::mt19937_64 random_{testing::Seed()};
  std::vector<SplitItem> items_;
  std::vector<std::vector<int64_t>> offsets_;
  PartLimits limits_;
  std::vector<Part> parts_;
};

TEST_F(RandomSplitTest, RangesAreTheItemsInOrderWithoutGaps) {
  for (int round = 0; round < 2000; ++round) {
    Draw();

    std::vector<int64_t> taken(items_.size(), 0);
    std::vector<int> ranges(items_.size(), 0);
    size_t item_index = 0;
    for (const Part& part : parts_) {
      for (const ItemRange& range : part.ranges) {
        ASSERT_GE(range.item_index, item_index);
        item_index = range.item_index;
        ASSERT_EQ(range.begin, taken[item_index]);
        const SplitItem& item = items_[item_index];
        ASSERT_EQ(range.id_begin, item.IdsBefore(range.begin));
        taken[item_index] += range.count;
        ASSERT_EQ(range.id_begin + range.id_count,
                  item.IdsBefore(taken[item_index]));
        ++ranges[item_index];
        ASSERT_TRUE(range.count > 0 || item.row_count == 0);
      }
    }
    for (size_t i = 0; i < items_.size(); ++i) {
      ASSERT_EQ(taken[i], items_[i].row_count);
      ASSERT_TRUE(items_[i].row_count > 0 || ranges[i] == 1);
    }
  }
}

TEST_F(RandomSplitTest, PartsFitAndAreFull) {
  for (int round = 0; round < 2000; ++round) {
    Draw();

    for (size_t i = 0; i < parts_.size(); ++i) {
      const bool alone =
          parts_[i].ranges.size() == 1 && parts_[i].row_count <= 1;
      ASSERT_TRUE(Fits(parts_[i]) || alone);
      if (i > 0) {
        ASSERT_FALSE(parts_[i].ranges.empty());
        ASSERT_FALSE(Fits(Grown(parts_[i - 1], parts_[i].ranges.front())));
      }
    }
  }
}

TEST_F(RandomSplitTest, SumsOfAPartAreThoseOfItsRanges) {
  for (int round = 0; round < 500; ++round) {
    Draw();

    for (const Part& part : parts_) {
      int64_t rows = 0;
      int64_t ids = 0;
      int64_t bytes = 0;
      for (const ItemRange& range : part.ranges) {
        rows += range.count;
        ids += range.id_count;
        bytes += limits_.item_bytes +
                 range.count * items_[range.item_index].row_bytes;
      }
      ASSERT_EQ(part.row_count, rows);
      ASSERT_EQ(part.id_count, ids);
      ASSERT_EQ(part.reply_bytes, bytes);
    }
  }
}

// What row `row` of an item has in every column: something of all its ids.
int64_t SumOf(std::span<const int64_t> ids) {
  return std::accumulate(ids.begin(), ids.end(), std::ssize(ids));
}

TEST_F(RandomSplitTest, AnsweringEveryPartInPlaceJoinsTheWhole) {
  constexpr int64_t kDim = 3;
  for (int round = 0; round < 200; ++round) {
    Draw();
    std::vector<std::vector<int64_t>> ids;
    std::vector<std::vector<int64_t>> out;
    for (const SplitItem& item : items_) {
      ids.emplace_back(static_cast<size_t>(item.IdsBefore(item.row_count)));
      std::ranges::generate(ids.back(), [&] { return Below(1000); });
      out.emplace_back(static_cast<size_t>(item.row_count * kDim), -1);
    }
    const auto row = [&](size_t item, std::span<const int64_t> of,
                         int64_t index, int64_t first_id) {
      const int64_t begin = items_[item].IdsBefore(index) - first_id;
      const int64_t end = items_[item].IdsBefore(index + 1) - first_id;
      return SumOf(of.subspan(static_cast<size_t>(begin),
                              static_cast<size_t>(end - begin)));
    };

    std::ranges::shuffle(parts_, random_);
    for (const Part& part : parts_) {
      for (const ItemRange& range : part.ranges) {
        const auto asked =
            IdsOf(range, std::span<const int64_t>(ids[range.item_index]));
        const auto rows =
            RowsOf(range, std::span<int64_t>(out[range.item_index]), kDim);
        for (int64_t i = 0; i < range.count; ++i) {
          std::fill_n(
              rows.begin() + i * kDim, kDim,
              row(range.item_index, asked, range.begin + i, range.id_begin));
        }
      }
    }

    for (size_t item = 0; item < items_.size(); ++item) {
      for (size_t i = 0; i < out[item].size(); ++i) {
        ASSERT_EQ(out[item][i],
                  row(item, ids[item], static_cast<int64_t>(i) / kDim, 0));
      }
    }
  }
}

}  // namespace
}  // namespace quire
