// The gradients that one part of a push brings, row by row, checked.

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "kernels/kernels.h"
#include "table/table_config.h"
#include "tensor/bags.h"

namespace quire {

// Gradients of some rows, as a request brings them. A push has one part for
// each time that it names the table.
struct GradientPart {
  // [n], each in [0, num_embeddings).
  std::span<const int64_t> ids;
  // float32 [n, dim], or with bags [bags, dim].
  ByteRange gradient;
  // The bags of the lookup that this is the gradient of. MAX brings winners.
  std::optional<Bags> bags = std::nullopt;
  // Multiplies what came, before everything.
  std::optional<double> gradient_scale = std::nullopt;

  size_t row_count() const {
    return bags ? static_cast<size_t>(bags->bag_count()) : ids.size();
  }
};

// Views the part's gradient, which must outlive it, but for rows that were cut
// between two pieces of the message or scaled: these it owns. One thread at a
// time.
class GradientRows {
 public:
  // Appends the rows of `part` to `rows`, each float32 [dim], aligned to
  // nothing, and null where SKIP_ROW drops a row that is not finite. Under
  // REJECT such a row is INVALID_ARGUMENT (NON_FINITE), with the place and the
  // field "gradient".
  absl::Status Append(const GradientPart& part, int64_t dim,
                      NonFinitePolicy policy, const kernels::Kernels& kernels,
                      std::vector<const std::byte*>& rows);

 private:
  std::vector<std::unique_ptr<float[]>> owned_;
};

}  // namespace quire
