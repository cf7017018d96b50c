// Which loops are those of an element type.

#pragma once

#include "kernels/kernels.h"
#include "tensor/element_type.h"

namespace quire {

// Of FLOAT16 or BFLOAT16; null for FLOAT32, which needs none.
inline const kernels::HalfKernels* HalfKernelsOf(
    const kernels::Kernels& kernels, ElementType type) {
  switch (type) {
    case ElementType::kFloat16:
      return &kernels.float16;
    case ElementType::kBfloat16:
      return &kernels.bfloat16;
    case ElementType::kUnspecified:
    case ElementType::kFloat32:
      break;
  }
  return nullptr;
}

}  // namespace quire
