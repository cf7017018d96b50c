// A push made ready as RULINGS 2 says it, in plain loops over copies.

#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <optional>
#include <span>
#include <vector>

#include "table/gradient_batch.h"

namespace quire::testing {

// A part of a push with its numbers in plain arrays.
struct PlainPart {
  std::vector<int64_t> ids;
  std::vector<float> gradient;
  std::optional<double> gradient_scale;
  // Empty: no bags.
  std::vector<int64_t> offsets;
  Pooling pooling = Pooling::kSum;
  std::vector<float> weights;
  std::vector<int32_t> winners;
};

struct PlainBatch {
  bool refused = false;
  std::vector<int64_t> ids;
  std::map<int64_t, std::vector<float>> gradients;
  int64_t padding_dropped = 0;
  int64_t rows_skipped = 0;
};

class NaiveBatch {
 public:
  NaiveBatch(std::span<const PlainPart> parts, const TableConfig& config)
      : config_(config), dim_(static_cast<size_t>(config.dim)) {
    for (const PlainPart& part : parts) {
      Bring(part);
    }
    if (!batch_.refused) {
      Drop();
      Sum();
      Clip();
    }
  }

  const PlainBatch& batch() const { return batch_; }

 private:
  struct Occurrence {
    int64_t id;
    std::vector<float> gradient;  // empty: dropped as it is not finite
    double scale = 1.0;
  };

  static bool IsFinite(const std::vector<float>& row) {
    return std::ranges::all_of(row, [](float x) { return std::isfinite(x); });
  }

  std::vector<float> RowOf(const PlainPart& part, size_t row) {
    std::vector<float> gradient(dim_);
    for (size_t d = 0; d < dim_; ++d) {
      const float came = part.gradient[row * dim_ + d];
      gradient[d] = part.gradient_scale
                        ? came * static_cast<float>(*part.gradient_scale)
                        : came;
    }
    if (config_.non_finite_policy != NonFinitePolicy::kAllow &&
        !IsFinite(gradient)) {
      batch_.refused |= config_.non_finite_policy == NonFinitePolicy::kReject;
      return {};
    }
    return gradient;
  }

  void Bring(const PlainPart& part) {
    if (part.offsets.empty()) {
      for (size_t i = 0; i < part.ids.size(); ++i) {
        occurrences_.push_back({part.ids[i], RowOf(part, i)});
      }
      return;
    }
    for (size_t bag = 0; bag + 1 < part.offsets.size(); ++bag) {
      BringBag(part, bag);
    }
  }

  void BringBag(const PlainPart& part, size_t bag) {
    const auto begin = static_cast<size_t>(part.offsets[bag]);
    const auto end = static_cast<size_t>(part.offsets[bag + 1]);
    double rows = 0;
    for (size_t i = begin; i < end; ++i) {
      rows += part.ids[i] == config_.padding_idx ? 0 : 1;
    }
    const std::vector<float> gradient = RowOf(part, bag);
    for (size_t i = begin; i < end; ++i) {
      Occurrence occurrence = {part.ids[i], gradient};
      if (part.pooling == Pooling::kMean) {
        occurrence.scale = 1.0 / std::max(rows, 1.0);
      } else if (part.pooling == Pooling::kSqrtn) {
        occurrence.scale = 1.0 / std::sqrt(std::max(rows, 1.0));
      } else if (!part.weights.empty()) {
        occurrence.scale = part.weights[i];
      }
      for (size_t d = 0; d < gradient.size(); ++d) {
        if (part.pooling == Pooling::kMax &&
            part.winners[bag * dim_ + d] != static_cast<int32_t>(i - begin)) {
          occurrence.gradient[d] = 0.0f;
        }
      }
      occurrences_.push_back(occurrence);
    }
  }

  void Drop() {
    std::vector<Occurrence> kept;
    for (const Occurrence& occurrence : occurrences_) {
      if (occurrence.id == config_.padding_idx) {
        ++batch_.padding_dropped;
      } else if (occurrence.gradient.empty()) {
        ++batch_.rows_skipped;
      } else {
        kept.push_back(occurrence);
      }
    }
    occurrences_ = kept;
  }

  void Sum() {
    std::map<int64_t, int64_t> count;
    for (const Occurrence& occurrence : occurrences_) {
      ++count[occurrence.id];
    }
    for (Occurrence& occurrence : occurrences_) {
      if (config_.scale_grad_by_freq) {
        occurrence.scale /= static_cast<double>(count[occurrence.id]);
      }
      std::vector<float>& sum = batch_.gradients[occurrence.id];
      if (sum.empty()) {
        batch_.ids.push_back(occurrence.id);
        sum.resize(dim_);
      }
      for (size_t d = 0; d < dim_; ++d) {
        sum[d] = std::fma(occurrence.gradient[d],
                          static_cast<float>(occurrence.scale), sum[d]);
      }
    }
    CheckSums();
  }

  void CheckSums() {
    if (config_.non_finite_policy == NonFinitePolicy::kAllow) {
      return;
    }
    std::erase_if(batch_.ids, [&](int64_t id) {
      if (IsFinite(batch_.gradients[id])) {
        return false;
      }
      batch_.refused |= config_.non_finite_policy == NonFinitePolicy::kReject;
      ++batch_.rows_skipped;
      batch_.gradients.erase(id);
      return true;
    });
  }

  void Clip() {
    double of_push = 0;
    for (const int64_t id : batch_.ids) {
      for (const float g : batch_.gradients[id]) {
        of_push += double{g} * g;
      }
    }
    for (const int64_t id : batch_.ids) {
      std::vector<float>& row = batch_.gradients[id];
      double squares = 0;
      for (const float g : row) {
        squares += double{g} * g;
      }
      for (float& g : row) {
        g = Clipped(g, squares, of_push);
      }
    }
  }

  float Clipped(float g, double of_row, double of_push) const {
    const double bound = config_.clip.bound;
    const auto scale = [&](double squares) {
      return static_cast<float>(
          std::min(1.0, bound / (std::sqrt(squares) + 1e-6)));
    };
    switch (config_.clip.kind) {
      case GradientClip::Kind::kNone:
        return g;
      case GradientClip::Kind::kValue:
        return std::clamp(g, -static_cast<float>(bound),
                          static_cast<float>(bound));
      case GradientClip::Kind::kRowNorm:
        return g * scale(of_row);
      case GradientClip::Kind::kPushNorm:
        return g * scale(of_push);
    }
    return g;
  }

  const TableConfig& config_;
  const size_t dim_;
  std::vector<Occurrence> occurrences_;
  PlainBatch batch_;
};

}  // namespace quire::testing
