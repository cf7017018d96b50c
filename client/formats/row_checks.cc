#include "client/formats/row_checks.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/limits.h"
#include "client/formats/input_error.h"

namespace quire::formats {

absl::Status CheckFinite(std::string_view name, std::span<const float> values,
                         int64_t first_row, int64_t dim) {
  const auto bad = std::ranges::find_if_not(
      values, [](float value) { return std::isfinite(value); });
  if (bad == values.end()) {
    return absl::OkStatus();
  }
  const int64_t index = bad - values.begin();
  return InputError(
      fmt::format("{} row {}, column {} is {} as float32; rows must be finite",
                  name, first_row + index / dim, index % dim, *bad));
}

absl::Status CheckDim(std::string_view name, int64_t dim,
                      const RowReaderOptions& options) {
  if (options.dim && *options.dim != dim) {
    return InputError(fmt::format("{} has rows of {} floats, not of {}", name,
                                  dim, *options.dim));
  }
  if (dim < 1 || dim > kDimMax) {
    return InputError(fmt::format(
        "{} has rows of {} floats; 1 to {} are needed", name, dim, kDimMax));
  }
  return absl::OkStatus();
}

}  // namespace quire::formats
