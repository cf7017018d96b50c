// The loops of src/kernels without their locks: rows may tear. What the locks
// cost is the difference.

#pragma once

#include "kernels/kernels.h"

namespace quire::kernels {

const Kernels& UnlockedKernels();

}  // namespace quire::kernels
