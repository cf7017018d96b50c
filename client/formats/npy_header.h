// The header of a .npy file: numpy's own format for one array.
//
//   file     := magic version length dict data
//   magic    := "\x93NUMPY"
//   version  := 1 0 | 2 0 | 3 0
//   length   := uint16 (version 1) or uint32, little-endian: bytes of dict
//   dict     := {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }
//               in any order of keys, then spaces and \n, so that data begins
//               at a multiple of 64
//   data     := the elements, in C order, or in Fortran's (first index first)

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "client/formats/number_type.h"

namespace quire::formats {

inline constexpr std::string_view kNpyMagic = "\x93NUMPY";

struct NpyHeader {
  NumberType type = NumberType::kFloat32;
  bool fortran_order = false;
  std::vector<int64_t> dims;
  int64_t element_count = 1;
  size_t data_offset = 0;
};

// Bytes that always hold magic, version and length, in any version.
inline constexpr size_t kNpyPreambleBytes = 12;

// Bytes from the start of the file to its data, told from the preamble. An
// error for what is no .npy file, or one of another version. At most 64 KiB.
absl::StatusOr<size_t> NpyDataOffset(std::string_view preamble);

// Reads the first NpyDataOffset() bytes of a file. Python objects, big-endian
// numbers, records and other element types are refused by name; nothing of a
// file is ever run.
absl::StatusOr<NpyHeader> ParseNpyHeader(std::string_view bytes);

// What numpy.save writes in front of the data of an array in C order, byte for
// byte. `type` is kFloat32 or kInt64.
std::string MakeNpyHeader(std::span<const int64_t> dims,
                          NumberType type = NumberType::kFloat32);

}  // namespace quire::formats
