#include "row/renorm.h"

#include <cmath>

#include "base/faults.h"

namespace quire {
namespace {

kernels::NormKind KindOf(double norm_type) {
  if (norm_type == 2.0) {
    return kernels::NormKind::kTwo;
  }
  if (norm_type == 1.0) {
    return kernels::NormKind::kOne;
  }
  if (norm_type == 0.0) {
    return kernels::NormKind::kZero;
  }
  if (std::isinf(norm_type)) {
    return norm_type > 0 ? kernels::NormKind::kLargest
                         : kernels::NormKind::kSmallest;
  }
  return kernels::NormKind::kOther;
}

}  // namespace

kernels::Renorm RenormOf(double max_norm, double norm_type) {
  kernels::Renorm renorm = {.max_norm = max_norm,
                            .kind = KindOf(norm_type),
                            .p = static_cast<float>(norm_type)};
  if (QUIRE_FAULT("norm_type_ignored")) {
    renorm.kind = kernels::NormKind::kTwo;
  }
  if (QUIRE_FAULT("norm_not_strict")) {
    renorm.max_norm = std::nextafter(max_norm, 0.0);
  }
  if (QUIRE_FAULT("norm_without_epsilon")) {
    renorm.epsilon = 0.0;
  }
  return renorm;
}

}  // namespace quire
