#include "client/formats/npy_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "client/formats/input_error.h"

namespace quire::formats {
namespace {

// Elements are converted in blocks of this size, on the stack.
constexpr size_t kBlockBytes = size_t{16} << 10;

// What is wrong with a header, with the name of its file.
absl::Status Named(std::string_view name, const absl::Status& status) {
  return status.ok()
             ? status
             : InputError(fmt::format("'{}' {}", name, SentenceOf(status)));
}

// The position in C order of what is at `index` in Fortran's order, for an
// array of `dims`.
int64_t FromFortran(std::span<const int64_t> dims, int64_t index) {
  int64_t position = 0;
  int64_t stride = 1;
  for (const int64_t dim : dims) {
    stride *= dim;
  }
  for (const int64_t dim : dims) {
    stride /= dim;
    position += index % dim * stride;
    index /= dim;
  }
  return position;
}

}  // namespace

absl::StatusOr<NpyHeader> ReadNpyHeader(Bytes& bytes) {
  QUIRE_ASSIGN_OR_RETURN(
      std::string head,
      ReadRange(bytes, 0, std::min(bytes.size(), kNpyPreambleBytes)));
  const absl::StatusOr<size_t> data_offset = NpyDataOffset(head);
  QUIRE_RETURN_IF_ERROR(Named(bytes.name(), data_offset.status()));
  QUIRE_ASSIGN_OR_RETURN(
      head, ReadRange(bytes, 0, std::min(bytes.size(), *data_offset)));
  absl::StatusOr<NpyHeader> header = ParseNpyHeader(head);
  QUIRE_RETURN_IF_ERROR(Named(bytes.name(), header.status()));

  const size_t found = bytes.size() - header->data_offset;
  const size_t needed =
      static_cast<size_t>(header->element_count) * NumberBytes(header->type);
  if (found != needed) {
    return InputError(
        fmt::format("'{}' holds {} bytes of data; its header promises {}",
                    bytes.name(), found, needed));
  }
  return header;
}

NpyFile::NpyFile(std::shared_ptr<Bytes> bytes, NpyHeader header)
    : bytes_(std::move(bytes)), header_(std::move(header)) {}

absl::StatusOr<NpyFile> NpyFile::Open(std::unique_ptr<ByteSource> source) {
  QUIRE_ASSIGN_OR_RETURN(std::shared_ptr<Bytes> bytes,
                         BytesOf(std::move(source)));
  QUIRE_ASSIGN_OR_RETURN(NpyHeader header, ReadNpyHeader(*bytes));
  return NpyFile(std::move(bytes), std::move(header));
}

int64_t NpyFile::row_count() const {
  return header_.dims.empty() ? 1 : header_.dims[0];
}

int64_t NpyFile::row_elements() const {
  return row_count() == 0 ? 0 : header_.element_count / row_count();
}

absl::Status NpyFile::Read(int64_t first_row, std::span<float> out) const {
  if (!IsFloating(header_.type)) {
    return InputError(fmt::format("'{}' holds {}; floats are needed", name(),
                                  NumberName(header_.type)));
  }
  return ReadRows(first_row, out);
}

absl::Status NpyFile::Read(int64_t first_row, std::span<int64_t> out) const {
  if (IsFloating(header_.type)) {
    return InputError(fmt::format("'{}' holds {}; ids are int64 or int32",
                                  name(), NumberName(header_.type)));
  }
  return ReadRows(first_row, out);
}

template <typename T>
absl::Status NpyFile::ReadRun(int64_t first_element, std::span<T> out) const {
  const size_t bytes = NumberBytes(header_.type);
  size_t offset =
      header_.data_offset + static_cast<size_t>(first_element) * bytes;
  const bool same_bytes = std::is_same_v<T, float>
                              ? header_.type == NumberType::kFloat32
                              : header_.type == NumberType::kInt64;
  if (same_bytes) {
    return bytes_->ReadAt(
        offset, {reinterpret_cast<char*>(out.data()), out.size_bytes()});
  }
  char block[kBlockBytes];
  while (!out.empty()) {
    const size_t count = std::min(out.size(), kBlockBytes / bytes);
    QUIRE_RETURN_IF_ERROR(
        bytes_->ReadAt(offset, std::span(block, count * bytes)));
    Convert(header_.type, block, out.first(count));
    out = out.subspan(count);
    offset += count * bytes;
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status NpyFile::ReadRows(int64_t first_row, std::span<T> out) const {
  const int64_t elements = row_elements();
  if (out.empty() || elements == 0) {
    return absl::OkStatus();
  }
  const auto count = static_cast<int64_t>(out.size()) / elements;
  QUIRE_CHECK(first_row >= 0 && first_row + count <= row_count(),
              "rows within the array");
  if (!header_.fortran_order || header_.dims.size() < 2) {
    return ReadRun(first_row * elements, out);
  }
  // In Fortran's order the values of one column lie together.
  std::vector<T> column(static_cast<size_t>(count));
  const auto inner = std::span(header_.dims).subspan(1);
  for (int64_t i = 0; i < elements; ++i) {
    QUIRE_RETURN_IF_ERROR(
        ReadRun(i * row_count() + first_row, std::span(column)));
    const int64_t place = FromFortran(inner, i);
    for (int64_t row = 0; row < count; ++row) {
      out[static_cast<size_t>(row * elements + place)] =
          column[static_cast<size_t>(row)];
    }
  }
  return absl::OkStatus();
}

}  // namespace quire::formats
