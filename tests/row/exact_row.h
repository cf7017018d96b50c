// One row in double precision, trained by the rules as their authors print
// them: torch.optim's documentation, FBGEMM's optimizers.py, TensorFlow's FTRL.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <vector>

#include "row/optimizer.h"

namespace quire::testing {

class ExactRow {
 public:
  ExactRow(std::vector<double> values, const Optimizer& optimizer)
      : w(std::move(values)),
        o_(optimizer),
        accumulator_(w.size(), optimizer.initial_accumulator_value),
        m_(w.size()),
        v_(w.size()),
        largest_(w.size()) {}

  // The table's push number `t` names this row.
  void Step(std::vector<double> g, double lr, int64_t t) {
    for (double& x : g) {
      x = o_.maximize ? -x : x;
    }
    const auto step = static_cast<double>(t);
    correction1_ = 1 - std::pow(o_.beta1, step);
    correction2_ = 1 - std::pow(o_.beta2, step);
    switch (o_.kind) {
      case OptimizerKind::kSgd:
        return Sgd(g, lr, t);
      case OptimizerKind::kAdagrad:
        return Adagrad(g, lr / (1 + (step - 1) * o_.lr_decay));
      case OptimizerKind::kSparseAdam:
      case OptimizerKind::kAdam:
      case OptimizerKind::kAdamW:
        return Adam(g, lr);
      case OptimizerKind::kRowwiseAdagrad:
        return RowwiseAdagrad(g, lr);
      case OptimizerKind::kRowwiseRmsprop:
        return RowwiseRmsprop(g, lr, t);
      case OptimizerKind::kPartialRowwiseAdam:
      case OptimizerKind::kLamb:
      case OptimizerKind::kPartialRowwiseLamb:
        return AdamsKin(g, lr);
      case OptimizerKind::kLarsSgd:
        return LarsSgd(g, lr);
      case OptimizerKind::kFtrl:
        return Ftrl(g, lr);
    }
  }

  std::vector<double> w;

 private:
  static double Norm(const std::vector<double>& x) {
    return std::sqrt(std::inner_product(x.begin(), x.end(), x.begin(), 0.0));
  }
  static double MeanSquare(const std::vector<double>& x) {
    return Norm(x) * Norm(x) / static_cast<double>(x.size());
  }

  void Sgd(const std::vector<double>& g, double lr, int64_t t) {
    for (size_t d = 0; d < w.size(); ++d) {
      const double decayed = g[d] + o_.weight_decay * w[d];
      double moved = decayed;
      if (o_.momentum != 0) {
        m_[d] = t == 1 ? decayed
                       : o_.momentum * m_[d] + (1 - o_.dampening) * decayed;
        moved = o_.nesterov ? decayed + o_.momentum * m_[d] : m_[d];
      }
      w[d] -= lr * moved;
    }
  }

  void Adagrad(const std::vector<double>& g, double clr) {
    for (size_t d = 0; d < w.size(); ++d) {
      const double decayed = g[d] + o_.weight_decay * w[d];
      accumulator_[d] += decayed * decayed;
      w[d] -= clr * decayed / (std::sqrt(accumulator_[d]) + o_.eps);
    }
  }

  void Adam(const std::vector<double>& g, double lr) {
    for (size_t d = 0; d < w.size(); ++d) {
      double gradient = g[d];
      if (o_.kind == OptimizerKind::kAdamW) {
        w[d] -= lr * o_.weight_decay * w[d];
      } else if (o_.kind == OptimizerKind::kAdam) {
        gradient += o_.weight_decay * w[d];
      }
      m_[d] = o_.beta1 * m_[d] + (1 - o_.beta1) * gradient;
      v_[d] = o_.beta2 * v_[d] + (1 - o_.beta2) * gradient * gradient;
      largest_[d] = std::max(largest_[d], v_[d]);
      const double v = o_.amsgrad ? largest_[d] : v_[d];
      if (o_.kind == OptimizerKind::kSparseAdam) {
        // eps is beside the root that is not corrected.
        const double rate = lr * std::sqrt(correction2_) / correction1_;
        w[d] -= rate * m_[d] / (std::sqrt(v) + o_.eps);
      } else {
        w[d] -= lr * (m_[d] / correction1_) /
                (std::sqrt(v / correction2_) + o_.eps);
      }
    }
  }

  void RowwiseAdagrad(const std::vector<double>& g, double lr) {
    const bool l2 = o_.weight_decay_mode == WeightDecayMode::kL2;
    const bool decoupled = o_.weight_decay_mode == WeightDecayMode::kDecouple;
    std::vector<double> decayed = g;
    for (size_t d = 0; d < w.size() && l2; ++d) {
      decayed[d] += o_.weight_decay * w[d];
    }
    accumulator_[0] += MeanSquare(decayed);
    const double multiplier = lr / (std::sqrt(accumulator_[0]) + o_.eps);
    const double kept = l2          ? 1 - multiplier * o_.weight_decay
                        : decoupled ? 1 - lr * o_.weight_decay
                                    : 1;
    for (size_t d = 0; d < w.size(); ++d) {
      w[d] = kept * w[d] - multiplier * g[d];
    }
  }

  void RowwiseRmsprop(const std::vector<double>& g, double lr, int64_t t) {
    const auto since = static_cast<double>(last_ == 0 ? 1 : t - last_);
    last_ = t;
    v_[0] = o_.beta * v_[0] + (1 - o_.beta) * MeanSquare(g);
    const double kept = std::max(
        o_.min_shrinkage, 1 - std::clamp(lr * o_.alpha * since, 0.0, 1.0));
    for (size_t d = 0; d < w.size(); ++d) {
      w[d] = kept * w[d] - lr / (std::sqrt(v_[0]) + o_.eps) * g[d];
    }
  }

  void AdamsKin(const std::vector<double>& g, double lr) {
    std::vector<double> r(w.size());
    const double mean = MeanSquare(g);
    for (size_t d = 0; d < w.size(); ++d) {
      const double square =
          o_.kind == OptimizerKind::kLamb ? g[d] * g[d] : mean;
      m_[d] = o_.beta1 * m_[d] + (1 - o_.beta1) * g[d];
      v_[d] = o_.beta2 * v_[d] + (1 - o_.beta2) * square;
      r[d] = m_[d] / correction1_ / (std::sqrt(v_[d] / correction2_) + o_.eps) +
             o_.weight_decay * w[d];
    }
    const double trust =
        o_.kind == OptimizerKind::kPartialRowwiseAdam ? 1 : Norm(w) / Norm(r);
    for (size_t d = 0; d < w.size(); ++d) {
      w[d] -= lr * trust * r[d];
    }
  }

  void LarsSgd(const std::vector<double>& g, double lr) {
    const double a =
        lr * o_.eta * Norm(w) / (Norm(g) + o_.weight_decay * Norm(w));
    for (size_t d = 0; d < w.size(); ++d) {
      m_[d] = o_.momentum * m_[d] + a * (g[d] + o_.weight_decay * w[d]);
      w[d] -= m_[d];
    }
  }

  void Ftrl(const std::vector<double>& g, double lr) {
    for (size_t d = 0; d < w.size(); ++d) {
      const double fresh = accumulator_[d] + g[d] * g[d];
      const double before = std::pow(accumulator_[d], -o_.learning_rate_power);
      const double after = std::pow(fresh, -o_.learning_rate_power);
      m_[d] += g[d] - (after - before) / lr * w[d];
      accumulator_[d] = fresh;
      const double sign = m_[d] > 0 ? 1 : -1;
      w[d] = std::abs(m_[d]) > o_.l1
                 ? (sign * o_.l1 - m_[d]) / ((o_.beta + after) / lr + 2 * o_.l2)
                 : 0;
    }
  }

  const Optimizer o_;
  std::vector<double> accumulator_;
  std::vector<double> m_;
  std::vector<double> v_;
  std::vector<double> largest_;
  int64_t last_ = 0;
  double correction1_ = 0;
  double correction2_ = 0;
};

}  // namespace quire::testing
