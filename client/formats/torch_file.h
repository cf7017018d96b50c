// What torch.save writes since torch 1.6: a .zip file with a pickle and, for
// each storage of a tensor, a member with its numbers.
//
//   DIR/data.pkl     the pickle (client/formats/pickle.h)
//   DIR/data/KEY     the numbers of storage KEY, little-endian
//   DIR/byteorder    "little", in newer versions
//   DIR/version      "3\n"

#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "client/formats/tensor_file.h"
#include "client/formats/zip_archive.h"

namespace quire::formats {

// Whether an archive has a torch pickle in it.
bool HoldsTorchPickle(const ZipArchive& archive);

// Whether `head`, the first bytes of an input, begins a file of torch before
// 1.6, which is one pickle after the other.
bool LooksLikeOldTorch(std::string_view head);

absl::StatusOr<std::unique_ptr<TensorFile>> OpenTorch(ZipArchive archive);

}  // namespace quire::formats
