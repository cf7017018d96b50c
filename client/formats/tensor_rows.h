// The rows of a tensor of a file that holds several, with the optimizer state
// and the labels that Quire wrote beside them.

#pragma once

#include <memory>

#include "client/formats/row_reader.h"
#include "client/formats/tensor_file.h"

namespace quire::formats {

// A matrix [rows, dim] of floats: options.tensor, or the only one of the file.
// options.dim, if given, must agree. With options.state, its state as well: the
// tensors "optimizer.*" beside it, [rows, floats] or [rows], but for
// "optimizer.step", an integer, which is of all rows.
absl::StatusOr<std::unique_ptr<RowReader>> OpenTensorRows(
    std::unique_ptr<TensorFile> file, const RowReaderOptions& options);

}  // namespace quire::formats
