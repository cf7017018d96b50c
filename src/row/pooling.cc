#include "row/pooling.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/faults.h"
#include "row/halves.h"

namespace quire {

BagPool::BagPool(const kernels::Kernels& kernels, Pooling pooling, int64_t dim,
                 bool has_padding)
    : kernels_(kernels),
      pooling_(pooling),
      has_padding_(has_padding),
      pooled_(static_cast<size_t>(dim)),
      winners_(pooling == Pooling::kMax ? pooled_.size() : 0, kNoWinner) {}

void BagPool::Take(const float* rows, std::span<const float> weights,
                   std::span<const int32_t> positions) {
  if (pooling_ == Pooling::kMax) {
    kernels_.pool_max(pooled_.data(), winners_.data(), rows, positions.data(),
                      positions.size(), row_count_ == 0, pooled_.size());
  } else {
    const bool fused = !has_padding_ && !QUIRE_FAULT("weights_unfused");
    kernels_.pool_sum(pooled_.data(), rows,
                      weights.empty() ? nullptr : weights.data(), fused,
                      positions.size(), pooled_.size());
  }
  row_count_ += std::ssize(positions);
}

void BagPool::Finish(std::byte* out, std::byte* winners, ElementType type) {
  if (row_count_ > 0 && pooling_ == Pooling::kMean) {
    kernels_.divide(pooled_.data(), static_cast<float>(row_count_),
                    pooled_.size());
  }
  if (row_count_ > 0 && pooling_ == Pooling::kSqrtn) {
    kernels_.divide(
        pooled_.data(),
        static_cast<float>(std::sqrt(static_cast<double>(row_count_))),
        pooled_.size());
  }
  const auto* const pooled = reinterpret_cast<const std::byte*>(pooled_.data());
  if (const kernels::HalfKernels* half = HalfKernelsOf(kernels_, type)) {
    half->round(pooled, pooled_.size(), out);
  } else {
    std::memcpy(out, pooled, pooled_.size() * sizeof(float));
  }
  if (winners != nullptr) {
    std::memcpy(winners, winners_.data(), winners_.size() * sizeof(int32_t));
  }
  if (!QUIRE_FAULT("empty_bag_keeps_rows")) {
    std::ranges::fill(pooled_, 0.0f);
  }
  std::ranges::fill(winners_, kNoWinner);
  row_count_ = 0;
}

double OccurrenceScale(Pooling pooling, int64_t row_count, float weight) {
  const auto rows = static_cast<double>(std::max<int64_t>(row_count, 1));
  switch (pooling) {
    case Pooling::kSum:
      return weight;
    case Pooling::kMean:
      return 1.0 / rows;
    case Pooling::kSqrtn:
      return 1.0 / std::sqrt(rows);
    case Pooling::kMax:
      break;
  }
  return 1.0;
}

}  // namespace quire
