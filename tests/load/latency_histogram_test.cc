#include "client/load/latency_histogram.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "main/seed.h"

namespace quire::load {
namespace {

using std::chrono::hours;
using std::chrono::nanoseconds;

TEST(LatencyHistogramTest, QuantilesAreWithinTheirBoundOfTheExactOnes) {
  std::mt19937_64 random(testing::Seed());
  std::lognormal_distribution<double> latency(std::log(200'000), 1.5);
  LatencyHistogram histogram;
  std::vector<int64_t> exact;
  for (int i = 0; i < 50'000; ++i) {
    exact.push_back(static_cast<int64_t>(latency(random)));
    histogram.Record(nanoseconds(exact.back()));
  }
  std::ranges::sort(exact);

  for (double share : {0.0001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999, 1.0}) {
    const auto rank = static_cast<size_t>(
        std::ceil(share * static_cast<double>(exact.size())));
    const int64_t wanted = exact[rank - 1];
    const int64_t found = histogram.Quantile(share).count();
    EXPECT_GE(found, wanted) << share;
    EXPECT_LE(found, wanted + wanted / 128) << share;
  }
  EXPECT_EQ(histogram.min().count(), exact.front());
  EXPECT_EQ(histogram.max().count(), exact.back());
}

TEST(LatencyHistogramTest, SmallDurationsAreExact) {
  LatencyHistogram histogram;
  for (int64_t ns = 0; ns < 256; ++ns) {
    histogram.Record(nanoseconds(ns));
  }

  EXPECT_EQ(histogram.Quantile(0.5).count(), 127);
  EXPECT_EQ(histogram.Quantile(1).count(), 255);
  EXPECT_EQ(histogram.mean().count(), 128);
}

TEST(LatencyHistogramTest, AnEmptyOneIsZeroEverywhere) {
  const LatencyHistogram histogram;

  EXPECT_EQ(histogram.Quantile(0.5).count(), 0);
  EXPECT_EQ(histogram.mean().count(), 0);
  EXPECT_EQ(histogram.max().count(), 0);
}

TEST(LatencyHistogramTest, DurationsOverAnHourCountAsAnHour) {
  LatencyHistogram histogram;
  histogram.Record(hours(7));
  histogram.Record(nanoseconds(-5));

  EXPECT_EQ(histogram.max(), hours(1));
  EXPECT_EQ(histogram.min().count(), 0);
}

TEST(LatencyHistogramTest, MergingIsRecordingInOne) {
  std::mt19937_64 random(testing::Seed());
  LatencyHistogram parts[3], whole, merged;
  for (int i = 0; i < 10'000; ++i) {
    const nanoseconds duration(random() % 10'000'000);
    parts[random() % 2].Record(duration);  // the third stays empty
    whole.Record(duration);
  }

  for (const LatencyHistogram& part : parts) {
    merged.Merge(part);
  }

  EXPECT_EQ(merged.count(), whole.count());
  EXPECT_EQ(merged.min(), whole.min());
  EXPECT_EQ(merged.max(), whole.max());
  for (double share : {0.01, 0.5, 0.99}) {
    EXPECT_EQ(merged.Quantile(share), whole.Quantile(share));
  }
}

TEST(LatencyHistogramTest, RangesThatMeetCountEverythingOnce) {
  std::mt19937_64 random(testing::Seed());
  LatencyHistogram histogram;
  for (int i = 0; i < 10'000; ++i) {
    histogram.Record(nanoseconds(random() % 1'000'000));
  }

  int64_t count = 0;
  for (int64_t low = 0; low < 1'000'000; low += 12'345) {
    count +=
        histogram.CountBetween(nanoseconds(low), nanoseconds(low + 12'345));
  }

  EXPECT_EQ(count, 10'000);
}

}  // namespace
}  // namespace quire::load
