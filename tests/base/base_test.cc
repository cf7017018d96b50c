// The ground rooms: small things that everything stands on.

#include <gtest/gtest.h>

#include <atomic>
#include <cstring>
#include <fstream>
#include <iterator>
#include <numeric>
#include <random>
#include <set>
#include <vector>

#include "base/byte_range.h"
#include "base/memory.h"
#include "base/placement.h"
#include "base/status.h"
#include "base/worker_pool.h"
#include "main/seed.h"
#include "tensor/shape.h"

namespace quire {
namespace {

TEST(StatusTest, AnErrorCarriesItsReasonFieldAndCode) {
  const absl::Status status =
      Error(Reason::kIdOutOfRange, "id 7 is not in [0, 5)", "ids.ids[3]");

  EXPECT_EQ(status.code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(ReasonOf(status), Reason::kIdOutOfRange);
  EXPECT_EQ(FieldOf(status), "ids.ids[3]");
  EXPECT_EQ(FieldOf(WithFieldPrefix(status, "tables[2].")),
            "tables[2].ids.ids[3]");
  EXPECT_EQ(RetryAfterMsOf(status), std::nullopt);
  EXPECT_EQ(RetryAfterMsOf(WithRetryAfterMs(status, 20)), 20);
}

TEST(StatusTest, EveryReasonIsFoundByItsName) {
  for (int i = 0; i <= static_cast<int>(Reason::kNoSuchMethod); ++i) {
    const auto reason = static_cast<Reason>(i);
    EXPECT_EQ(ReasonFromName(ReasonName(reason)), reason);
  }
  EXPECT_EQ(ReasonFromName("NO_SUCH_REASON"), std::nullopt);
}

// Users look reasons up there.
TEST(StatusTest, EveryReasonIsInTheDocumentedTable) {
  std::ifstream file(QUIRE_SOURCE_DIR "/docs/ERRORS.md");
  const std::string table{std::istreambuf_iterator<char>(file), {}};

  for (int i = 0; i <= static_cast<int>(Reason::kNoSuchMethod); ++i) {
    const auto reason = static_cast<Reason>(i);
    std::string code = absl::StatusCodeToString(CodeOf(reason));
    const std::string row =
        "| " + std::string(ReasonName(reason)) + " | " + code + " |";
    EXPECT_NE(table.find(row), std::string::npos) << row;
  }
}

TEST(PlacementTest, EveryIdHasAPlaceOfItsOwnAndIsFoundThere) {
  for (const int32_t shards : {1, 2, 64}) {
    const DensePlacement placement(shards);
    std::set<std::pair<uint32_t, int64_t>> places;
    for (int64_t id = 0; id < 1000; ++id) {
      const ShardId shard = placement.ShardOf(id);
      const int64_t slot = placement.SlotOf(id);
      ASSERT_LT(static_cast<int32_t>(shard), shards);
      ASSERT_LT(slot, placement.SlotCount(1000));
      ASSERT_EQ(placement.IdAt(shard, slot), id);
      places.emplace(static_cast<uint32_t>(shard), slot);
    }
    EXPECT_EQ(places.size(), 1000u);
  }
}

// LANDSCAPE A9: ids with equal low bits must not load one shard.
TEST(PlacementTest, IdsWithEqualLowBitsSpread) {
  const DensePlacement placement(64);
  for (const int64_t stride : {2, 64, 4096, 65536}) {
    std::vector<int> load(64);
    for (int64_t i = 0; i < 64 * 256; ++i) {
      ++load[static_cast<size_t>(placement.ShardOf(i * stride))];
    }
    EXPECT_LT(*std::ranges::max_element(load), 2 * 256) << stride;
  }
}

TEST(MemoryBudgetTest, ItGivesNoMoreThanItHasAndTakesBack) {
  MemoryBudget budget(100);
  MemoryBudget::Charge first;
  MemoryBudget::Charge second;

  EXPECT_TRUE(budget.TryCharge(60, first));
  EXPECT_FALSE(budget.TryCharge(41, second));
  EXPECT_TRUE(budget.TryCharge(40, second));
  EXPECT_FALSE(first.TryResize(61));
  EXPECT_TRUE(first.TryResize(10));
  EXPECT_EQ(budget.bytes_used(), 50);
  first.Release();
  second.Release();
  EXPECT_EQ(budget.bytes_used(), 0);
}

TEST(ByteRangeTest, AnyCutOfAMessageReadsTheSame) {
  std::mt19937_64 random(testing::Seed());
  for (int round = 0; round < 200; ++round) {
    std::vector<std::byte> whole(random() % 300);
    for (std::byte& byte : whole) {
      byte = static_cast<std::byte>(random());
    }
    std::vector<Bytes> pieces;
    for (size_t at = 0; at < whole.size();) {
      const size_t size = std::min<size_t>(random() % 9, whole.size() - at);
      pieces.push_back(Bytes(whole).subspan(at, size));
      at += size;
    }
    pieces.emplace_back();
    const size_t begin = whole.empty() ? 0 : random() % whole.size();
    const size_t size = whole.empty() ? 0 : random() % (whole.size() - begin);

    const ByteRange range =
        ByteRange(pieces.data(), 0, whole.size()).Sub(begin, size);
    std::vector<std::byte> copy(size);
    range.CopyTo(copy.data());
    EXPECT_TRUE(std::ranges::equal(copy, Bytes(whole).subspan(begin, size)));

    ByteRange::Reader reader(range);
    for (size_t at = 0; at < size;) {
      const size_t step = std::min<size_t>(1 + random() % 12, size - at);
      std::byte scratch[16];
      const std::byte* bytes = reader.Next(step, scratch);
      EXPECT_EQ(std::memcmp(bytes, whole.data() + begin + at, step), 0);
      at += step;
    }
    EXPECT_EQ(reader.contiguous_size(), 0u);
  }
}

TEST(WorkerPoolTest, ParallelForCallsEachIndexOnce) {
  WorkerPool pool(3);
  std::vector<std::atomic<int>> calls(1000);

  pool.ParallelFor(1000, [&](int64_t index) {
    calls[static_cast<size_t>(index)].fetch_add(1);
  });

  for (const std::atomic<int>& count : calls) {
    EXPECT_EQ(count.load(), 1);
  }
}

// Whoever holds all workers must not wait for one.
TEST(WorkerPoolTest, ParallelForFromAWorkerOfTheSamePoolEnds) {
  WorkerPool pool(2);
  std::atomic<int> calls = 0;

  pool.ParallelFor(4, [&](int64_t) {
    pool.ParallelFor(8, [&](int64_t) { calls.fetch_add(1); });
  });

  EXPECT_EQ(calls.load(), 32);
}

TEST(ShapeTest, WhatIsLegalIsCountedAndWhatIsNotIsRefused) {
  EXPECT_EQ(Shape().element_count(), 1);
  EXPECT_EQ(Shape({3, 2}).element_count(), 6);
  EXPECT_EQ(Shape({3, 2}).Append(5)->ToString(), "(3, 2, 5)");
  EXPECT_EQ(Shape({7}).ToString(), "(7,)");
  const int64_t huge = int64_t{1} << 40;
  EXPECT_EQ(Shape::Make(std::vector<int64_t>{huge, huge, 0})->element_count(),
            0);
  EXPECT_EQ(ReasonOf(Shape::Make(std::vector<int64_t>{huge, huge}).status()),
            Reason::kBadShape);
  EXPECT_FALSE(Shape::Make(std::vector<int64_t>{2, -1}).ok());
  EXPECT_FALSE(Shape::Make(std::vector<int64_t>(9, 1)).ok());
  EXPECT_TRUE(Shape::Make(std::vector<int64_t>(9, 1), kRankMax + 1).ok());
}

}  // namespace
}  // namespace quire
