// The compiled tables. Only kernels.cc, which knows the CPU, may hand them out.

#pragma once

#include "kernels/kernels.h"

namespace quire::kernels {

const Kernels& ScalarTable();
const Kernels& Avx2Table();
const Kernels& Avx512Table();

}  // namespace quire::kernels
