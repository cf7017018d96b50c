// The loops for any x86-64. The flags are in src/CMakeLists.txt.

#include "kernels/loops.inc"
#include "kernels/tables.h"

namespace quire::kernels {

const Kernels& ScalarTable() {
  static constexpr Kernels kTable = TableNamed("scalar");
  return kTable;
}

}  // namespace quire::kernels
