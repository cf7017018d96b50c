#include "bench/ratios/optimizers.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/memory.h"
#include "bench/plain_step.h"
#include "bench/ratios/process.h"
#include "bench/ratios/workloads.h"
#include "kernels/kernels.h"
#include "row/optimizer.h"

namespace quire::bench {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kRowBytes = kW4.dim * sizeof(float);
// The gradients of so many pushes are more than any cache holds.
constexpr size_t kPushes = 128;

// What the optimizers of this list have beside their defaults.
Optimizer Common(OptimizerKind kind) {
  Optimizer optimizer;
  optimizer.kind = kind;
  optimizer.eps = 1e-8;
  optimizer.beta = 0.9;
  optimizer.beta1 = 0.9;
  optimizer.beta2 = 0.999;
  optimizer.eta = 1e-3;
  optimizer.l2 = 0.1;
  optimizer.learning_rate_power = -0.5;
  return optimizer;
}

Optimizer WithMomentum(OptimizerKind kind) {
  Optimizer optimizer = Common(kind);
  optimizer.momentum = 0.9;
  return optimizer;
}

Optimizer WithAmsgrad() {
  Optimizer optimizer = Common(OptimizerKind::kAdam);
  optimizer.amsgrad = true;
  return optimizer;
}

struct Entry {
  MeasuredOptimizer measured;
  Optimizer optimizer;
};

const std::vector<Entry>& Entries() {
  static const std::vector<Entry> entries = {
      {{"sgd", 0.6}, Common(OptimizerKind::kSgd)},
      {{"sgd_momentum", 0}, WithMomentum(OptimizerKind::kSgd)},
      {{"adagrad", 0.6}, Common(OptimizerKind::kAdagrad)},
      {{"rowwise_adagrad", 0.6}, Common(OptimizerKind::kRowwiseAdagrad)},
      {{"sparse_adam", 0.6}, Common(OptimizerKind::kSparseAdam)},
      {{"adam", 0}, Common(OptimizerKind::kAdam)},
      {{"amsgrad", 0}, WithAmsgrad()},
      {{"rowwise_rmsprop", 0}, Common(OptimizerKind::kRowwiseRmsprop)},
      {{"partial_rowwise_adam", 0}, Common(OptimizerKind::kPartialRowwiseAdam)},
      {{"lamb", 0}, Common(OptimizerKind::kLamb)},
      {{"partial_rowwise_lamb", 0}, Common(OptimizerKind::kPartialRowwiseLamb)},
      {{"lars_sgd", 0}, WithMomentum(OptimizerKind::kLarsSgd)},
      {{"ftrl", 0}, Common(OptimizerKind::kFtrl)},
  };
  return entries;
}

const Optimizer& OptimizerNamed(std::string_view name) {
  return std::ranges::find(
             Entries(), name,
             [](const Entry& entry) { return entry.measured.name; })
      ->optimizer;
}

// Floats on the same kind of pages as a table's.
class FloatPages {
 public:
  FloatPages(size_t count, float value)
      : pages_(*Pages::Map(count * sizeof(float))), count_(count) {
    pages_.Populate(0, pages_.size());
    std::fill_n(data(), count, value);
  }

  float* data() const { return reinterpret_cast<float*>(pages_.data()); }
  size_t count() const { return count_; }

 private:
  const Pages pages_;
  const size_t count_;
};

// `run` again and again for `duration`; bytes per second of what it returns.
template <typename Run>
double BytesPerSecond(std::chrono::nanoseconds duration, Run run) {
  const Clock::time_point begin = Clock::now();
  double bytes = 0;
  Clock::time_point now;
  do {
    bytes += static_cast<double>(run());
    now = Clock::now();
  } while (now - begin < duration);
  return bytes / std::chrono::duration<double>(now - begin).count();
}

class Steps {
 public:
  explicit Steps(const Optimizer& optimizer)
      : step_{.optimizer = optimizer, .learning_rate = 1e-4, .step = 1000},
        state_floats_(static_cast<size_t>(
            optimizer.StateFloats(static_cast<int64_t>(kW4.dim)))),
        values_(static_cast<size_t>(kRows) * kW4.dim, 1.0f),
        state_(static_cast<size_t>(kRows) * state_floats_ + 1, 0.0f),
        gradients_(kPushes * kW4.floats(), 1e-3f),
        scratch_(kernels::StepScratchFloats(kW4.dim, state_floats_)) {
    Batches batches(kW4, 0);
    for (size_t push = 0; push < kPushes; ++push) {
      for (const int64_t id : batches.Next()) {
        AddRow(static_cast<size_t>(id));
      }
    }
  }

  // One push; the bytes that it moved.
  size_t Push() {
    const size_t begin = next_push_ * kW4.ids;
    next_push_ = (next_push_ + 1) % kPushes;
    const size_t behind = rows_.size() - begin - kW4.ids;
    const size_t left =
        step_.Apply(kernels::BestKernels(),
                    {.rows = rows_.data() + begin,
                     .count = kW4.ids,
                     .ahead = std::min(behind, kernels::kPrefetchRows),
                     .dim = kW4.dim,
                     .state_floats = state_floats_,
                     .stripes = stripes_.get(),
                     .scratch = scratch_.data()});
    if (left != 0) {
      Die("a row of the benchmark is not finite");
    }
    return PushBytes();
  }

  // The same bytes of the same rows, which keep their numbers.
  size_t Touch() {
    TouchRows(rows_.data() + next_push_ * kW4.ids, kW4.ids, kW4.dim,
              state_floats_, /*nothing=*/0.0f);
    next_push_ = (next_push_ + 1) % kPushes;
    return PushBytes();
  }

 private:
  size_t PushBytes() const {
    return kW4.ids * (3 * kRowBytes + 2 * state_floats_ * sizeof(float));
  }

  void AddRow(size_t id) {
    const float* gradient = gradients_.data() + rows_.size() * kW4.dim;
    rows_.push_back({.values = values_.data() + id * kW4.dim,
                     .state = state_.data() + id * state_floats_,
                     .gradient = reinterpret_cast<const std::byte*>(gradient)});
  }

  const OptimizerStep step_;
  const size_t state_floats_;
  const FloatPages values_;
  const FloatPages state_;
  const FloatPages gradients_;
  std::vector<float> scratch_;
  const std::unique_ptr<kernels::Stripes> stripes_ =
      std::make_unique<kernels::Stripes>();
  std::vector<kernels::RowUpdate> rows_;
  size_t next_push_ = 0;
};

// One long array onto another, again and again.
class Addition {
 public:
  // A piece; the bytes that it moved.
  size_t Add() {
    AddPlainly(sum_.data() + begin_, x_.data() + begin_, kPiece);
    begin_ = (begin_ + kPiece) % kFloats;
    return 3 * kPiece * sizeof(float);
  }

 private:
  // As many values as a table of W4 has, in pieces of 4 MiB.
  static constexpr size_t kPiece = size_t{1} << 20;
  static constexpr size_t kFloats = kPiece * 61;
  static_assert(kFloats / kW4.dim <= size_t{kRows});

  const FloatPages sum_{kFloats, 1.0f};
  const FloatPages x_{kFloats, 1e-3f};
  size_t begin_ = 0;
};

}  // namespace

std::span<const MeasuredOptimizer> MeasuredOptimizers() {
  static const std::vector<MeasuredOptimizer> measured = [] {
    std::vector<MeasuredOptimizer> all;
    for (const Entry& entry : Entries()) {
      all.push_back(entry.measured);
    }
    return all;
  }();
  return measured;
}

std::vector<Measured> MeasureOptimizer(const MeasuredOptimizer& optimizer,
                                       const PairPlan& plan) {
  Steps steps(OptimizerNamed(optimizer.name));
  Addition addition;
  const Figure bandwidth = {
      .name = fmt::format("optimizer_{}_bandwidth", optimizer.name),
      .gate = optimizer.gate,
      .unit = "GB/s",
      .unit_size = 1e9};
  Figure sequential = bandwidth;
  sequential.name = fmt::format("optimizer_{}_sequential", optimizer.name);
  sequential.gate = 0;
  return MeasurePairs(
      {bandwidth, sequential},
      [&](auto duration) {
        return Rates(2, BytesPerSecond(duration, [&] { return steps.Push(); }));
      },
      [&](auto duration) {
        return Rates{
            BytesPerSecond(duration / 2, [&] { return steps.Touch(); }),
            BytesPerSecond(duration / 2, [&] { return addition.Add(); })};
      },
      plan);
}

}  // namespace quire::bench
