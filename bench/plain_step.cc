#include "bench/plain_step.h"

#include "kernels/kernels.h"
#include "kernels/rows.inc"
#include "kernels/vectors.inc"

namespace quire::bench {
namespace {

using namespace kernels;  // NOLINT: the loops' own names, in this file alone

// What of a row's step must wait for its gradient's sum of squares: worked out
// for some rows at a time, so that their latencies overlap.
constexpr size_t kRowsAtATime = 8;

float Multiplier(const RowUpdate& row, size_t dim,
                 const RowwiseAdagradStep& step) {
  const UnalignedFloat* g = FloatsOf(row.gradient);
  const float squares = SumThroughLanes(dim, [=](Lanes sum, auto at) {
    return FusedMultiplyAdd(at(g), at(g), sum);
  });
  row.state[0] += squares / static_cast<float>(dim);
  return step.lr / (__builtin_sqrtf(row.state[0]) + step.eps);
}

void StepRow(float* __restrict w, const UnalignedFloat* __restrict g,
             size_t dim, float multiplier) {
  for (size_t d = 0; d < dim; ++d) {
    w[d] = __builtin_fmaf(-multiplier, g[d], w[d]);
  }
}

}  // namespace

void StepPlainly(const RowUpdate* rows, size_t count, size_t dim,
                 const RowwiseAdagradStep& step) {
  float multipliers[kRowsAtATime];
  for (size_t begin = 0; begin < count; begin += kRowsAtATime) {
    const size_t block =
        count - begin < kRowsAtATime ? count - begin : kRowsAtATime;
    for (size_t i = 0; i < block; ++i) {
      if (begin + i + kPrefetchRows < count) {
        const RowUpdate& later = rows[begin + i + kPrefetchRows];
        Prefetch<true>(later.values, dim);
        Prefetch<true>(later.state, 1);
        Prefetch<false>(later.gradient, dim);
      }
      multipliers[i] = Multiplier(rows[begin + i], dim, step);
    }
    for (size_t i = 0; i < block; ++i) {
      const RowUpdate& row = rows[begin + i];
      StepRow(row.values, FloatsOf(row.gradient), dim, multipliers[i]);
    }
  }
}

void TouchRows(const RowUpdate* rows, size_t count, size_t dim,
               size_t state_floats, float nothing) {
  for (size_t i = 0; i < count; ++i) {
    if (i + kPrefetchRows < count) {
      const RowUpdate& later = rows[i + kPrefetchRows];
      Prefetch<true>(later.values, dim);
      Prefetch<true>(later.state, state_floats);
      Prefetch<false>(later.gradient, dim);
    }
    StepRow(rows[i].values, FloatsOf(rows[i].gradient), dim, nothing);
    for (size_t s = 0; s < state_floats; ++s) {
      rows[i].state[s] += nothing;
    }
  }
}

void AddPlainly(float* __restrict sum, const float* __restrict x,
                size_t count) {
  for (size_t i = 0; i < count; ++i) {
    sum[i] += x[i];
  }
}

}  // namespace quire::bench
