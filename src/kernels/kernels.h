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

#include "kernels/stripes.h"

namespace quire::kernels {

// What a push changes of one row.
struct RowUpdate {
  float* values;              // [dim], aligned to 4
  float* state;               // [state floats], aligned to 4; null if none
  const std::byte* gradient;  // float32 [dim], aligned to nothing
};

// torch.optim.SGD without momentum:  w = fma(-lr, g, w)
struct SgdStep {
  float negative_lr;
};

// torch.optim.Adagrad, dense form; state [dim]:
//   h = fma(g, g, h);  w = w + (-clr * g) / (sqrt(h) + eps)
struct AdagradStep {
  float negative_clr;
  float eps;
};

// FBGEMM's exact row-wise Adagrad; state [1]:
//   h = h + sum(g * g) / dim;  w = fma(-(lr / (sqrt(h) + eps)), g, w)
struct RowwiseAdagradStep {
  float lr;
  float eps;
};

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

struct Kernels {
  // "scalar", "avx2", "avx512".
  const char* name;

  // The position of the first id outside [0, limit), or `count`.
  size_t (*first_out_of_range)(const int64_t* ids, size_t count, int64_t limit);

  // The position of the first NaN or infinity, or `count`.
  //   floats  [count], aligned to nothing
  size_t (*first_non_finite)(const std::byte* floats, size_t count);

  // sum[i] = sum[i] + x[i].
  //   x  [count], aligned to nothing
  void (*add)(float* sum, const std::byte* x, size_t count);

  // Copies rows, each whole. rows[count, count + ahead) are those that the
  // next call will copy: they are prefetched.
  //   rows  float32 [dim] each, aligned to 4
  //   out   float32 [count, dim], aligned to nothing
  void (*gather)(const float* const* rows, size_t count, size_t ahead,
                 size_t dim, Stripes* stripes, std::byte* out);

  // Copies rows[i] <- in[i, dim], each under its stripe.
  void (*scatter)(float* const* rows, size_t count, size_t dim,
                  Stripes* stripes, const std::byte* in);

  // One optimizer step of each row; no row twice, and the caller is the only
  // writer of these rows. rows[count, count + ahead) are prefetched. Before it
  // is used, -0.0 in a gradient becomes +0.0, as torch's sum from zero makes
  // it.
  void (*sgd)(const RowUpdate* rows, size_t count, size_t ahead, size_t dim,
              Stripes* stripes, SgdStep step);
  void (*adagrad)(const RowUpdate* rows, size_t count, size_t ahead, size_t dim,
                  Stripes* stripes, AdagradStep step);
  void (*rowwise_adagrad)(const RowUpdate* rows, size_t count, size_t ahead,
                          size_t dim, Stripes* stripes,
                          RowwiseAdagradStep step);

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
