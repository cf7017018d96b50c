// How a row is born: its initial values are a pure function of the seed and
// the id, the same on any server, in any order, after any restart.

#pragma once

#include <cstdint>

#include "kernels/kernels.h"

namespace quire {

enum class InitializerKind : uint8_t { kConstant, kUniform, kNormal };

// Constant after construction; zeros are kConstant with a = 0.
struct Initializer {
  InitializerKind kind = InitializerKind::kNormal;
  float a = 0.0f;  // value | low  | mean
  float b = 1.0f;  //       | high | standard deviation
  uint64_t seed = 0;

  // Writes the initial values of row `id` to out[0, dim). The caller is alone
  // with the row.
  void Fill(const kernels::Kernels& kernels, int64_t id, float* out,
            int64_t dim) const;
};

}  // namespace quire
