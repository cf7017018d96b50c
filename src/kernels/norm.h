// max_norm and norm_type of torch.nn.Embedding, as the loops take them.

#pragma once

#include <cstdint>

namespace quire::kernels {

enum class NormKind : uint8_t {
  kTwo,
  kOne,
  kZero,      // how many elements are not 0
  kLargest,   // p = inf
  kSmallest,  // p = -inf
  kOther,     // by powf: its last bits are those of this machine's libm
};

// A row whose norm exceeds max_norm is scaled to it:
//   s = (float)(max_norm / (norm + epsilon));  w = w * s
struct Renorm {
  double max_norm;
  NormKind kind;
  float p;  // of kOther
  double epsilon = 1e-7;
};

}  // namespace quire::kernels
