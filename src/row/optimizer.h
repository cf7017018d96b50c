// How a row is trained: one rule per optimizer, one entry per rule.
//
// docs/OPTIMIZERS.md says how to add one.

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/kernels.h"

namespace quire {

enum class OptimizerKind : uint8_t {
  kSgd,
  kAdagrad,
  kRowwiseAdagrad,
  kSparseAdam,
  kAdam,
  kAdamW,
  kRowwiseRmsprop,
  kPartialRowwiseAdam,
  kLamb,
  kPartialRowwiseLamb,
  kLarsSgd,
  kFtrl,
};

enum class WeightDecayMode : uint8_t { kNone, kL2, kDecouple };

// An optimizer and its hyperparameters, under their names in table.proto:
// doubles, cast to float once per push (SEMANTICS D4). Those that a rule does
// not have are not read.
struct Optimizer {
  OptimizerKind kind = OptimizerKind::kSgd;
  double momentum = 0.0;
  double dampening = 0.0;
  double weight_decay = 0.0;
  double lr_decay = 0.0;
  double initial_accumulator_value = 0.0;
  double eps = 0.0;
  double beta = 0.0;
  double beta1 = 0.0;
  double beta2 = 0.0;
  double alpha = 0.0;
  double min_shrinkage = 0.0;
  double eta = 0.0;
  double l1 = 0.0;
  double l2 = 0.0;
  double learning_rate_power = 0.0;
  bool nesterov = false;
  bool maximize = false;
  bool amsgrad = false;
  // Scope: every row moves with every push, as in torch's dense step.
  bool all_rows = false;
  WeightDecayMode weight_decay_mode = WeightDecayMode::kNone;

  // Floats of state beside each row of `dim` values; 0 for none. What they are
  // and in which order: docs/OPTIMIZERS.md.
  int64_t StateFloats(int64_t dim) const;
  // What they are, in their order.
  struct StatePart {
    std::string_view name;
    int64_t floats = 0;
  };
  std::vector<StatePart> StateParts(int64_t dim) const;
  // Writes the state of a new row of `dim` values.
  //   state  [StateFloats(dim)]
  void FillInitialState(std::span<float> state, int64_t dim) const;
  // "sgd"
  std::string_view name() const;
};

// What one push does to a table's rows, the same on every shard.
struct OptimizerStep {
  Optimizer optimizer;
  double learning_rate = 0.0;
  // The table's step count, this push included: 1 on the first.
  int64_t step = 1;

  // Steps the rows of a batch, whose rules for all optimizers are set; returns
  // how many were left as they were (kernels::StepBatch).
  size_t Apply(const kernels::Kernels& kernels, kernels::StepBatch batch) const;
};

}  // namespace quire
