// Files of Hugging Face's safetensors.
//
//   file    := length header data
//   length  := uint64, little-endian: bytes of header
//   header  := JSON that begins with "{", then spaces
//              {"NAME": {"dtype": "F32", "shape": [3, 2],
//                        "data_offsets": [0, 24]}, …,
//               "__metadata__": {"KEY": "VALUE", …}}
//   data    := the tensors' numbers in C order, little-endian
//
// Offsets count from the start of the data. The tensors must cover all of it,
// with no holes and no overlaps.

#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "client/formats/bytes.h"
#include "client/formats/tensor_file.h"

namespace quire::formats {

// Longer headers are refused. The format allows 100 MB; models of thousands of
// tensors have less than one.
inline constexpr size_t kSafetensorsHeaderBytesMax = size_t{8} << 20;

// Whether `head`, the first bytes of an input (9 at least), can be the
// beginning of a safetensors file.
bool LooksLikeSafetensors(std::string_view head);

absl::StatusOr<std::unique_ptr<TensorFile>> OpenSafetensors(
    std::shared_ptr<Bytes> bytes);

}  // namespace quire::formats
