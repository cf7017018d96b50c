// Norms and renormalisation, written a second time.

#pragma once

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "kernels/each_table.h"

namespace quire::kernels {

inline constexpr NormKind kNormKinds[] = {
    NormKind::kTwo,     NormKind::kOne,      NormKind::kZero,
    NormKind::kLargest, NormKind::kSmallest, NormKind::kOther};

inline float NormOfRow(const std::vector<float>& row, const Renorm& renorm) {
  const auto lanes = [&](auto add) {
    return SumOfLanes(row.size(),
                      [&](size_t d, float sum) { return add(row[d], sum); });
  };
  const auto extreme = [&](auto is_more) {
    float found = std::abs(row[0]);
    for (float element : row) {
      const float size = std::abs(element);
      found = std::isnan(size) || is_more(size, found) ? size : found;
    }
    return found;
  };
  switch (renorm.kind) {
    case NormKind::kTwo:
      return std::sqrt(
          lanes([](float x, float sum) { return std::fma(x, x, sum); }));
    case NormKind::kOne:
      return lanes([](float x, float sum) { return sum + std::abs(x); });
    case NormKind::kZero:
      return static_cast<float>(
          std::ranges::count_if(row, [](float x) { return x != 0.0f; }));
    case NormKind::kLargest:
      return extreme(std::greater<float>());
    case NormKind::kSmallest:
      return extreme(std::less<float>());
    case NormKind::kOther:
      break;
  }
  float sum = 0.0f;
  for (float element : row) {
    sum += std::pow(std::abs(element), renorm.p);
  }
  return std::pow(sum, 1.0f / renorm.p);
}

// torch: embedding_renorm_.
inline std::vector<float> Renormed(std::vector<float> x, const Renorm& renorm) {
  const double norm = NormOfRow(x, renorm);
  if (norm > renorm.max_norm) {
    const auto scale =
        static_cast<float>(renorm.max_norm / (norm + renorm.epsilon));
    for (float& element : x) {
      element = element * scale;
    }
  }
  return x;
}

}  // namespace quire::kernels
