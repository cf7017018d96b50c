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

TEST(SplitLookupTest, WhatFitsIsOnePart) {
  const std::vector<SplitItem> items = {{5, 16}, {0, 0}, {3, 8}};

  const std::vector<Part> parts = SplitLookup(items, AtMostIds(8));

  ASSERT_EQ(parts.size(), 1u);
  EXPECT_THAT(
      parts[0].ranges,
      ElementsAre(ItemRange{0, 0, 5}, ItemRange{1, 0, 0}, ItemRange{2, 0, 3}));
  EXPECT_EQ(parts[0].id_count, 8);
  EXPECT_EQ(parts[0].reply_bytes, 5 * 16 + 3 * 8);
}

TEST(SplitLookupTest, APartEndsInTheMiddleOfAnItem) {
  const std::vector<SplitItem> items = {{5, 16}, {3, 16}, {0, 0}};

  const std::vector<Part> parts = SplitLookup(items, AtMostIds(4));

  ASSERT_EQ(parts.size(), 2u);
  EXPECT_THAT(parts[0].ranges, ElementsAre(ItemRange{0, 0, 4}));
  EXPECT_THAT(
      parts[1].ranges,
      ElementsAre(ItemRange{0, 4, 1}, ItemRange{1, 0, 3}, ItemRange{2, 0, 0}));
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
  EXPECT_THAT(parts[1].ranges, ElementsAre(ItemRange{1, 0, 1}));
  EXPECT_THAT(parts[2].ranges, ElementsAre(ItemRange{1, 1, 1}));
}

// Random lookups against what a split has to be.
class RandomSplitTest : public ::testing::Test {
 protected:
  int64_t Below(int64_t bound) {
    return std::uniform_int_distribution<int64_t>(0, bound - 1)(random_);
  }

  void Draw() {
    items_.resize(static_cast<size_t>(Below(8)));
    for (SplitItem& item : items_) {
      item.id_count = Below(3) == 0 ? 0 : Below(50);
      item.row_bytes = Below(40);
    }
    limits_ = {.reply_bytes = 1 + Below(400),
               .ids = 1 + Below(60),
               .items = 1 + Below(4),
               .item_bytes = Below(10)};
    parts_ = SplitLookup(items_, limits_);
  }

  bool Fits(const Part& part) const {
    return part.reply_bytes <= limits_.reply_bytes &&
           part.id_count <= limits_.ids &&
           std::ssize(part.ranges) <= limits_.items;
  }

  // `part` with the first id (or empty item) of `next` added.
  Part Grown(Part part, const ItemRange& next) const {
    const int64_t id_count = std::min<int64_t>(next.count, 1);
    const bool same_item = !part.ranges.empty() &&
                           part.ranges.back().item_index == next.item_index;
    if (!same_item) {
      part.ranges.push_back({next.item_index, next.begin, 0});
      part.reply_bytes += limits_.item_bytes;
    }
    part.ranges.back().count += id_count;
    part.id_count += id_count;
    part.reply_bytes += id_count * items_[next.item_index].row_bytes;
    return part;
  }

  std::mt19937_64 random_{testing::Seed()};
  std::vector<SplitItem> items_;
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
        taken[item_index] += range.count;
        ++ranges[item_index];
        ASSERT_TRUE(range.count > 0 || items_[item_index].id_count == 0);
      }
    }
    for (size_t i = 0; i < items_.size(); ++i) {
      ASSERT_EQ(taken[i], items_[i].id_count);
      ASSERT_TRUE(items_[i].id_count > 0 || ranges[i] == 1);
    }
  }
}

TEST_F(RandomSplitTest, PartsFitAndAreFull) {
  for (int round = 0; round < 2000; ++round) {
    Draw();

    for (size_t i = 0; i < parts_.size(); ++i) {
      const bool alone =
          parts_[i].ranges.size() == 1 && parts_[i].id_count <= 1;
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
      int64_t ids = 0;
      int64_t bytes = 0;
      for (const ItemRange& range : part.ranges) {
        ids += range.count;
        bytes += limits_.item_bytes +
                 range.count * items_[range.item_index].row_bytes;
      }
      ASSERT_EQ(part.id_count, ids);
      ASSERT_EQ(part.reply_bytes, bytes);
    }
  }
}

TEST_F(RandomSplitTest, AnsweringEveryPartInPlaceJoinsTheWhole) {
  constexpr int64_t kDim = 3;
  for (int round = 0; round < 200; ++round) {
    Draw();
    std::vector<std::vector<int64_t>> ids;
    std::vector<std::vector<int64_t>> out;
    for (const SplitItem& item : items_) {
      ids.emplace_back(static_cast<size_t>(item.id_count));
      std::ranges::generate(ids.back(), [&] { return Below(1000); });
      out.emplace_back(static_cast<size_t>(item.id_count * kDim), -1);
    }

    std::ranges::shuffle(parts_, random_);
    for (const Part& part : parts_) {
      for (const ItemRange& range : part.ranges) {
        const auto asked =
            RowsOf(range, std::span<const int64_t>(ids[range.item_index]), 1);
        const auto rows =
            RowsOf(range, std::span<int64_t>(out[range.item_index]), kDim);
        for (size_t i = 0; i < rows.size(); ++i) {
          rows[i] = asked[i / kDim] * kDim + static_cast<int64_t>(i % kDim);
        }
      }
    }

    for (size_t item = 0; item < items_.size(); ++item) {
      for (size_t i = 0; i < out[item].size(); ++i) {
        ASSERT_EQ(out[item][i],
                  ids[item][i / kDim] * kDim + static_cast<int64_t>(i % kDim));
      }
    }
  }
}

}  // namespace
}  // namespace quire
