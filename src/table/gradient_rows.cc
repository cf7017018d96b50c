#include "table/gradient_rows.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/status.h"

namespace quire {
namespace {

absl::Status NonFinite(const GradientPart& part, size_t row, size_t column) {
  const std::string whose =
      part.bags ? fmt::format("bag {}", row)
                : fmt::format("id {} (row {})", part.ids[row], row);
  return Error(Reason::kNonFinite,
               fmt::format("the gradient for {}, column {}{} is not finite; "
                           "nothing was changed",
                           whose, column,
                           part.gradient_scale ? ", times gradient_scale" : ""),
               "gradient");
}

}  // namespace

absl::Status GradientRows::Append(const GradientPart& part, int64_t dim,
                                  NonFinitePolicy policy,
                                  const kernels::Kernels& kernels,
                                  std::vector<const std::byte*>& rows) {
  const size_t floats = static_cast<size_t>(dim);
  const size_t row_bytes = floats * sizeof(float);
  const size_t row_count = part.row_count();
  rows.reserve(rows.size() + row_count);
  ByteRange::Reader reader(part.gradient);
  for (size_t row = 0; row < row_count;) {
    // As many whole rows as lie together, or the one that is cut.
    const size_t together =
        std::min(reader.contiguous_size() / row_bytes, row_count - row);
    const size_t count = std::max<size_t>(together, 1);
    std::byte* copy = nullptr;
    if (together == 0) {
      owned_.push_back(std::make_unique_for_overwrite<float[]>(floats));
      copy = reinterpret_cast<std::byte*>(owned_.back().get());
    }
    const std::byte* bytes = reader.Next(count * row_bytes, copy);
    if (part.gradient_scale) {
      owned_.push_back(std::make_unique<float[]>(count * floats));
      float* const scaled = owned_.back().get();
      kernels.add_scaled(scaled, bytes,
                         static_cast<float>(*part.gradient_scale),
                         count * floats);
      bytes = reinterpret_cast<const std::byte*>(scaled);
    }
    const size_t first = rows.size();
    for (size_t i = 0; i < count; ++i) {
      rows.push_back(bytes + i * row_bytes);
    }
    for (size_t i = 0; policy != NonFinitePolicy::kAllow && i < count; ++i) {
      const size_t bad =
          kernels.first_non_finite(bytes + i * row_bytes, (count - i) * floats);
      i += bad / floats;
      if (i < count && policy == NonFinitePolicy::kReject) {
        return NonFinite(part, row + i, bad % floats);
      }
      if (i < count) {
        rows[first + i] = nullptr;
      }
    }
    row += count;
  }
  return absl::OkStatus();
}

}  // namespace quire
