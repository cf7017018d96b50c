// How ids fall into bags, and what a bag's rows become: torch.nn.EmbeddingBag.
//
//   ids      7 1 4 | 4 | | 2 9      4 bags
//   offsets  0       3   4 4    6   [bags + 1]
//
// Thread safety: plain values.

#pragma once

#include <cstdint>
#include <span>

namespace quire {

enum class Pooling : uint8_t {
  kSum,    // with a weight for each id, or all 1
  kMean,   // over the ids that are not padding; 0 of none
  kMax,    // of each element; the first of equal ones wins
  kSqrtn,  // the sum over the root of the number of ids that are not padding
};

// The position in its bag of what won an element of a bag that has none.
inline constexpr int32_t kNoWinner = -1;

// Views; what they point to outlives them.
struct Bags {
  Pooling pooling = Pooling::kSum;
  // [bags + 1], ascending from 0 to the number of ids: bag b is
  // ids[offsets[b], offsets[b + 1]).
  std::span<const int64_t> offsets;
  // SUM: [ids], or empty for all 1.
  std::span<const float> weights;
  // A push of MAX: [bags, dim], which position of its bag won each element, or
  // kNoWinner.
  std::span<const int32_t> winners;

  int64_t bag_count() const { return static_cast<int64_t>(offsets.size()) - 1; }
};

}  // namespace quire
