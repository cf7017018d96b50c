#include "client/formats/tensor_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstring>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "client/formats/input_error.h"

namespace quire::formats {
namespace {

// Elements are converted in blocks of this size, on the stack.
constexpr size_t kBlockBytes = size_t{16} << 10;

// A list of what there is says no more than this.
constexpr size_t kTensorsListed = 20;

// What Quire writes beside rows.
bool IsCompanion(const TensorFile& file, std::string_view name) {
  for (const std::string_view kind :
       {kStateNames, kLabelBytesName, kLabelEndsName}) {
    const size_t place = name.rfind(kind);
    if (place == std::string_view::npos) {
      continue;
    }
    const std::string_view prefix = name.substr(0, place);
    const std::string weight = std::string(prefix) + std::string(kWeightName);
    const std::string_view bare =
        prefix.ends_with('.') ? prefix.substr(0, prefix.size() - 1) : prefix;
    if (file.Find(weight) != nullptr ||
        (!bare.empty() && file.Find(bare) != nullptr)) {
      return true;
    }
  }
  return false;
}

std::string ListOf(std::span<const TensorEntry* const> entries) {
  std::string text;
  for (const TensorEntry* entry :
       entries.first(std::min(entries.size(), kTensorsListed))) {
    text += (text.empty() ? "" : ", ") + ToText(*entry);
  }
  if (entries.size() > kTensorsListed) {
    text += fmt::format(" and {} more", entries.size() - kTensorsListed);
  }
  return text;
}

}  // namespace

TensorFile::TensorFile(std::string name, std::vector<TensorEntry> entries,
                       std::map<std::string, std::string> metadata)
    : name_(std::move(name)),
      entries_(std::move(entries)),
      metadata_(std::move(metadata)) {}

const TensorEntry* TensorFile::Find(std::string_view name) const {
  const auto found = std::ranges::find(entries_, name, &TensorEntry::name);
  return found == entries_.end() ? nullptr : &*found;
}

std::string ToText(const TensorEntry& entry) {
  if (!entry.complaint.empty()) {
    return entry.name + " (not readable)";
  }
  return fmt::format("{} [{}] {}", entry.name, fmt::join(entry.dims, ", "),
                     entry.type ? NumberName(*entry.type) : entry.type_name);
}

std::optional<int64_t> ElementCount(std::span<const int64_t> dims) {
  constexpr auto kNumberBytesMax = static_cast<int64_t>(sizeof(double));
  if (std::ranges::find(dims, 0) != dims.end()) {
    return 0;
  }
  int64_t bytes = kNumberBytesMax;
  for (const int64_t dim : dims) {
    if (dim < 0 || __builtin_mul_overflow(bytes, dim, &bytes)) {
      return std::nullopt;
    }
  }
  return bytes / kNumberBytesMax;
}

bool LiesWithin(std::span<const int64_t> dims, std::span<const int64_t> strides,
                int64_t offset, int64_t storage_elements) {
  const std::optional<int64_t> count = ElementCount(dims);
  if (!count || *count > storage_elements || offset < 0) {
    return false;
  }
  if (*count == 0) {
    return true;
  }
  int64_t last = offset;
  for (size_t i = 0; i < dims.size(); ++i) {
    int64_t reach = 0;
    if (strides[i] < 0 ||
        __builtin_mul_overflow(dims[i] - 1, strides[i], &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return false;
    }
  }
  return last < storage_elements;
}

std::vector<int64_t> DenseStrides(std::span<const int64_t> dims) {
  std::vector<int64_t> strides(dims.size());
  int64_t stride = 1;
  for (size_t i = dims.size(); i-- > 0;) {
    strides[i] = stride;
    stride *= std::max<int64_t>(dims[i], 1);
  }
  return strides;
}

absl::StatusOr<const TensorEntry*> ChooseTensor(
    const TensorFile& file, const std::optional<std::string>& name) {
  std::vector<const TensorEntry*> choices;
  for (const TensorEntry& entry : file.entries()) {
    if (name && entry.name == *name) {
      return &entry;
    }
    choices.push_back(&entry);
  }
  if (choices.empty()) {
    return InputError(fmt::format("'{}' holds no tensor", file.name()));
  }
  if (name) {
    return InputError(fmt::format("'{}' has no tensor '{}'; it has {}",
                                  file.name(), *name, ListOf(choices)));
  }
  if (choices.size() <= kTensorsListed) {
    std::vector<const TensorEntry*> tables = choices;
    std::erase_if(tables, [&file](const TensorEntry* entry) {
      return IsCompanion(file, entry->name);
    });
    if (tables.size() == 1) {
      return tables.front();
    }
  }
  if (choices.size() == 1) {
    return choices.front();
  }
  return InputError(
      fmt::format("'{}' holds {} tensors: choose one with --tensor NAME; it "
                  "has {}",
                  file.name(), choices.size(), ListOf(choices)));
}

std::string CompanionPrefix(std::string_view name) {
  if (name == kWeightName) {
    return "";
  }
  if (name.ends_with("." + std::string(kWeightName))) {
    name.remove_suffix(kWeightName.size());
    return std::string(name);
  }
  return std::string(name) + ".";
}

absl::StatusOr<TensorReader> TensorReader::Open(TensorFile& file,
                                                const TensorEntry& entry) {
  QUIRE_CHECK(
      entry.type.has_value() && !entry.dims.empty() && entry.dims.size() <= 2,
      "a column or a matrix of known numbers");
  QUIRE_ASSIGN_OR_RETURN(std::shared_ptr<Bytes> bytes, file.BytesOf(entry));
  return TensorReader(std::move(bytes), entry);
}

TensorReader::TensorReader(std::shared_ptr<Bytes> bytes,
                           const TensorEntry& entry)
    : bytes_(std::move(bytes)),
      type_(*entry.type),
      offset_(entry.offset),
      row_count_(entry.dims[0]),
      row_elements_(entry.dims.size() == 2 ? entry.dims[1] : 1),
      row_stride_(entry.strides[0]),
      element_stride_(entry.strides.size() == 2 ? entry.strides[1] : 1) {}

absl::Status TensorReader::Read(int64_t first_row, std::span<float> out) const {
  return ReadRows(first_row, out);
}

absl::Status TensorReader::Read(int64_t first_row,
                                std::span<int64_t> out) const {
  return ReadRows(first_row, out);
}

absl::Status TensorReader::Read(int64_t first_row, std::span<char> out) const {
  return bytes_->ReadAt(offset_ + static_cast<size_t>(first_row), out);
}

template <typename T>
absl::Status TensorReader::ReadRun(int64_t first_element,
                                   std::span<T> out) const {
  const size_t bytes = NumberBytes(type_);
  size_t offset = offset_ + static_cast<size_t>(first_element) * bytes;
  const bool same_bytes = std::is_same_v<T, float>
                              ? type_ == NumberType::kFloat32
                              : type_ == NumberType::kInt64;
  if (same_bytes) {
    return bytes_->ReadAt(
        offset, {reinterpret_cast<char*>(out.data()), out.size_bytes()});
  }
  char block[kBlockBytes];
  while (!out.empty()) {
    const size_t count = std::min(out.size(), kBlockBytes / bytes);
    QUIRE_RETURN_IF_ERROR(
        bytes_->ReadAt(offset, std::span(block, count * bytes)));
    Convert(type_, block, out.first(count));
    out = out.subspan(count);
    offset += count * bytes;
  }
  return absl::OkStatus();
}

template <typename T>
absl::Status TensorReader::ReadRows(int64_t first_row, std::span<T> out) const {
  if (out.empty()) {
    return absl::OkStatus();
  }
  const int64_t count = std::ssize(out) / row_elements_;
  QUIRE_CHECK(first_row >= 0 && first_row + count <= row_count_,
              "rows within the tensor");
  const int64_t first_element = first_row * row_stride_;
  const bool is_dense = row_elements_ == 1 || element_stride_ == 1;
  if (is_dense && (row_stride_ == row_elements_ || count == 1)) {
    return ReadRun(first_element, out);
  }
  const auto elements = static_cast<size_t>(row_elements_);
  if (is_dense) {
    for (int64_t row = 0; row < count; ++row) {
      QUIRE_RETURN_IF_ERROR(
          ReadRun(first_element + row * row_stride_,
                  out.subspan(static_cast<size_t>(row) * elements, elements)));
    }
    return absl::OkStatus();
  }
  // Columns lie together, as in a transposed matrix, or nothing does.
  std::vector<T> column(static_cast<size_t>(count));
  for (size_t i = 0; i < elements; ++i) {
    const int64_t first =
        first_element + static_cast<int64_t>(i) * element_stride_;
    if (row_stride_ == 1) {
      QUIRE_RETURN_IF_ERROR(ReadRun(first, std::span(column)));
    }
    for (size_t row = 0; row < column.size(); ++row) {
      if (row_stride_ != 1) {
        QUIRE_RETURN_IF_ERROR(
            ReadRun(first + static_cast<int64_t>(row) * row_stride_,
                    std::span(column).subspan(row, 1)));
      }
      out[row * elements + i] = column[row];
    }
  }
  return absl::OkStatus();
}

}  // namespace quire::formats
