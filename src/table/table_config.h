// What a table is made of: its size, and the rules that its rows live by.

#pragma once

#include <cstdint>
#include <optional>

#include "row/initializer.h"
#include "row/optimizer.h"

namespace quire {

// What a push does with NaN and infinity. RULINGS 2.
enum class NonFinitePolicy : uint8_t { kReject, kSkipRow, kAllow };

// The bound on a push's gradients, once duplicates are summed.
struct GradientClip {
  enum class Kind : uint8_t { kNone, kValue, kRowNorm, kPushNorm };
  Kind kind = Kind::kNone;
  double bound = 0.0;
};

struct TableConfig {
  int64_t num_embeddings = 0;  // rows
  int64_t dim = 0;             // floats in a row
  int32_t shard_count = 0;     // a power of two
  Initializer initializer;
  Optimizer optimizer;
  // torch.nn.Embedding's; padding_idx in [0, num_embeddings).
  std::optional<int64_t> padding_idx;
  std::optional<double> max_norm;
  double norm_type = 2.0;
  bool scale_grad_by_freq = false;
  NonFinitePolicy non_finite_policy = NonFinitePolicy::kReject;
  GradientClip clip;
};

}  // namespace quire
