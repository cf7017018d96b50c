// The loops for AVX2 with FMA and F16C. The flags are in src/CMakeLists.txt.

#include "kernels/loops.inc"
#include "kernels/tables.h"

namespace quire::kernels {

const Kernels& Avx2Table() {
  static constexpr Kernels kTable = TableNamed("avx2");
  return kTable;
}

}  // namespace quire::kernels
