// One push to one table, made ready to apply: checked, and every id once.
//
// A push is one step: the gradients of an id that occurs several times are
// summed in request order, in float32, as nn.Embedding's dense backward does
// (SEMANTICS D3), and its row then moves once. Gradients of ids that occur
// once are not copied: they are read where the message holds them.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "kernels/kernels.h"

namespace quire {

// Gradients of some rows, as a request brings them. A push has one part for
// each time that it names the table.
struct GradientPart {
  // [n], each in [0, num_embeddings).
  std::span<const int64_t> ids;
  // float32 [n, dim]
  ByteRange gradient;
};

// Owns the sums and the copies of rows that were cut; views the rest, which
// must outlive it. One thread at a time.
class GradientBatch {
 public:
  // INVALID_ARGUMENT (NON_FINITE) for a NaN or an infinity in what came or in
  // a sum; the message says at which place, the field is "gradient" of the
  // part at fault, whose index goes to *bad_part.
  static absl::StatusOr<GradientBatch> Make(std::span<const GradientPart> parts,
                                            int64_t dim,
                                            const kernels::Kernels& kernels,
                                            size_t* bad_part);

  // The ids, each once, in the order of their first occurrence: [n].
  std::span<const int64_t> ids() const { return ids_; }
  // What each of them moves by: float32 [dim], aligned to nothing: [n].
  std::span<const std::byte* const> gradients() const { return gradients_; }

 private:
  GradientBatch() = default;

  absl::Status Locate(std::span<const GradientPart> parts, int64_t dim,
                      const kernels::Kernels& kernels, size_t* bad_part);
  std::vector<uint32_t> Deduplicate(std::span<const GradientPart> parts);
  absl::Status SumDuplicates(const std::vector<uint32_t>& unique_of,
                             int64_t dim, const kernels::Kernels& kernels);

  std::vector<int64_t> ids_;
  std::vector<const std::byte*> gradients_;
  // Rows that were cut between two pieces of the message.
  std::vector<std::unique_ptr<std::byte[]>> whole_rows_;
  // Sums of ids that occur more than once: [sums, dim].
  std::unique_ptr<float[]> sums_;
};

}  // namespace quire
