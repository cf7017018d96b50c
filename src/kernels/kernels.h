// The inner loops: one table of functions per instruction set, and all tables
// compute the same bytes.
//
// Each loop is written once, in loops.inc, and compiled three times: for any
// x86-64 ("scalar"), for AVX2 and for AVX-512. Elementwise arithmetic is
// IEEE 754 with explicit fused multiply-adds; every reduction goes through 16
// fixed lanes that are summed in a fixed order. So the tables agree byte for
// byte, and tests/kernels compares them.
//
// Rows are touched under their stripe (stripes.h) and prefetched ahead.
// Pointers are to rows and messages; nothing here allocates or fails.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/norm.h"
#include "kernels/steps.h"
#include "kernels/stripes.h"

namespace quire::kernels {

// What initial values are drawn from. Element d of row `id` comes from Philox
// block d / 4: counter {block, 0, id's low half, id's high half}, key = seed.
struct UniformFill {
  uint64_t seed;
  float low;
  float high;  // values are low + (high - low) * u, u in [0, 1) of 24 bits
};
struct NormalFill {
  uint64_t seed;
  float mean;
  float stddev;  // Box-Muller on pairs of the block's four words
};

// Of one type whose numbers take two bytes. A float is rounded to the nearest,
// ties to even, and beyond the largest to infinity; a NaN becomes the one quiet
// NaN, without a sign. All arrays are aligned to nothing.
struct HalfKernels {
  // out[i] = floats[i], rounded.
  void (*round)(const std::byte* floats, size_t count, std::byte* out);

  // out[i] = halves[i], exactly; a NaN is made quiet.
  void (*widen)(const std::byte* halves, size_t count, std::byte* out);

  // As Kernels::gather, and what is copied is rounded.
  //   out  [count, dim] of the type
  void (*gather)(const float* const* rows, size_t count, size_t ahead,
                 size_t dim, Stripes* stripes, std::byte* out);
};

struct Kernels {
  // "scalar", "avx2", "avx512".
  const char* name;

  // The position of the first id outside [0, limit), or `count`.
  size_t (*first_out_of_range)(const int64_t* ids, size_t count, int64_t limit);

  // The position of the first NaN or infinity, or `count`.
  //   floats  [count], aligned to nothing
  size_t (*first_non_finite)(const std::byte* floats, size_t count);

  // sum[i] = fma(x[i], scale, sum[i]).
  //   x  [count], aligned to nothing
  void (*add_scaled)(float* sum, const std::byte* x, float scale, size_t count);

  // sum[i] = sum[i] + x[i], where winners[i] == position.
  //   x  [count], aligned to nothing
  void (*add_where)(float* sum, const std::byte* x, const int32_t* winners,
                    int32_t position, size_t count);

  // Copies rows, each whole. rows[count, count + ahead) are those that the
  // next call will copy: they are prefetched.
  //   rows  float32 [dim] each, aligned to 4
  //   out   float32 [count, dim], aligned to nothing
  void (*gather)(const float* const* rows, size_t count, size_t ahead,
                 size_t dim, Stripes* stripes, std::byte* out);

  // The same, and each copy is renormalised; the rows are not.
  void (*gather_renormed)(const float* const* rows, size_t count, size_t ahead,
                          size_t dim, Stripes* stripes, const Renorm& renorm,
                          std::byte* out);

  // IEEE 754 binary16, and the upper half of a float32.
  HalfKernels float16;
  HalfKernels bfloat16;

  // Adds rows to a bag's sum, one after the other.
  //   rows     [count, dim]
  //   weights  [count], or null for all 1
  //   fused    whether a weighted row is added with one rounding or two
  void (*pool_sum)(float* sum, const float* rows, const float* weights,
                   bool fused, size_t count, size_t dim);

  // Takes rows into a bag's maximum. Of equal elements the first stays.
  //   largest    [dim]; if `is_first`, of no rows so far
  //   winners    [dim]: the position of the row that holds each element
  //   positions  [count]: of the rows
  void (*pool_max)(float* largest, int32_t* winners, const float* rows,
                   const int32_t* positions, size_t count, bool is_first,
                   size_t dim);

  // x[i] = x[i] / divisor.
  void (*divide)(float* x, float divisor, size_t count);

  // Copies rows[i] <- in[i, dim], each under its stripe.
  void (*scatter)(float* const* rows, size_t count, size_t dim,
                  Stripes* stripes, const std::byte* in);

  // One optimizer step of each row. Returns how many rows were left as they
  // were, because their new bytes were not finite.
  size_t (*sgd)(const StepBatch&, const SgdStep&);
  size_t (*adagrad)(const StepBatch&, const AdagradStep&);
  size_t (*sparse_adam)(const StepBatch&, const SparseAdamStep&);
  size_t (*adam)(const StepBatch&, const AdamStep&);
  size_t (*rowwise_adagrad)(const StepBatch&, const RowwiseAdagradStep&);
  size_t (*rowwise_rmsprop)(const StepBatch&, const RowwiseRmspropStep&);
  size_t (*partial_rowwise_adam)(const StepBatch&,
                                 const PartialRowwiseAdamStep&);
  size_t (*lamb)(const StepBatch&, const LambStep&);
  size_t (*partial_rowwise_lamb)(const StepBatch&, const LambStep&);
  size_t (*lars_sgd)(const StepBatch&, const LarsSgdStep&);
  size_t (*ftrl)(const StepBatch&, const FtrlStep&);

  // Initial values of one row; the caller is alone with it.
  //   out  [dim]
  void (*fill_uniform)(float* out, size_t dim, int64_t id, UniformFill fill);
  void (*fill_normal)(float* out, size_t dim, int64_t id, NormalFill fill);

  // sum of a[i] * b[i], through the 16 lanes.
  float (*dot)(const float* a, const float* b, size_t count);
  // sum of (a[i] - b[i])^2, through the 16 lanes.
  float (*squared_distance)(const float* a, const float* b, size_t count);
};

// How far ahead of a row in work the loops prefetch: 8 KB at dim 64.
inline constexpr size_t kPrefetchRows = 32;

// Runs on any x86-64.
const Kernels& ScalarKernels();
// Null where this CPU or its system lacks the instructions.
const Kernels* Avx2Kernels();
const Kernels* Avx512Kernels();

// The widest that runs here.
const Kernels& BestKernels();
// By name; null for an unknown one, and for one that does not run here.
const Kernels* KernelsByName(const char* name);

}  // namespace quire::kernels
