// One push to one table, made ready to apply: checked, and every id once.
//
// A push is one step: the gradients of an id that occurs several times are
// summed in request order, in float32, as nn.Embedding's dense backward does
// (SEMANTICS D3), and its row then moves once. Gradients of ids that occur
// once are not copied: they are read where the message holds them.
//
// In this order (RULINGS 2): gradient_scale; finite check; padding is dropped;
// sum, each occurrence by its bag's scale and, if the table wants it, over the
// number of its id's occurrences; finite check of the sums; clip.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/kernels.h"
#include "table/gradient_rows.h"
#include "table/table_config.h"

namespace quire {

// Owns the sums and the copies of rows that were cut; views the rest, which
// must outlive it. One thread at a time.
class GradientBatch {
 public:
  // INVALID_ARGUMENT for winners that are not of their bag and, if the table's
  // policy is to reject, NON_FINITE for a NaN or an infinity in what came or in
  // a sum; the message says at which place, the field is of the part at fault,
  // whose index goes to *bad_part.
  static absl::StatusOr<GradientBatch> Make(std::span<const GradientPart> parts,
                                            const TableConfig& config,
                                            const kernels::Kernels& kernels,
                                            size_t* bad_part);

  // The ids, each once, in the order of their first occurrence: [n].
  std::span<const int64_t> ids() const { return ids_; }
  // What each of them moves by: float32 [dim], aligned to nothing: [n].
  std::span<const std::byte* const> gradients() const { return gradients_; }

  // Occurrences of the padding id, which were dropped.
  int64_t padding_dropped() const { return padding_dropped_; }
  // Occurrences, and sums, that SKIP_ROW dropped.
  int64_t rows_skipped() const { return rows_skipped_; }

 private:
  class Maker;
  GradientBatch() = default;

  std::vector<int64_t> ids_;
  std::vector<const std::byte*> gradients_;
  int64_t padding_dropped_ = 0;
  int64_t rows_skipped_ = 0;

  GradientRows rows_;
  // Of ids that occur more than once, or are scaled or clipped: [sums, dim].
  std::unique_ptr<float[]> sums_;
};

}  // namespace quire
