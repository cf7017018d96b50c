// The binary form of word2vec, as Mikolov's program writes it.
//
//   file  := rows " " dim "\n" row*
//   row   := "\n"* word " " float32{dim}
//
// Floats are little-endian. Between rows there is a line end, or none. A word
// is bytes without a space.

#pragma once

#include <memory>
#include <string_view>

#include "client/formats/row_reader.h"

namespace quire::formats {

// What LooksLikeWord2vecBinary wants to see.
inline constexpr size_t kWord2vecHeadBytes = size_t{16} << 10;

// Whether the first bytes of an input begin like word2vec, and what follows is
// no row of text, and has bytes that text has not.
bool LooksLikeWord2vecBinary(std::string_view head);

absl::StatusOr<std::unique_ptr<RowReader>> OpenWord2vecBinary(
    std::unique_ptr<ByteSource> source, const RowReaderOptions& options);

}  // namespace quire::formats
