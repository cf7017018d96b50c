#include "client/formats/safetensors_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "base/status.h"
#include "client/formats/input_error.h"

namespace quire::formats {
namespace {

constexpr size_t kLengthBytes = 8;
constexpr size_t kDimsMax = 32;
constexpr std::string_view kMetadataKey = "__metadata__";

struct TypeEntry {
  std::string_view name;
  size_t bytes;
  std::optional<NumberType> type;
};

constexpr auto kTypes = std::to_array<TypeEntry>({
    {"F32", 4, NumberType::kFloat32},
    {"F16", 2, NumberType::kFloat16},
    {"BF16", 2, NumberType::kBfloat16},
    {"F64", 8, NumberType::kFloat64},
    {"I64", 8, NumberType::kInt64},
    {"I32", 4, NumberType::kInt32},
    {"I16", 2, NumberType::kInt16},
    {"I8", 1, NumberType::kInt8},
    {"U8", 1, NumberType::kUint8},
    {"BOOL", 1, NumberType::kBool},
    {"U64", 8, {}},
    {"U32", 4, {}},
    {"U16", 2, {}},
    {"F8_E4M3", 1, {}},
    {"F8_E5M2", 1, {}},
    {"C64", 8, {}},
});

// What the header says of one tensor.
struct Tensor {
  TensorEntry entry;
  std::optional<std::array<uint64_t, 2>> data_offsets;
  bool has_shape = false;
};

// Takes the JSON of a header as it is read, so that nothing is held but what
// the grammar above has.
class HeaderHandler : public nlohmann::json_sax<nlohmann::json> {
 public:
  std::vector<Tensor>& tensors() { return tensors_; }
  std::map<std::string, std::string>& metadata() { return metadata_; }
  // One clause: what was wrong.
  const std::string& complaint() const { return complaint_; }

  bool null() override { return Refuse("null"); }
  bool boolean(bool) override { return Refuse("a truth value"); }
  bool number_integer(int64_t) override { return Refuse("a number below 0"); }
  bool number_float(double, const std::string&) override {
    return Refuse("a number with a point");
  }
  bool binary(binary_t&) override { return Refuse("bytes"); }

  bool number_unsigned(uint64_t value) override {
    if (place_ == Place::kShape) {
      std::vector<int64_t>& dims = tensors_.back().entry.dims;
      if (value > INT64_MAX || dims.size() == kDimsMax) {
        return Complain(fmt::format("tensor '{}' has an impossible shape",
                                    tensors_.back().entry.name));
      }
      dims.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (place_ == Place::kOffsets && offset_count_ < 2) {
      (*tensors_.back().data_offsets)[offset_count_++] = value;
      return true;
    }
    return Refuse(fmt::format("the number {}", value));
  }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata) {
      // Others may write what they like; Quire keeps what it wrote.
      const bool kept = key_.starts_with("quire.");
      return !kept || metadata_.emplace(key_, std::move(value)).second ||
             Complain(fmt::format("'{}' comes twice", key_));
    }
    if (place_ == Place::kTensor && key_ == "dtype" &&
        tensors_.back().entry.type_name.empty()) {
      tensors_.back().entry.type_name = std::move(value);
      return true;
    }
    return Refuse("a string");
  }

  bool start_object(size_t) override {
    if (place_ == Place::kNothing) {
      place_ = Place::kTop;
      return true;
    }
    if (place_ == Place::kTop && key_ == kMetadataKey) {
      place_ = Place::kMetadata;
      return true;
    }
    if (place_ == Place::kTop) {
      place_ = Place::kTensor;
      tensors_.emplace_back().entry.name = key_;
      return true;
    }
    return Refuse("an object");
  }

  bool end_object() override {
    place_ = place_ == Place::kTop ? Place::kEnd : Place::kTop;
    return true;
  }

  bool key(std::string& value) override {
    if (place_ == Place::kTop && !names_.insert(value).second) {
      return Complain(fmt::format("'{}' comes twice", value));
    }
    key_ = std::move(value);
    return true;
  }

  bool start_array(size_t) override {
    if (place_ != Place::kTensor) {
      return Refuse("a list");
    }
    Tensor& tensor = tensors_.back();
    if (key_ == "shape" && !tensor.has_shape) {
      tensor.has_shape = true;
      place_ = Place::kShape;
      return true;
    }
    if (key_ == "data_offsets" && !tensor.data_offsets) {
      tensor.data_offsets.emplace();
      offset_count_ = 0;
      place_ = Place::kOffsets;
      return true;
    }
    return Refuse("a list");
  }

  bool end_array() override {
    if (place_ == Place::kOffsets && offset_count_ != 2) {
      return Complain(fmt::format("tensor '{}' has {} data_offsets of 2",
                                  tensors_.back().entry.name, offset_count_));
    }
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception&) override {
    return Complain(fmt::format("no JSON at byte {}", kLengthBytes + position));
  }

 private:
  enum class Place {
    kNothing,
    kTop,
    kTensor,
    kShape,
    kOffsets,
    kMetadata,
    kEnd
  };

  bool Complain(std::string complaint) {
    complaint_ = std::move(complaint);
    return false;
  }

  bool Refuse(std::string_view found) {
    return Complain(
        fmt::format("{} where none belongs, after '{}'", found, key_));
  }

  std::vector<Tensor> tensors_;
  std::map<std::string, std::string> metadata_;
  std::unordered_set<std::string> names_;
  std::string complaint_;
  Place place_ = Place::kNothing;
  std::string key_;
  size_t offset_count_ = 0;
};

uint64_t LengthOf(std::string_view head) {
  uint64_t length = 0;
  std::memcpy(&length, head.data(), kLengthBytes);
  return length;
}

// Completes an entry: its type, its strides, that its size is what its shape
// needs. The error is one clause.
absl::Status Complete(Tensor& tensor) {
  TensorEntry& entry = tensor.entry;
  if (!tensor.has_shape || !tensor.data_offsets || entry.type_name.empty()) {
    return InputError(fmt::format(
        "tensor '{}' lacks its dtype, shape or data_offsets", entry.name));
  }
  const auto [begin, end] = *tensor.data_offsets;
  const auto type =
      std::ranges::find(kTypes, entry.type_name, &TypeEntry::name);
  const std::optional<int64_t> count = ElementCount(entry.dims);
  if (!count) {
    return InputError(
        fmt::format("tensor '{}' has an impossible shape", entry.name));
  }
  if (begin > end) {
    return InputError(fmt::format("tensor '{}' ends at {}, before it begins",
                                  entry.name, end));
  }
  if (type != kTypes.end()) {
    entry.type = type->type;
    const uint64_t needed = static_cast<uint64_t>(*count) * type->bytes;
    if (end - begin != needed) {
      return InputError(
          fmt::format("tensor '{}' has {} bytes; its shape and dtype need {}",
                      entry.name, end - begin, needed));
    }
  }
  entry.strides = DenseStrides(entry.dims);
  return absl::OkStatus();
}

// Tensors must follow one another from 0 to `data_bytes`.
absl::Status CheckCover(std::span<const Tensor> tensors, size_t data_bytes) {
  std::vector<const Tensor*> order;
  order.reserve(tensors.size());
  for (const Tensor& tensor : tensors) {
    order.push_back(&tensor);
  }
  std::ranges::sort(order, {},
                    [](const Tensor* tensor) { return *tensor->data_offsets; });
  uint64_t end = 0;
  for (const Tensor* tensor : order) {
    if ((*tensor->data_offsets)[0] != end) {
      return InputError(fmt::format(
          "tensor '{}' begins at byte {} of the data, where {} was expected",
          tensor->entry.name, (*tensor->data_offsets)[0], end));
    }
    end = (*tensor->data_offsets)[1];
  }
  if (end != data_bytes) {
    return InputError(fmt::format("the tensors are {} bytes, the file holds {}",
                                  end, data_bytes));
  }
  return absl::OkStatus();
}

class SafetensorsFile : public TensorFile {
 public:
  SafetensorsFile(std::shared_ptr<Bytes> bytes,
                  std::vector<TensorEntry> entries,
                  std::map<std::string, std::string> metadata)
      : TensorFile(bytes->name(), std::move(entries), std::move(metadata)),
        bytes_(std::move(bytes)) {}

  absl::StatusOr<std::shared_ptr<Bytes>> BytesOf(const TensorEntry&) override {
    return bytes_;
  }

 private:
  const std::shared_ptr<Bytes> bytes_;
};

// The text of the header.
absl::StatusOr<std::string> ReadHeader(Bytes& bytes) {
  if (bytes.size() < kLengthBytes) {
    return InputError(fmt::format(
        "'{}' is no safetensors file: {} bytes, at least {} are needed",
        bytes.name(), bytes.size(), kLengthBytes));
  }
  QUIRE_ASSIGN_OR_RETURN(const std::string head,
                         ReadRange(bytes, 0, kLengthBytes));
  const uint64_t length = LengthOf(head);
  if (length > bytes.size() - kLengthBytes) {
    return InputError(fmt::format(
        "'{}' is no safetensors file, or is cut: a header of {} bytes in a "
        "file of {}",
        bytes.name(), length, bytes.size()));
  }
  if (length > kSafetensorsHeaderBytesMax) {
    return InputError(
        fmt::format("'{}' has a header of {} bytes; at most {} are read",
                    bytes.name(), length, kSafetensorsHeaderBytesMax));
  }
  return ReadRange(bytes, kLengthBytes, static_cast<size_t>(length));
}

}  // namespace

bool LooksLikeSafetensors(std::string_view head) {
  return head.size() > kLengthBytes && head[kLengthBytes] == '{' &&
         LengthOf(head) < (uint64_t{1} << 32);
}

absl::StatusOr<std::unique_ptr<TensorFile>> OpenSafetensors(
    std::shared_ptr<Bytes> bytes) {
  QUIRE_ASSIGN_OR_RETURN(const std::string header, ReadHeader(*bytes));
  const auto refuse = [&bytes](std::string_view complaint) {
    return InputError(
        fmt::format("'{}' has a damaged header: {}", bytes->name(), complaint));
  };
  if (!header.starts_with('{')) {
    return refuse("it does not begin with '{'");
  }
  HeaderHandler handler;
  if (!nlohmann::json::sax_parse(header, &handler)) {
    return refuse(handler.complaint());
  }
  for (Tensor& tensor : handler.tensors()) {
    if (absl::Status status = Complete(tensor); !status.ok()) {
      return refuse(SentenceOf(status));
    }
  }
  const size_t data = kLengthBytes + header.size();
  if (absl::Status status = CheckCover(handler.tensors(), bytes->size() - data);
      !status.ok()) {
    return refuse(SentenceOf(status));
  }
  std::vector<TensorEntry> entries;
  entries.reserve(handler.tensors().size());
  for (Tensor& tensor : handler.tensors()) {
    tensor.entry.offset = data + static_cast<size_t>((*tensor.data_offsets)[0]);
    entries.push_back(std::move(tensor.entry));
  }
  return std::make_unique<SafetensorsFile>(std::move(bytes), std::move(entries),
                                           std::move(handler.metadata()));
}

}  // namespace quire::formats
