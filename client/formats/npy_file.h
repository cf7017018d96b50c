// Reads the array of a .npy file, a few rows at a time.

#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/formats/byte_source.h"
#include "client/formats/bytes.h"
#include "client/formats/npy_header.h"

namespace quire::formats {

// The header of an array. Its size must be what the header promises, to the
// byte.
absl::StatusOr<NpyHeader> ReadNpyHeader(Bytes& bytes);

// An array on the disk: what is read is what takes memory. A "row" is what has
// one value of the first index; a scalar is one row of one element.
// Thread safety: one thread at a time.
class NpyFile {
 public:
  // Reads the header.
  static absl::StatusOr<NpyFile> Open(std::unique_ptr<ByteSource> source);

  const std::string& name() const { return bytes_->name(); }
  const NpyHeader& header() const { return header_; }
  int64_t row_count() const;
  int64_t row_elements() const;

  // Reads rows [first, first + n) in C order, whatever order the file has;
  // n = out.size() / row_elements().
  //   float    of the floating types; float64 is rounded to nearest
  //   int64_t  of the integer types
  // A file of the other kind is refused by name.
  absl::Status Read(int64_t first_row, std::span<float> out) const;
  absl::Status Read(int64_t first_row, std::span<int64_t> out) const;

 private:
  NpyFile(std::shared_ptr<Bytes> bytes, NpyHeader header);

  // Elements that lie one after the other in the file.
  template <typename T>
  absl::Status ReadRun(int64_t first_element, std::span<T> out) const;
  template <typename T>
  absl::Status ReadRows(int64_t first_row, std::span<T> out) const;

  std::shared_ptr<Bytes> bytes_;
  NpyHeader header_;
};

}  // namespace quire::formats
