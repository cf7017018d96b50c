// What rows of every format must be.

#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "client/formats/row_reader.h"

namespace quire::formats {

// An error that names the row and the column if a value is not finite.
//   values  [n, dim], from `first_row` on
absl::Status CheckFinite(std::string_view name, std::span<const float> values,
                         int64_t first_row, int64_t dim);

// Whether rows may have `dim` floats, and have what options.dim says.
absl::Status CheckDim(std::string_view name, int64_t dim,
                      const RowReaderOptions& options);

}  // namespace quire::formats
