// A file of named tensors: safetensors, .npz, torch's .pt.

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/formats/bytes.h"
#include "client/formats/number_type.h"

namespace quire::formats {

// A tensor, before its numbers are read.
struct TensorEntry {
  std::string name;
  // Absent: numbers that Quire does not read.
  std::optional<NumberType> type = {};
  // As the file has it, if it has a name for it: "F8_E4M3".
  std::string type_name = {};
  // A sentence: why the numbers cannot be read. Empty if their type says it.
  std::string complaint = {};
  std::vector<int64_t> dims = {};
  // Elements from one index to the next, one for each dim.
  std::vector<int64_t> strides = {};
  // Where the first element is, in bytes of TensorFile::BytesOf.
  size_t offset = 0;
  // For the file's own use.
  size_t part = 0;
};

// Thread safety: one thread at a time.
class TensorFile {
 public:
  virtual ~TensorFile() = default;

  const std::string& name() const { return name_; }

  // In the order of the file; names are unique. All elements of an entry with
  // a type lie within its bytes.
  std::span<const TensorEntry> entries() const { return entries_; }
  const TensorEntry* Find(std::string_view name) const;

  // What the file says of itself, as far as Quire wrote it: "quire.spec".
  const std::map<std::string, std::string>& metadata() const {
    return metadata_;
  }

  // The bytes that hold the numbers of `entry`.
  virtual absl::StatusOr<std::shared_ptr<Bytes>> BytesOf(
      const TensorEntry& entry) = 0;

 protected:
  TensorFile(std::string name, std::vector<TensorEntry> entries,
             std::map<std::string, std::string> metadata);

 private:
  const std::string name_;
  const std::vector<TensorEntry> entries_;
  const std::map<std::string, std::string> metadata_;
};

// "weight [3, 2] float32"
std::string ToText(const TensorEntry& entry);

// The product of `dims`; nullopt if it is no int64 times the size of a number.
std::optional<int64_t> ElementCount(std::span<const int64_t> dims);

// Whether all elements of a view of a storage lie within it, and are no more
// than it has. A stride for each dim.
bool LiesWithin(std::span<const int64_t> dims, std::span<const int64_t> strides,
                int64_t offset, int64_t storage_elements);

// Strides of numbers in C order, the last index first.
std::vector<int64_t> DenseStrides(std::span<const int64_t> dims);

// The tensor that was asked for by name. Without a name: the only one, those
// that Quire writes beside a table's rows (CompanionPrefix) not counted. The
// error lists what there is.
absl::StatusOr<const TensorEntry*> ChooseTensor(
    const TensorFile& file, const std::optional<std::string>& name);

// In front of the names of what belongs to the rows of tensor `name`:
// "model." for "model.weight", "users." for "users".
std::string CompanionPrefix(std::string_view name);

// Behind that prefix.
inline constexpr std::string_view kWeightName = "weight";
inline constexpr std::string_view kStateNames = "optimizer.";
inline constexpr std::string_view kStepName = "optimizer.step";
inline constexpr std::string_view kLabelBytesName = "labels.bytes";
inline constexpr std::string_view kLabelEndsName = "labels.ends";

// Reads a tensor of one or two dims, a few rows at a time; one of one dim is a
// column. Thread safety: one thread at a time.
class TensorReader {
 public:
  // `entry` has a type.
  static absl::StatusOr<TensorReader> Open(TensorFile& file,
                                           const TensorEntry& entry);

  int64_t row_count() const { return row_count_; }
  int64_t row_elements() const { return row_elements_; }

  // Rows [first, first + out.size() / row_elements()).
  absl::Status Read(int64_t first_row, std::span<float> out) const;
  absl::Status Read(int64_t first_row, std::span<int64_t> out) const;
  absl::Status Read(int64_t first_row, std::span<char> out) const;  // uint8

 private:
  TensorReader(std::shared_ptr<Bytes> bytes, const TensorEntry& entry);

  template <typename T>
  absl::Status ReadRows(int64_t first_row, std::span<T> out) const;
  // Elements that lie one after the other.
  template <typename T>
  absl::Status ReadRun(int64_t first_element, std::span<T> out) const;

  std::shared_ptr<Bytes> bytes_;
  NumberType type_;
  size_t offset_;
  int64_t row_count_;
  int64_t row_elements_;
  int64_t row_stride_;
  int64_t element_stride_;
};

}  // namespace quire::formats
