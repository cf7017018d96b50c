#include "client/load/latency_histogram.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>

namespace quire::load {
namespace {

using std::chrono::nanoseconds;

// Below 2^8 ns every value has a bucket; above, every power of two has 2^7.
constexpr int kExactBits = 8;
constexpr uint64_t kPerPowerOfTwo = uint64_t{1} << (kExactBits - 1);
constexpr int64_t kHourNs = int64_t{3'600'000'000'000};

constexpr size_t BucketOf(int64_t ns) {
  const auto value = static_cast<uint64_t>(ns);
  const int shift =
      std::max(0, static_cast<int>(std::bit_width(value)) - kExactBits);
  return static_cast<size_t>(shift) * kPerPowerOfTwo + (value >> shift);
}

// The least value of a bucket.
constexpr int64_t LowerEnd(size_t bucket) {
  const size_t shift =
      bucket < 2 * kPerPowerOfTwo ? 0 : bucket / kPerPowerOfTwo - 1;
  return static_cast<int64_t>((bucket - shift * kPerPowerOfTwo) << shift);
}

constexpr size_t kBucketCount = BucketOf(kHourNs) + 1;

static_assert(LowerEnd(BucketOf(255)) == 255);
static_assert(LowerEnd(BucketOf(256)) == 256);
static_assert(LowerEnd(BucketOf(257)) == 256);
static_assert(LowerEnd(BucketOf(1'000'000)) <= 1'000'000);
static_assert(LowerEnd(BucketOf(1'000'000) + 1) > 1'000'000);

}  // namespace

LatencyHistogram::LatencyHistogram() : counts_(kBucketCount) {}

void LatencyHistogram::Record(nanoseconds duration) {
  const int64_t ns = std::clamp<int64_t>(duration.count(), 0, kHourNs);
  ++counts_[BucketOf(ns)];
  min_ns_ = count_ == 0 ? ns : std::min(min_ns_, ns);
  max_ns_ = std::max(max_ns_, ns);
  sum_ns_ += static_cast<double>(ns);
  ++count_;
}

void LatencyHistogram::Merge(const LatencyHistogram& other) {
  if (other.count_ == 0) {
    return;
  }
  std::ranges::transform(counts_, other.counts_, counts_.begin(),
                         std::plus<>());
  min_ns_ = count_ == 0 ? other.min_ns_ : std::min(min_ns_, other.min_ns_);
  max_ns_ = std::max(max_ns_, other.max_ns_);
  sum_ns_ += other.sum_ns_;
  count_ += other.count_;
}

nanoseconds LatencyHistogram::min() const { return nanoseconds(min_ns_); }

nanoseconds LatencyHistogram::max() const { return nanoseconds(max_ns_); }

nanoseconds LatencyHistogram::mean() const {
  return nanoseconds(
      count_ == 0 ? 0 : std::llround(sum_ns_ / static_cast<double>(count_)));
}

nanoseconds LatencyHistogram::Quantile(double share) const {
  const auto wanted =
      static_cast<int64_t>(std::ceil(share * static_cast<double>(count_)));
  int64_t seen = 0;
  for (size_t bucket = 0; bucket < kBucketCount; ++bucket) {
    seen += counts_[bucket];
    if (seen >= wanted && seen > 0) {
      return nanoseconds(
          std::clamp(LowerEnd(bucket + 1) - 1, min_ns_, max_ns_));
    }
  }
  return max();
}

int64_t LatencyHistogram::CountBetween(nanoseconds low,
                                       nanoseconds high) const {
  int64_t count = 0;
  for (size_t bucket = 0; bucket < kBucketCount; ++bucket) {
    const int64_t lower_end = LowerEnd(bucket);
    count += lower_end >= low.count() && lower_end < high.count()
                 ? counts_[bucket]
                 : 0;
  }
  return count;
}

}  // namespace quire::load
