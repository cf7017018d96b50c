#include "kernels/kernels.h"

#include <cpuid.h>

#include <algorithm>
#include <cstring>
#include <initializer_list>

#include "kernels/tables.h"

namespace quire::kernels {
namespace {

// clang 14 does not know the name for __builtin_cpu_supports.
bool HasF16c() {
  unsigned int eax = 0;
  unsigned int ebx = 0;
  unsigned int ecx = 0;
  unsigned int edx = 0;
  return __get_cpuid(1, &eax, &ebx, &ecx, &edx) != 0 && (ecx & bit_F16C) != 0;
}

// __builtin_cpu_supports also asks whether the system saves the registers.
bool RunsAvx2() {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         HasF16c();
}

bool RunsAvx512() {
  return RunsAvx2() && __builtin_cpu_supports("avx512f") &&
         __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512dq");
}

}  // namespace

size_t StepScratchFloats(size_t dim, size_t state_floats) {
  return std::max(kStepFloats, dim + state_floats) + dim;
}

const Kernels& ScalarKernels() { return ScalarTable(); }

const Kernels* Avx2Kernels() { return RunsAvx2() ? &Avx2Table() : nullptr; }

const Kernels* Avx512Kernels() {
  return RunsAvx512() ? &Avx512Table() : nullptr;
}

const Kernels& BestKernels() {
  if (const Kernels* kernels = Avx512Kernels()) {
    return *kernels;
  }
  if (const Kernels* kernels = Avx2Kernels()) {
    return *kernels;
  }
  return ScalarKernels();
}

const Kernels* KernelsByName(const char* name) {
  for (const Kernels* kernels :
       {&ScalarKernels(), Avx2Kernels(), Avx512Kernels()}) {
    if (kernels != nullptr && std::strcmp(name, kernels->name) == 0) {
      return kernels;
    }
  }
  return nullptr;
}

}  // namespace quire::kernels
