#include "client/formats/npy_file.h"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status.h"
#include "client/formats/input_error.h"
#include "client/formats/numbers.h"

namespace quire::formats {

class Bytes {
 public:
  virtual ~Bytes() = default;
  virtual size_t size() const = 0;
  // Fills `out` from `offset`; the range lies within size().
  virtual absl::Status ReadAt(size_t offset, std::span<char> out) const = 0;
};

namespace {

// Elements are converted in blocks of this size, on the stack.
constexpr size_t kBlockBytes = size_t{16} << 10;

class FileBytes : public Bytes {
 public:
  // `source` has a descriptor.
  FileBytes(std::unique_ptr<ByteSource> source, size_t size)
      : source_(std::move(source)), size_(size) {}

  size_t size() const override { return size_; }

  absl::Status ReadAt(size_t offset, std::span<char> out) const override {
    while (!out.empty()) {
      const ssize_t count = pread(source_->descriptor(), out.data(), out.size(),
                                  static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) {
        continue;
      }
      if (count <= 0) {
        return InputError(count < 0 ? std::strerror(errno)
                                    : "became shorter while it was read");
      }
      out = out.subspan(static_cast<size_t>(count));
      offset += static_cast<size_t>(count);
    }
    return absl::OkStatus();
  }

 private:
  const std::unique_ptr<ByteSource> source_;
  const size_t size_;
};

class MemoryBytes : public Bytes {
 public:
  explicit MemoryBytes(std::string bytes) : bytes_(std::move(bytes)) {}

  size_t size() const override { return bytes_.size(); }

  absl::Status ReadAt(size_t offset, std::span<char> out) const override {
    std::memcpy(out.data(), bytes_.data() + offset, out.size());
    return absl::OkStatus();
  }

 private:
  const std::string bytes_;
};

absl::Status Named(std::string_view name, const absl::Status& status) {
  return status.ok()
             ? status
             : InputError(fmt::format("'{}' {}", name, SentenceOf(status)));
}

absl::StatusOr<std::unique_ptr<Bytes>> BytesOf(
    std::unique_ptr<ByteSource> source) {
  struct stat status = {};
  if (source->descriptor() >= 0 && fstat(source->descriptor(), &status) == 0) {
    return std::make_unique<FileBytes>(std::move(source),
                                       static_cast<size_t>(status.st_size));
  }
  QUIRE_ASSIGN_OR_RETURN(std::string all, ReadAll(*source));
  return std::make_unique<MemoryBytes>(std::move(all));
}

// One element of a file as an element of ours.
template <typename T>
T Convert(NpyType type, const char* source) {
  const auto as = [source]<typename S>(S value) {
    std::memcpy(&value, source, sizeof(value));
    return value;
  };
  switch (type) {
    case NpyType::kFloat32:
      return static_cast<T>(as(float{}));
    case NpyType::kFloat16:
      return static_cast<T>(HalfToFloat(as(uint16_t{})));
    case NpyType::kFloat64:
      return static_cast<T>(as(double{}));
    case NpyType::kInt32:
      return static_cast<T>(as(int32_t{}));
    case NpyType::kInt64:
      return static_cast<T>(as(int64_t{}));
  }
  return T{};
}

bool IsFloating(NpyType type) {
  return type != NpyType::kInt32 && type != NpyType::kInt64;
}

absl::StatusOr<NpyHeader> ReadHeader(const Bytes& bytes) {
  std::string head(std::min(bytes.size(), kNpyPreambleBytes), '\0');
  QUIRE_RETURN_IF_ERROR(bytes.ReadAt(0, head));
  QUIRE_ASSIGN_OR_RETURN(const size_t data_offset, NpyDataOffset(head));
  head.resize(std::min(bytes.size(), data_offset));
  QUIRE_RETURN_IF_ERROR(bytes.ReadAt(0, head));
  QUIRE_ASSIGN_OR_RETURN(NpyHeader header, ParseNpyHeader(head));

  const size_t found = bytes.size() - header.data_offset;
  const size_t needed =
      static_cast<size_t>(header.element_count) * NpyTypeBytes(header.type);
  if (found != needed) {
    return InputError(
        fmt::format("holds {} bytes of data; its header "
                    "promises {}",
                    found, needed));
  }
  return header;
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

NpyFile::NpyFile(std::unique_ptr<Bytes> bytes, std::string name,
                 NpyHeader header)
    : bytes_(std::move(bytes)),
      name_(std::move(name)),
      header_(std::move(header)) {}

NpyFile::NpyFile(NpyFile&&) noexcept = default;
NpyFile& NpyFile::operator=(NpyFile&&) noexcept = default;
NpyFile::~NpyFile() = default;

absl::StatusOr<NpyFile> NpyFile::Open(std::unique_ptr<ByteSource> source) {
  std::string name = source->name();
  QUIRE_ASSIGN_OR_RETURN(std::unique_ptr<Bytes> bytes,
                         BytesOf(std::move(source)));
  absl::StatusOr<NpyHeader> header = ReadHeader(*bytes);
  QUIRE_RETURN_IF_ERROR(Named(name, header.status()));
  return NpyFile(std::move(bytes), std::move(name), *std::move(header));
}

int64_t NpyFile::row_count() const {
  return header_.dims.empty() ? 1 : header_.dims[0];
}

int64_t NpyFile::row_elements() const {
  return row_count() == 0 ? 0 : header_.element_count / row_count();
}

absl::Status NpyFile::Read(int64_t first_row, std::span<float> out) const {
  if (!IsFloating(header_.type)) {
    return InputError(fmt::format("'{}' holds {}; floats are needed", name_,
                                  NpyTypeName(header_.type)));
  }
  return Named(name_, ReadRows(first_row, out));
}

absl::Status NpyFile::Read(int64_t first_row, std::span<int64_t> out) const {
  if (IsFloating(header_.type)) {
    return InputError(fmt::format("'{}' holds {}; ids are int64 or int32",
                                  name_, NpyTypeName(header_.type)));
  }
  return Named(name_, ReadRows(first_row, out));
}

template <typename T>
absl::Status NpyFile::ReadRun(int64_t first_element, std::span<T> out) const {
  const size_t bytes = NpyTypeBytes(header_.type);
  size_t offset =
      header_.data_offset + static_cast<size_t>(first_element) * bytes;
  const bool same_bytes = std::is_same_v<T, float>
                              ? header_.type == NpyType::kFloat32
                              : header_.type == NpyType::kInt64;
  if (same_bytes) {
    return bytes_->ReadAt(
        offset, {reinterpret_cast<char*>(out.data()), out.size_bytes()});
  }
  char block[kBlockBytes];
  while (!out.empty()) {
    const size_t count = std::min(out.size(), kBlockBytes / bytes);
    QUIRE_RETURN_IF_ERROR(
        bytes_->ReadAt(offset, std::span(block, count * bytes)));
    for (size_t i = 0; i < count; ++i) {
      out[i] = Convert<T>(header_.type, block + i * bytes);
    }
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
