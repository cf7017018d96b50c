#include "table/gradient_batch.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/status.h"

namespace quire {
namespace {

absl::Status NonFinite(int64_t row, int64_t column, int64_t id,
                       std::string_view what) {
  return Error(Reason::kNonFinite,
               fmt::format("{} for id {} (row {}, column {}) is not finite; "
                           "nothing was changed",
                           what, id, row, column),
               "gradient");
}

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

}  // namespace

absl::StatusOr<GradientBatch> GradientBatch::Make(
    std::span<const GradientPart> parts, int64_t dim,
    const kernels::Kernels& kernels, size_t* bad_part) {
  GradientBatch batch;
  QUIRE_RETURN_IF_ERROR(batch.Locate(parts, dim, kernels, bad_part));
  const std::vector<uint32_t> unique_of = batch.Deduplicate(parts);
  if (batch.ids_.size() < unique_of.size()) {
    *bad_part = 0;
    QUIRE_RETURN_IF_ERROR(batch.SumDuplicates(unique_of, dim, kernels));
  }
  return batch;
}

// Finds every occurrence's gradient, whole, and checks that it is finite.
absl::Status GradientBatch::Locate(std::span<const GradientPart> parts,
                                   int64_t dim, const kernels::Kernels& kernels,
                                   size_t* bad_part) {
  const size_t floats = static_cast<size_t>(dim);
  size_t occurrences = 0;
  for (const GradientPart& part : parts) {
    occurrences += part.ids.size();
  }
  gradients_.reserve(occurrences);
  for (size_t p = 0; p < parts.size(); ++p) {
    *bad_part = p;
    ByteRange::Reader reader(parts[p].gradient);
    for (size_t row = 0; row < parts[p].ids.size();) {
      // As many whole rows as lie together, or the one that is cut.
      size_t rows = std::min(reader.contiguous_size() / (floats * 4),
                             parts[p].ids.size() - row);
      std::byte* copy = nullptr;
      if (rows == 0) {
        rows = 1;
        whole_rows_.push_back(
            std::make_unique_for_overwrite<std::byte[]>(floats * 4));
        copy = whole_rows_.back().get();
      }
      const std::byte* bytes = reader.Next(rows * floats * 4, copy);
      const size_t bad = kernels.first_non_finite(bytes, rows * floats);
      if (bad < rows * floats) {
        const size_t at = row + bad / floats;
        return NonFinite(static_cast<int64_t>(at),
                         static_cast<int64_t>(bad % floats), parts[p].ids[at],
                         "the gradient");
      }
      for (size_t i = 0; i < rows; ++i) {
        gradients_.push_back(bytes + i * floats * 4);
      }
      row += rows;
    }
  }
  return absl::OkStatus();
}

// Fills ids_; returns, for each occurrence, the index of its id there. Where
// every id occurs once, that is the occurrence itself.
std::vector<uint32_t> GradientBatch::Deduplicate(
    std::span<const GradientPart> parts) {
  std::vector<uint32_t> unique_of;
  unique_of.reserve(gradients_.size());
  ids_.reserve(gradients_.size());
  IdIndex index(gradients_.size());
  for (const GradientPart& part : parts) {
    for (int64_t id : part.ids) {
      unique_of.push_back(index.FindOrAdd(id, ids_));
    }
  }
  return unique_of;
}

absl::Status GradientBatch::SumDuplicates(
    const std::vector<uint32_t>& unique_of, int64_t dim,
    const kernels::Kernels& kernels) {
  const size_t floats = static_cast<size_t>(dim);
  // Which ids need a sum: those that are met again.
  constexpr uint32_t kNone = UINT32_MAX;
  std::vector<uint32_t> sum_of(ids_.size(), kNone);
  uint32_t sum_count = 0;
  for (size_t i = 0, seen = 0; i < unique_of.size(); ++i) {
    if (unique_of[i] == seen) {
      ++seen;
    } else if (sum_of[unique_of[i]] == kNone) {
      sum_of[unique_of[i]] = sum_count++;
    }
  }
  sums_ = std::make_unique_for_overwrite<float[]>(sum_count * floats);

  // Request order: the first occurrence of an id comes before its others.
  for (size_t i = 0, seen = 0; i < unique_of.size(); ++i) {
    const uint32_t unique = unique_of[i];
    const bool first = unique == seen;
    seen += first ? 1 : 0;
    float* sum = sum_of[unique] == kNone
                     ? nullptr
                     : sums_.get() + sum_of[unique] * floats;
    if (sum == nullptr) {
      gradients_[unique] = gradients_[i];
    } else if (first) {
      std::memcpy(sum, gradients_[i], floats * 4);
      gradients_[unique] = reinterpret_cast<const std::byte*>(sum);
    } else {
      kernels.add(sum, gradients_[i], floats);
    }
  }
  gradients_.resize(ids_.size());

  const size_t total = sum_count * floats;
  const size_t bad = kernels.first_non_finite(
      reinterpret_cast<const std::byte*>(sums_.get()), total);
  if (bad < total) {
    const auto* sum =
        reinterpret_cast<const std::byte*>(sums_.get() + bad / floats * floats);
    const size_t at = static_cast<size_t>(std::ranges::find(gradients_, sum) -
                                          gradients_.begin());
    return NonFinite(static_cast<int64_t>(at),
                     static_cast<int64_t>(bad % floats), ids_[at],
                     "the sum of the gradients");
  }
  return absl::OkStatus();
}

}  // namespace quire
