// numpy's .npz: a .zip file of .npy arrays.

#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "client/formats/tensor_file.h"
#include "client/formats/zip_archive.h"

namespace quire::formats {

// Arrays are named as numpy.load names them, without ".npy". Those that Quire
// cannot read (objects, text, records) are listed without a type.
absl::StatusOr<std::unique_ptr<TensorFile>> OpenNpz(ZipArchive archive);

}  // namespace quire::formats
