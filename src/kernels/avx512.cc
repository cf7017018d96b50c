// The loops for AVX-512 (F, BW, VL, DQ). The flags are in src/CMakeLists.txt.

#include "kernels/loops.inc"
#include "kernels/tables.h"

namespace quire::kernels {

const Kernels& Avx512Table() {
  static constexpr Kernels kTable = TableNamed("avx512");
  return kTable;
}

}  // namespace quire::kernels
