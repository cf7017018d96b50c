// The rows of a .npy matrix.

#pragma once

#include "client/formats/row_reader.h"

namespace quire::formats {

// A matrix [rows, dim] of floats. options.dim, if given, must agree.
absl::StatusOr<std::unique_ptr<RowReader>> OpenNpyRows(
    std::unique_ptr<ByteSource> source, const RowReaderOptions& options);

}  // namespace quire::formats
