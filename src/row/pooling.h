// How rows are pooled into bags: torch.nn.EmbeddingBag's forward, and the
// scale of each occurrence in its backward.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/kernels.h"
#include "tensor/bags.h"
#include "tensor/element_type.h"

namespace quire {

// One bag while its rows come, in runs, in the order of its ids. Ids that are
// padding are not given. One thread at a time; may be used again.
class BagPool {
 public:
  //   has_padding  whether the table has a padding_idx: torch then adds a
  //                weighted row with two roundings, else with one
  BagPool(const kernels::Kernels& kernels, Pooling pooling, int64_t dim,
          bool has_padding);

  // The next rows of the bag.
  //   rows       float32 [n, dim]
  //   weights    [n], or empty for all 1
  //   positions  [n]: of each row in its bag
  void Take(const float* rows, std::span<const float> weights,
            std::span<const int32_t> positions);

  // What they became, zeros if there were none; then a new bag begins.
  //   out      of `type`: [dim]
  //   winners  int32   [dim], or null; only MAX has any
  // Both aligned to nothing.
  void Finish(std::byte* out, std::byte* winners,
              ElementType type = ElementType::kFloat32);

 private:
  const kernels::Kernels& kernels_;
  const Pooling pooling_;
  const bool has_padding_;
  std::vector<float> pooled_;
  std::vector<int32_t> winners_;
  int64_t row_count_ = 0;
};

// What the gradient of a bag is multiplied by for one of its ids: in double,
// to be cast once. MAX has no such scale.
//   row_count  ids of the bag that are not padding
//   weight     of the id; 1 where there are none
double OccurrenceScale(Pooling pooling, int64_t row_count, float weight);

}  // namespace quire
