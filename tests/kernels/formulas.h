// Each optimizer's formula, written a second time: one row, element by element,
// in the kernels' order of operations. And the cases that tests step: every
// optimizer, with what its formula can be told.

#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "kernels/each_table.h"
#include "kernels/power.h"

namespace quire::kernels {

// One row: values, state, and the gradient as a formula sees it.
struct Row {
  std::vector<float> w;
  std::vector<float> s;
  std::vector<float> g;

  size_t dim() const { return w.size(); }
  float* part(size_t number) { return s.data() + number * w.size(); }
};

// --- Sums over a row, through the sixteen lanes ---

inline float LanesOfSquares(const std::vector<float>& x) {
  return SumOfLanes(
      x.size(), [&](size_t d, float sum) { return std::fma(x[d], x[d], sum); });
}

inline float MeanSquare(const std::vector<float>& x) {
  return LanesOfSquares(x) / static_cast<float>(x.size());
}

inline float LanesNorm(const std::vector<float>& x) {
  return std::sqrt(LanesOfSquares(x));
}

// --- torch ---

inline void AddDecay(Row& row, float weight_decay) {
  for (size_t d = 0; d < row.dim() && weight_decay != 0.0f; ++d) {
    row.g[d] = std::fma(weight_decay, row.w[d], row.g[d]);
  }
}

inline void Follow(const SgdStep& step, Row& row) {
  AddDecay(row, step.weight_decay);
  for (size_t d = 0; d < row.dim(); ++d) {
    float moved = row.g[d];
    if (step.momentum != 0.0f) {
      float& b = row.s[d];
      b = step.is_first
              ? row.g[d]
              : std::fma(step.one_minus_dampening, row.g[d], b * step.momentum);
      moved = step.nesterov ? std::fma(step.momentum, b, row.g[d]) : b;
    }
    row.w[d] = std::fma(step.negative_lr, moved, row.w[d]);
  }
}

inline void Follow(const AdagradStep& step, Row& row) {
  AddDecay(row, step.weight_decay);
  for (size_t d = 0; d < row.dim(); ++d) {
    row.s[d] = std::fma(row.g[d], row.g[d], row.s[d]);
    const float change =
        (step.negative_clr * row.g[d]) / (std::sqrt(row.s[d]) + step.eps);
    row.w[d] = row.w[d] + change;
  }
}

inline void Follow(const SparseAdamStep& step, Row& row) {
  for (size_t d = 0; d < row.dim(); ++d) {
    float& m = row.part(0)[d];
    float& v = row.part(1)[d];
    const float to_mean = (row.g[d] - m) * step.one_minus_beta1;
    const float to_square = (row.g[d] * row.g[d] - v) * step.one_minus_beta2;
    m = m + to_mean;
    v = v + to_square;
    const float direction = m / (std::sqrt(v) + step.eps);
    const float change = direction * step.negative_step_size;
    row.w[d] = row.w[d] + change;
  }
}

inline void Follow(const AdamStep& step, Row& row) {
  AddDecay(row, step.weight_decay);
  for (size_t d = 0; d < row.dim(); ++d) {
    const float g = row.g[d];
    float& m = row.part(0)[d];
    float& v = row.part(1)[d];
    m = std::fma(step.one_minus_beta1, g, m * step.beta1);
    v = std::fma(step.one_minus_beta2 * g, g, v * step.beta2);
    float used = v;
    if (step.amsgrad) {
      float& largest = row.part(2)[d];
      if (std::isnan(v) || v > largest) {
        largest = v;
      }
      used = largest;
    }
    const float root = std::sqrt(used) / step.root_of_correction + step.eps;
    const float kept = row.w[d] * step.shrink;
    const float change = (step.negative_step_size * m) / root;
    row.w[d] = kept + change;
  }
}

// --- FBGEMM ---

inline void Follow(const RowwiseAdagradStep& step, Row& row) {
  const std::vector<float> plain = row.g;
  AddDecay(row, step.gradient_decay);
  row.s[0] = row.s[0] + MeanSquare(row.g);
  const float k = step.lr / (std::sqrt(row.s[0]) + step.eps);
  const float shrink = step.gradient_decay != 0.0f
                           ? 1.0f - k * step.gradient_decay
                           : step.decoupled_shrink;
  for (size_t d = 0; d < row.dim(); ++d) {
    row.w[d] = std::fma(-k, plain[d], shrink * row.w[d]);
  }
}

// Steps are kept as 1 .. 2^24, again and again; what is no such number is
// never.
inline void Follow(const RowwiseRmspropStep& step, Row& row) {
  constexpr int64_t kTurn = 16777216;
  int64_t since = 1;
  if (row.s[1] >= 1.0f && row.s[1] <= 16777216.0f) {
    const int64_t last = static_cast<int64_t>(row.s[1]) % kTurn;
    since = (step.step % kTurn - last + kTurn) % kTurn;
    since = since == 0 ? kTurn : since;
  }
  row.s[0] =
      std::fma(step.one_minus_beta, MeanSquare(row.g), step.beta * row.s[0]);
  row.s[1] =
      static_cast<float>(step.step % kTurn == 0 ? kTurn : step.step % kTurn);
  const double lost = std::min(step.lr_alpha * static_cast<double>(since), 1.0);
  const auto shrink =
      static_cast<float>(std::max(step.min_shrinkage, 1.0 - lost));
  const float k = step.lr / (std::sqrt(row.s[0]) + step.eps);
  for (size_t d = 0; d < row.dim(); ++d) {
    row.w[d] = std::fma(-k, row.g[d], shrink * row.w[d]);
  }
}

inline float Moved(float old, float beta, float fresh, float one_minus_beta) {
  return std::fma(one_minus_beta, fresh, beta * old);
}

inline void Follow(const PartialRowwiseAdamStep& step, Row& row) {
  float& v = row.s[row.dim()];
  v = Moved(v, step.beta2, MeanSquare(row.g), step.one_minus_beta2);
  for (size_t d = 0; d < row.dim(); ++d) {
    float& m = row.s[d];
    m = Moved(m, step.beta1, row.g[d], step.one_minus_beta1);
    const float ratio =
        m / step.correction1 / (std::sqrt(v / step.correction2) + step.eps);
    const float direction = std::fma(step.weight_decay, row.w[d], ratio);
    row.w[d] = std::fma(-step.lr, direction, row.w[d]);
  }
}

inline void FollowLamb(const LambStep& step, bool is_partial, Row& row) {
  float* v = row.part(1);
  if (is_partial) {
    v[0] = Moved(v[0], step.beta2, MeanSquare(row.g), step.one_minus_beta2);
  }
  std::vector<float> r(row.dim());
  for (size_t d = 0; d < row.dim(); ++d) {
    const float g = row.g[d];
    row.s[d] = Moved(row.s[d], step.beta1, g, step.one_minus_beta1);
    if (!is_partial) {
      v[d] = Moved(v[d], step.beta2, g * g, step.one_minus_beta2);
    }
    const float used = is_partial ? v[0] : v[d];
    const float ratio = row.s[d] / step.correction1 /
                        (std::sqrt(used / step.correction2) + step.eps);
    r[d] = std::fma(step.weight_decay, row.w[d], ratio);
  }
  const float k = step.lr * (LanesNorm(row.w) / LanesNorm(r));
  for (size_t d = 0; d < row.dim(); ++d) {
    row.w[d] = std::fma(-k, r[d], row.w[d]);
  }
}

inline void Follow(const LarsSgdStep& step, Row& row) {
  const float norm = LanesNorm(row.w);
  const float a =
      step.lr_eta * norm / std::fma(step.weight_decay, norm, LanesNorm(row.g));
  for (size_t d = 0; d < row.dim(); ++d) {
    const float decayed = std::fma(step.weight_decay, row.w[d], row.g[d]);
    row.s[d] = std::fma(a, decayed, step.momentum * row.s[d]);
    row.w[d] = row.w[d] - row.s[d];
  }
}

// --- TensorFlow ---

inline void Follow(const FtrlStep& step, Row& row) {
  const auto power = [&](float x) {
    return step.power == 0.5 ? std::sqrt(x) : PowerOf(x, step.power);
  };
  for (size_t d = 0; d < row.dim(); ++d) {
    float& n = row.part(0)[d];
    float& z = row.part(1)[d];
    const float before = power(n);
    n = std::fma(row.g[d], row.g[d], n);
    const float after = power(n);
    const float sigma = (after - before) / step.lr;
    const float added = z + row.g[d];
    z = added - sigma * row.w[d];
    if (std::abs(z) <= step.l1) {
      row.w[d] = 0.0f;
      continue;
    }
    const float numerator = std::copysign(step.l1, z) - z;
    row.w[d] = numerator / ((step.beta + after) / step.lr + step.twice_l2);
  }
}

// --- The cases ---

// One optimizer with some numbers.
struct Case {
  std::string name;
  // Floats of state: so many parts of [dim], and so many more.
  size_t parts;
  size_t floats;
  std::function<size_t(const Kernels&, const StepBatch&)> step;
  std::function<void(Row&)> follow;

  size_t StateFloats(size_t dim) const { return parts * dim + floats; }
};

template <typename Numbers>
Case CaseOf(std::string name, size_t parts, size_t floats,
            size_t (*Kernels::*kernel)(const StepBatch&, const Numbers&),
            Numbers numbers) {
  return {.name = std::move(name),
          .parts = parts,
          .floats = floats,
          .step =
              [=](const Kernels& table, const StepBatch& batch) {
                return (table.*kernel)(batch, numbers);
              },
          .follow = [=](Row& row) { Follow(numbers, row); }};
}

inline Case LambCase(std::string name, bool is_partial, LambStep numbers) {
  Case lamb = is_partial
                  ? CaseOf(std::move(name), 1, 1,
                           &Kernels::partial_rowwise_lamb, numbers)
                  : CaseOf(std::move(name), 2, 0, &Kernels::lamb, numbers);
  lamb.follow = [=](Row& row) { FollowLamb(numbers, is_partial, row); };
  return lamb;
}

inline std::vector<Case> TorchCases() {
  const AdamStep adam = {.beta1 = 0.9f,
                         .one_minus_beta1 = 0.1f,
                         .beta2 = 0.999f,
                         .one_minus_beta2 = 0.001f,
                         .negative_step_size = -0.02f,
                         .root_of_correction = 0.3f,
                         .eps = 1e-8f};
  const auto with = [](auto step, auto change) {
    change(step);
    return step;
  };
  return {
      CaseOf("Sgd", 0, 0, &Kernels::sgd, {.negative_lr = -0.07f}),
      CaseOf("SgdDecay", 0, 0, &Kernels::sgd,
             {.negative_lr = -0.07f, .weight_decay = 0.1f}),
      CaseOf("SgdMomentum", 1, 0, &Kernels::sgd,
             {.negative_lr = -0.07f, .momentum = 0.9f}),
      CaseOf("SgdDampenedDecay", 1, 0, &Kernels::sgd,
             {.negative_lr = -0.07f,
              .weight_decay = 0.1f,
              .momentum = 0.9f,
              .one_minus_dampening = 0.7f}),
      CaseOf("SgdNesterovDecay", 1, 0, &Kernels::sgd,
             {.negative_lr = -0.07f,
              .weight_decay = 0.1f,
              .momentum = 0.9f,
              .nesterov = true}),
      CaseOf("SgdFirstDampened", 1, 0, &Kernels::sgd,
             {.negative_lr = -0.07f,
              .weight_decay = 0.1f,
              .momentum = 0.9f,
              .one_minus_dampening = 0.7f,
              .is_first = true}),
      CaseOf("SgdFirstNesterov", 1, 0, &Kernels::sgd,
             {.negative_lr = -0.07f,
              .momentum = 0.9f,
              .nesterov = true,
              .is_first = true}),
      CaseOf("Adagrad", 1, 0, &Kernels::adagrad,
             {.negative_clr = -0.07f, .eps = 1e-10f}),
      CaseOf("AdagradDecay", 1, 0, &Kernels::adagrad,
             {.negative_clr = -0.07f, .eps = 1e-10f, .weight_decay = 0.1f}),
      CaseOf("SparseAdam", 2, 0, &Kernels::sparse_adam,
             {.one_minus_beta1 = 0.1f,
              .one_minus_beta2 = 0.001f,
              .negative_step_size = -0.02f,
              .eps = 1e-8f}),
      CaseOf("Adam", 2, 0, &Kernels::adam, adam),
      CaseOf("AdamDecay", 2, 0, &Kernels::adam,
             with(adam, [](AdamStep& s) { s.weight_decay = 0.1f; })),
      CaseOf("AdamW", 2, 0, &Kernels::adam,
             with(adam, [](AdamStep& s) { s.shrink = 0.98f; })),
      CaseOf("Amsgrad", 3, 0, &Kernels::adam,
             with(adam, [](AdamStep& s) { s.amsgrad = true; })),
  };
}

inline std::vector<Case> OtherCases() {
  const PartialRowwiseAdamStep kin = {.lr = 0.07f,
                                      .beta1 = 0.9f,
                                      .one_minus_beta1 = 0.1f,
                                      .beta2 = 0.999f,
                                      .one_minus_beta2 = 0.001f,
                                      .correction1 = 0.2f,
                                      .correction2 = 0.002f,
                                      .eps = 1e-8f,
                                      .weight_decay = 0.1f};
  const auto rmsprop = [](int64_t step, double min_shrinkage) {
    return RowwiseRmspropStep{.lr = 0.07f,
                              .eps = 1e-8f,
                              .beta = 0.9f,
                              .one_minus_beta = 0.1f,
                              .lr_alpha = 0.01,
                              .min_shrinkage = min_shrinkage,
                              .step = step};
  };
  const auto ftrl = [](double power) {
    return FtrlStep{.lr = 0.07f,
                    .l1 = 0.5f,
                    .twice_l2 = 0.1f,
                    .beta = 0.2f,
                    .power = power};
  };
  return {
      CaseOf("RowwiseAdagrad", 0, 1, &Kernels::rowwise_adagrad,
             {.lr = 0.07f, .eps = 1e-8f}),
      CaseOf("RowwiseAdagradL2", 0, 1, &Kernels::rowwise_adagrad,
             {.lr = 0.07f, .eps = 1e-8f, .gradient_decay = 0.1f}),
      CaseOf("RowwiseAdagradDecoupled", 0, 1, &Kernels::rowwise_adagrad,
             {.lr = 0.07f, .eps = 1e-8f, .decoupled_shrink = 0.99f}),
      CaseOf("RowwiseRmsprop", 0, 2, &Kernels::rowwise_rmsprop,
             rmsprop(5, 0.0)),
      CaseOf("RowwiseRmspropLate", 0, 2, &Kernels::rowwise_rmsprop,
             rmsprop((int64_t{1} << 24) + 3, 0.25)),
      CaseOf("PartialRowwiseAdam", 1, 1, &Kernels::partial_rowwise_adam, kin),
      LambCase("Lamb", false, kin),
      LambCase("PartialRowwiseLamb", true, kin),
      CaseOf("LarsSgd", 1, 0, &Kernels::lars_sgd,
             {.lr_eta = 0.01f, .momentum = 0.9f, .weight_decay = 0.1f}),
      CaseOf("Ftrl", 2, 0, &Kernels::ftrl, ftrl(0.5)),
      CaseOf("FtrlOtherPower", 2, 0, &Kernels::ftrl, ftrl(0.3)),
      CaseOf("FtrlPowerZero", 2, 0, &Kernels::ftrl, ftrl(0.0)),
  };
}

inline const std::vector<Case>& AllCases() {
  static const std::vector<Case> cases = [] {
    std::vector<Case> all = TorchCases();
    for (Case& other : OtherCases()) {
      all.push_back(std::move(other));
    }
    return all;
  }();
  return cases;
}

}  // namespace quire::kernels
