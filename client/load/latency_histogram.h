// How long requests took.

#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

namespace quire::load {

// Counts durations in buckets that grow with them: a quantile is exact up to
// 256 ns, and at most 1/128 too high above. Durations over an hour count as an
// hour. Thread safety: one thread at a time; threads keep their own and merge.
class LatencyHistogram {
 public:
  LatencyHistogram();

  void Record(std::chrono::nanoseconds duration);
  void Merge(const LatencyHistogram& other);

  int64_t count() const { return count_; }
  // Exact. Zero when empty.
  std::chrono::nanoseconds min() const;
  std::chrono::nanoseconds max() const;
  std::chrono::nanoseconds mean() const;

  // The duration that `share` of all do not exceed; share in (0, 1]. Zero when
  // empty.
  std::chrono::nanoseconds Quantile(double share) const;

  // How many lie in [low, high): by their buckets, whose lower ends decide.
  int64_t CountBetween(std::chrono::nanoseconds low,
                       std::chrono::nanoseconds high) const;

 private:
  std::vector<int64_t> counts_;
  int64_t count_ = 0;
  int64_t min_ns_ = 0;
  int64_t max_ns_ = 0;
  double sum_ns_ = 0;
};

}  // namespace quire::load
