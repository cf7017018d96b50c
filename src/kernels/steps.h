// What one optimizer step of many rows is told: the rows, the rules that hold
// for every optimizer, and each optimizer's numbers of this push.
//
// A row's step reads its stored values and state, works out new ones beside
// them, and stores them under the row's stripe:
//
//   w = max_norm ? renorm(w) : w;  g = maximize ? -g : g
//   (w, state) = formula(w, state, g)
//   stored, unless the new bytes are not finite and must be

#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/norm.h"
#include "kernels/stripes.h"

namespace quire::kernels {

// What a push changes of one row.
struct RowUpdate {
  float* values;              // [dim], aligned to 4
  float* state;               // [state floats], aligned to 4; null if none
  const std::byte* gradient;  // float32 [dim], aligned to nothing
};

// No row twice, and the caller is the only writer of these rows.
// rows[count, count + ahead) are not stepped but prefetched.
struct StepBatch {
  const RowUpdate* rows;
  size_t count;
  size_t ahead;
  size_t dim;
  size_t state_floats;
  Stripes* stripes;
  // StepScratchFloats(dim, state_floats) floats, which are the caller's alone.
  float* scratch;

  // 1, or -1 to ascend. Before it is used, -0.0 in a gradient becomes +0.0, as
  // torch's sum from zero makes it.
  float gradient_sign = 1.0f;
  // Leave a row, state and all, whose new bytes would not be finite.
  bool keep_finite = true;
  // Renormalise each row before it is stepped; null: do not.
  const Renorm* renorm = nullptr;
};

// New bytes of rows that are worked out together: they stay in the first cache.
inline constexpr size_t kStepFloats = 4096;

// Scratch of a StepBatch: new bytes, and one renormalised row.
size_t StepScratchFloats(size_t dim, size_t state_floats);

// Each formula stands in torch_optimizers.inc, fbgemm_optimizers.inc or
// ftrl.inc, beside its source; the names are those of its variables there. A
// state's parts follow one another: [dim] each unless it says [1].

// torch.optim.SGD; state: momentum_buffer if momentum != 0.
struct SgdStep {
  float negative_lr;
  float weight_decay = 0.0f;
  float momentum = 0.0f;
  float one_minus_dampening = 1.0f;
  bool nesterov = false;
  bool is_first = false;  // the table's first push
};

// torch.optim.Adagrad, dense form; state: sum.
struct AdagradStep {
  float negative_clr;
  float eps;
  float weight_decay = 0.0f;
};

// torch.optim.SparseAdam; state: exp_avg, exp_avg_sq.
struct SparseAdamStep {
  float one_minus_beta1;
  float one_minus_beta2;
  float negative_step_size;
  float eps;
};

// torch.optim.Adam and AdamW; state: exp_avg, exp_avg_sq, and
// max_exp_avg_sq if amsgrad.
struct AdamStep {
  float beta1;
  float one_minus_beta1;
  float beta2;
  float one_minus_beta2;
  float negative_step_size;  // -lr / (1 - beta1^t)
  float root_of_correction;  // sqrt(1 - beta2^t)
  float eps;
  float weight_decay = 0.0f;  // Adam's, into the gradient
  float shrink = 1.0f;        // AdamW's: 1 - lr * weight_decay
  bool amsgrad = false;
};

// FBGEMM's exact row-wise Adagrad; state: sum [1].
struct RowwiseAdagradStep {
  float lr;
  float eps;
  float gradient_decay = 0.0f;    // L2: weight_decay
  float decoupled_shrink = 1.0f;  // DECOUPLE: 1 - lr * weight_decay
};

// FBGEMM's row-wise RMSprop; state: v [1], the step of its last push [1].
struct RowwiseRmspropStep {
  float lr;
  float eps;
  float beta;
  float one_minus_beta;
  double lr_alpha;
  double min_shrinkage;
  int64_t step;
};

// FBGEMM's partial row-wise Adam; state: m, v [1].
struct PartialRowwiseAdamStep {
  float lr;
  float beta1;
  float one_minus_beta1;
  float beta2;
  float one_minus_beta2;
  float correction1;  // 1 - beta1^t
  float correction2;  // 1 - beta2^t
  float eps;
  float weight_decay;
};

// FBGEMM's LAMB and its partial row-wise form; state: m, v (partial: [1]).
using LambStep = PartialRowwiseAdamStep;

// FBGEMM's LARS over SGD; state: momentum_buffer.
struct LarsSgdStep {
  float lr_eta;
  float momentum;
  float weight_decay;
};

// TensorFlow's FTRL-proximal; state: accumulator n, linear z.
struct FtrlStep {
  float lr;
  float l1;
  float twice_l2;
  float beta;
  double power;  // -learning_rate_power
};

}  // namespace quire::kernels
