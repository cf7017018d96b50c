// The ceilings for pushes, by the widest instructions of this machine: rows
// stepped where they lie, without a lock or a look at what comes out; and the
// plainest loop over memory.

#pragma once

#include <cstddef>

#include "kernels/steps.h"

namespace quire::bench {

// Row-wise Adagrad as src/kernels/fbgemm_optimizers.inc has it, without weight
// decay. Rows may tear.
void StepPlainly(const kernels::RowUpdate* rows, size_t count, size_t dim,
                 const kernels::RowwiseAdagradStep& step);

// Reads and writes the values and the state of rows and reads their gradients,
// and does nothing else: what memory carries at these places.
//   nothing  0: a compiler must not know
void TouchRows(const kernels::RowUpdate* rows, size_t count, size_t dim,
               size_t state_floats, float nothing);

// sum[i] = sum[i] + x[i]: what memory carries when nothing waits for it. Three
// floats are moved for each.
void AddPlainly(float* sum, const float* x, size_t count);

}  // namespace quire::bench
