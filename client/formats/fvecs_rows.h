// Vectors as the TEXMEX benchmarks and faiss have them.
//
//   file  := row*
//   row   := int32 dim, float32{dim}
//
// Little-endian; the dim is the same in all rows.

#pragma once

#include <memory>
#include <string_view>

#include "client/formats/row_reader.h"

namespace quire::formats {

// Whether an input of `size` bytes that begins with `head` (4 bytes at least)
// can be a file of whole rows.
bool LooksLikeFvecs(std::string_view head, size_t size);

absl::StatusOr<std::unique_ptr<RowReader>> OpenFvecs(
    std::unique_ptr<ByteSource> source, const RowReaderOptions& options);

}  // namespace quire::formats
