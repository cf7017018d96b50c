#include "table/gradient_batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/faults.h"
#include "base/status.h"
#include "row/pooling.h"

namespace quire {
namespace {

// No id: of an occurrence that is dropped, of an id without a sum.
constexpr uint32_t kNone = UINT32_MAX;

// Maps each id to the order of its first occurrence. Open addressing over
// half-empty slots, which for a push of thousands stay in the first caches.
class IdIndex {
 public:
  explicit IdIndex(size_t id_count)
      : slots_(std::bit_ceil(2 * id_count + 1)),
        shift_(64 - std::countr_zero(slots_.size())) {}

  // The index of `id` in `ids`, to which it is appended if it is new.
  uint32_t FindOrAdd(int64_t id, std::vector<int64_t>& ids) {
    size_t slot = (static_cast<uint64_t>(id) * 0x9E3779B97F4A7C15u) >> shift_;
    for (; slots_[slot] != 0; slot = (slot + 1) & (slots_.size() - 1)) {
      if (ids[slots_[slot] - 1] == id) {
        return slots_[slot] - 1;
      }
    }
    ids.push_back(id);
    slots_[slot] = static_cast<uint32_t>(ids.size());
    return slots_[slot] - 1;
  }

 private:
  // Index plus one; 0 is empty.
  std::vector<uint32_t> slots_;
  int shift_;
};

// Where an occurrence in a MAX bag stands.
struct InMaxBag {
  const int32_t* winners =
      nullptr;  // [dim]: its bag's; null: not in such a bag
  int32_t position = 0;
};

absl::Status CheckWinners(const Bags& bags, size_t dim) {
  for (size_t i = 0; i < bags.winners.size(); ++i) {
    const size_t bag = i / dim;
    const int64_t length = bags.offsets[bag + 1] - bags.offsets[bag];
    if (bags.winners[i] < kNoWinner || bags.winners[i] >= length) {
      return Error(
          Reason::kBadValue,
          fmt::format("winner {} of bag {} is {}; the bag has {} ids, so a "
                      "winner is in [-1, {}). Send those of the lookup",
                      i % dim, bag, bags.winners[i], length, length),
          fmt::format("bags.winners[{}]", i));
    }
  }
  return absl::OkStatus();
}

}  // namespace

// Makes one batch. Occurrences are numbered over all parts.
class GradientBatch::Maker {
 public:
  Maker(std::span<const GradientPart> parts, const TableConfig& config,
        const kernels::Kernels& kernels, GradientBatch& batch)
      : parts_(parts),
        config_(config),
        kernels_(kernels),
        dim_(static_cast<size_t>(config.dim)),
        batch_(batch) {}

  absl::Status Make(size_t* bad_part) {
    for (size_t p = 0; p < parts_.size(); ++p) {
      *bad_part = p;
      QUIRE_RETURN_IF_ERROR(parts_[p].bags ? AddBags(parts_[p], *parts_[p].bags)
                                           : AddRows(parts_[p]));
    }
    Deduplicate();
    if (config_.scale_grad_by_freq && !QUIRE_FAULT("frequency_ignored")) {
      DivideByFrequency();
    }
    if (kept_ < unique_of_.size() || batch_.ids_.size() < kept_ ||
        !scales_.empty() || !in_max_bags_.empty()) {
      *bad_part = 0;
      Sum();
      QUIRE_RETURN_IF_ERROR(CheckSums());
    }
    if (config_.clip.kind != GradientClip::Kind::kNone &&
        !QUIRE_FAULT("clip_ignored")) {
      Clip();
    }
    return absl::OkStatus();
  }

 private:
  size_t occurrence_count() const { return batch_.gradients_.size(); }

  absl::Status AddRows(const GradientPart& part) {
    return batch_.rows_.Append(part, config_.dim, config_.non_finite_policy,
                               kernels_, batch_.gradients_);
  }

  // Each id of a bag is an occurrence, with the bag's gradient.
  absl::Status AddBags(const GradientPart& part, const Bags& bags) {
    QUIRE_RETURN_IF_ERROR(CheckWinners(bags, dim_));
    std::vector<const std::byte*> bag_rows;
    QUIRE_RETURN_IF_ERROR(batch_.rows_.Append(
        part, config_.dim, config_.non_finite_policy, kernels_, bag_rows));
    const bool is_max = bags.pooling == Pooling::kMax;
    (is_max ? in_max_bags_.resize(occurrence_count())
            : scales_.resize(occurrence_count(), 1.0));
    for (size_t b = 0; b < bag_rows.size(); ++b) {
      const auto begin = static_cast<size_t>(bags.offsets[b]);
      const auto end = static_cast<size_t>(bags.offsets[b + 1]);
      const int64_t rows = RowsThatCount(part.ids.subspan(begin, end - begin));
      for (size_t i = begin; i < end; ++i) {
        batch_.gradients_.push_back(bag_rows[b]);
        if (is_max) {
          in_max_bags_.push_back({.winners = bags.winners.data() + b * dim_,
                                  .position = static_cast<int32_t>(i - begin)});
        } else {
          scales_.push_back(
              OccurrenceScale(bags.pooling, rows,
                              bags.weights.empty() ? 1.0f : bags.weights[i]));
        }
      }
    }
    return absl::OkStatus();
  }

  // Ids of a bag that are not padding.
  int64_t RowsThatCount(std::span<const int64_t> ids) const {
    const int64_t padding =
        config_.padding_idx && !QUIRE_FAULT("mean_counts_padding")
            ? std::ranges::count(ids, *config_.padding_idx)
            : 0;
    return std::ssize(ids) - padding;
  }

  // Fills ids_; for each occurrence, the index of its id there, or kNone.
  // Where every id occurs once and none is dropped, that is the occurrence
  // itself.
  void Deduplicate() {
    const size_t count = occurrence_count();
    unique_of_.reserve(count);
    batch_.ids_.reserve(count);
    IdIndex index(count);
    // No id is negative.
    const int64_t padding = QUIRE_FAULT("padding_gradient_applied")
                                ? -1
                                : config_.padding_idx.value_or(-1);
    for (const GradientPart& part : parts_) {
      for (const int64_t id : part.ids) {
        const bool is_padding = id == padding;
        const bool is_bad = batch_.gradients_[unique_of_.size()] == nullptr;
        if (is_padding || is_bad) {
          (is_padding ? batch_.padding_dropped_ : batch_.rows_skipped_) += 1;
          unique_of_.push_back(kNone);
        } else {
          unique_of_.push_back(index.FindOrAdd(id, batch_.ids_));
          ++kept_;
        }
      }
    }
  }

  // torch.nn.Embedding: each occurrence by 1 / count, in double, cast once.
  void DivideByFrequency() {
    scales_.resize(occurrence_count(), 1.0);
    std::vector<int64_t> count(batch_.ids_.size());
    for (const uint32_t unique : unique_of_) {
      if (unique != kNone) {
        ++count[unique];
      }
    }
    for (size_t i = 0; i < unique_of_.size(); ++i) {
      if (unique_of_[i] != kNone) {
        scales_[i] /= static_cast<double>(count[unique_of_[i]]);
      }
    }
  }

  float ScaleOf(size_t i) const {
    return i < scales_.size() ? static_cast<float>(scales_[i]) : 1.0f;
  }
  InMaxBag MaxBagOf(size_t i) const {
    return i < in_max_bags_.size() ? in_max_bags_[i] : InMaxBag{};
  }

  // Which ids need a sum: those that are met again, or are not taken as they
  // are. [ids]: the number of the sum, or kNone.
  std::vector<uint32_t> NumberSums() {
    std::vector<uint32_t> sum_of(batch_.ids_.size(), kNone);
    for (size_t i = 0, seen = 0; i < unique_of_.size(); ++i) {
      const uint32_t unique = unique_of_[i];
      if (unique == kNone) {
        continue;
      }
      const bool is_first = unique == seen;
      seen += is_first ? 1 : 0;
      const bool as_it_is =
          is_first && ScaleOf(i) == 1.0f && MaxBagOf(i).winners == nullptr;
      if (!as_it_is && sum_of[unique] == kNone) {
        sum_of[unique] = sum_count_++;
      }
    }
    return sum_of;
  }

  void Sum() {
    const std::vector<uint32_t> sum_of = NumberSums();
    batch_.sums_ = std::make_unique<float[]>(sum_count_ * dim_);
    std::vector<const std::byte*>& gradients = batch_.gradients_;
    std::vector<const std::byte*> of_ids(batch_.ids_.size());
    for (size_t k = 0; k < unique_of_.size(); ++k) {
      // Request order.
      const size_t i =
          QUIRE_FAULT("duplicates_reversed") ? unique_of_.size() - 1 - k : k;
      const uint32_t unique = unique_of_[i];
      if (unique == kNone) {
        continue;
      }
      if (sum_of[unique] == kNone) {
        of_ids[unique] = gradients[i];
        continue;
      }
      float* const sum = batch_.sums_.get() + sum_of[unique] * dim_;
      of_ids[unique] = reinterpret_cast<const std::byte*>(sum);
      if (QUIRE_FAULT("duplicates_last_wins")) {
        std::fill_n(sum, dim_, 0.0f);
      }
      const InMaxBag bag = MaxBagOf(i);
      if (bag.winners != nullptr && !QUIRE_FAULT("max_winners_ignored")) {
        kernels_.add_where(sum, gradients[i], bag.winners, bag.position, dim_);
      } else {
        kernels_.add_scaled(sum, gradients[i], ScaleOf(i), dim_);
      }
    }
    gradients = std::move(of_ids);
  }

  absl::Status CheckSums() {
    if (config_.non_finite_policy == NonFinitePolicy::kAllow) {
      return absl::OkStatus();
    }
    const size_t total = sum_count_ * dim_;
    const size_t bad = kernels_.first_non_finite(
        reinterpret_cast<const std::byte*>(batch_.sums_.get()), total);
    if (bad == total) {
      return absl::OkStatus();
    }
    if (config_.non_finite_policy == NonFinitePolicy::kSkipRow) {
      DropBadRows();
      return absl::OkStatus();
    }
    const auto* sum = reinterpret_cast<const std::byte*>(batch_.sums_.get() +
                                                         bad / dim_ * dim_);
    const size_t at = static_cast<size_t>(
        std::ranges::find(batch_.gradients_, sum) - batch_.gradients_.begin());
    return Error(Reason::kNonFinite,
                 fmt::format("the sum of the gradients for id {}, column {} is "
                             "not finite; nothing was changed",
                             batch_.ids_[at], bad % dim_),
                 "gradient");
  }

  void DropBadRows() {
    size_t kept = 0;
    for (size_t i = 0; i < batch_.ids_.size(); ++i) {
      const std::byte* gradient = batch_.gradients_[i];
      if (kernels_.first_non_finite(gradient, dim_) == dim_) {
        batch_.ids_[kept] = batch_.ids_[i];
        batch_.gradients_[kept] = gradient;
        ++kept;
      }
    }
    batch_.rows_skipped_ += static_cast<int64_t>(batch_.ids_.size() - kept);
    batch_.ids_.resize(kept);
    batch_.gradients_.resize(kept);
  }

  // torch.nn.utils.clip_grad_norm_: max / (norm + 1e-6), at most 1.
  float ClipScale(double sum_of_squares) const {
    const double scale =
        config_.clip.bound / (std::sqrt(sum_of_squares) + 1e-6);
    return static_cast<float>(scale < 1.0 ? scale : 1.0);
  }

  // Every row into memory of our own, and there to its bound.
  void Clip() {
    const size_t rows = batch_.ids_.size();
    auto clipped = std::make_unique_for_overwrite<float[]>(rows * dim_);
    double push_squares = 0.0;
    for (size_t i = 0; i < rows; ++i) {
      float* const row = clipped.get() + i * dim_;
      std::memcpy(row, batch_.gradients_[i], dim_ * sizeof(float));
      batch_.gradients_[i] = reinterpret_cast<const std::byte*>(row);
      double row_squares = 0.0;
      for (const float g : std::span(row, dim_)) {
        row_squares += static_cast<double>(g) * g;
      }
      push_squares += row_squares;
      if (config_.clip.kind == GradientClip::Kind::kRowNorm) {
        Scale({row, dim_}, ClipScale(row_squares));
      }
    }
    const std::span<float> all(clipped.get(), rows * dim_);
    if (config_.clip.kind == GradientClip::Kind::kPushNorm) {
      Scale(all, ClipScale(push_squares));
    } else if (config_.clip.kind == GradientClip::Kind::kValue) {
      // torch.clamp: a NaN stays.
      const auto bound = static_cast<float>(config_.clip.bound);
      for (float& g : all) {
        g = g < -bound ? -bound : g > bound ? bound : g;
      }
    }
    batch_.sums_ = std::move(clipped);
  }

  static void Scale(std::span<float> floats, float scale) {
    for (float& g : floats) {
      g *= scale;
    }
  }

  const std::span<const GradientPart> parts_;
  const TableConfig& config_;
  const kernels::Kernels& kernels_;
  const size_t dim_;
  GradientBatch& batch_;

  // Of occurrences; the last two are empty, or end early, where they would say
  // nothing (1, not in a MAX bag).
  std::vector<uint32_t> unique_of_;
  std::vector<double> scales_;
  std::vector<InMaxBag> in_max_bags_;

  size_t kept_ = 0;
  uint32_t sum_count_ = 0;
};

absl::StatusOr<GradientBatch> GradientBatch::Make(
    std::span<const GradientPart> parts, const TableConfig& config,
    const kernels::Kernels& kernels, size_t* bad_part) {
  GradientBatch batch;
  QUIRE_RETURN_IF_ERROR(Maker(parts, config, kernels, batch).Make(bad_part));
  return batch;
}

}  // namespace quire
