// The ceiling for pushes: rows stepped where they lie, by the widest
// instructions of this machine, without a lock or a look at what comes out.

#pragma once

#include <cstddef>

#include "kernels/steps.h"

namespace quire::bench {

// Row-wise Adagrad as src/kernels/fbgemm_optimizers.inc has it, without weight
// decay. Rows may tear.
void StepPlainly(const kernels::RowUpdate* rows, size_t count, size_t dim,
                 const kernels::RowwiseAdagradStep& step);

}  // namespace quire::bench
