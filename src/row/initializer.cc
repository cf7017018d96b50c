#include "row/initializer.h"

#include <algorithm>

namespace quire {

void Initializer::Fill(const kernels::Kernels& kernels, int64_t id, float* out,
                       int64_t dim) const {
  const size_t count = static_cast<size_t>(dim);
  switch (kind) {
    case InitializerKind::kConstant:
      std::fill_n(out, count, a);
      return;
    case InitializerKind::kUniform:
      kernels.fill_uniform(out, count, id, {.seed = seed, .low = a, .high = b});
      return;
    case InitializerKind::kNormal:
      kernels.fill_normal(out, count, id,
                          {.seed = seed, .mean = a, .stddev = b});
      return;
  }
}

}  // namespace quire
