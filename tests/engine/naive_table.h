// The oracle: a table as one would write it in five minutes, without shards,
// kernels or locks. SEMANTICS section 4.

#pragma once

#include <cmath>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "row/optimizer.h"

namespace quire::testing {

class NaiveTable {
 public:
  NaiveTable(std::vector<float> values, int64_t dim, const Optimizer& optimizer)
      : dim_(static_cast<size_t>(dim)),
        optimizer_(optimizer),
        values_(std::move(values)),
        state_(values_.size(),
               static_cast<float>(optimizer.initial_accumulator_value)) {}

  std::vector<float> Lookup(std::span<const int64_t> ids) const {
    std::vector<float> rows;
    for (const int64_t id : ids) {
      const float* row = &values_[static_cast<size_t>(id) * dim_];
      rows.insert(rows.end(), row, row + dim_);
    }
    return rows;
  }

  void Push(std::span<const int64_t> ids, std::span<const float> gradient,
            double learning_rate) {
    std::map<int64_t, std::vector<float>> sums;
    for (size_t i = 0; i < ids.size(); ++i) {
      std::vector<float>& sum = sums[ids[i]];
      sum.resize(dim_);
      for (size_t d = 0; d < dim_; ++d) {
        sum[d] += gradient[i * dim_ + d];
      }
    }
    ++step_;
    for (const auto& [id, sum] : sums) {
      Step(static_cast<size_t>(id) * dim_, sum, learning_rate);
    }
  }

 private:
  void Step(size_t row, const std::vector<float>& g, double lr) {
    const auto eps = static_cast<float>(optimizer_.eps);
    if (optimizer_.kind == OptimizerKind::kRowwiseAdagrad) {
      StepRowwise(row, g, lr, eps);
      return;
    }
    const auto clr = static_cast<float>(
        -lr / (1.0 + static_cast<double>(step_ - 1) * optimizer_.lr_decay));
    for (size_t d = 0; d < dim_; ++d) {
      float& w = values_[row + d];
      float& h = state_[row + d];
      if (optimizer_.kind == OptimizerKind::kSgd) {
        w = std::fma(static_cast<float>(-lr), g[d], w);
      } else {
        h = std::fma(g[d], g[d], h);
        w = w + (clr * g[d]) / (std::sqrt(h) + eps);
      }
    }
  }

  void StepRowwise(size_t row, const std::vector<float>& g, double lr,
                   float eps) {
    double squares = 0;
    for (const float x : g) {
      squares += double{x} * x;
    }
    float& h = state_[row];
    h += static_cast<float>(squares / static_cast<double>(dim_));
    const float scale = static_cast<float>(lr) / (std::sqrt(h) + eps);
    for (size_t d = 0; d < dim_; ++d) {
      values_[row + d] = std::fma(-scale, g[d], values_[row + d]);
    }
  }

  const size_t dim_;
  const Optimizer optimizer_;
  std::vector<float> values_;
  std::vector<float> state_;
  int64_t step_ = 0;
};

}  // namespace quire::testing
