#include "client/formats/tensor_rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/limits.h"
#include "base/status.h"
#include "client/formats/input_error.h"
#include "client/formats/row_checks.h"

namespace quire::formats {
namespace {

// "'model.pt', tensor 'emb.weight'"
std::string NameOf(const TensorFile& file, const TensorEntry& entry) {
  return fmt::format("'{}', tensor '{}'", file.name(), entry.name);
}

absl::Status CheckReadable(const TensorFile& file, const TensorEntry& entry) {
  if (!entry.complaint.empty()) {
    return InputError(entry.complaint);
  }
  if (!entry.type || !IsFloating(*entry.type)) {
    return InputError(
        fmt::format("{} holds {}; floats are needed", NameOf(file, entry),
                    entry.type ? NumberName(*entry.type) : entry.type_name));
  }
  return absl::OkStatus();
}

absl::Status CheckMatrix(const TensorFile& file, const TensorEntry& entry,
                         const RowReaderOptions& options) {
  QUIRE_RETURN_IF_ERROR(CheckReadable(file, entry));
  if (entry.dims.size() != 2) {
    return InputError(
        fmt::format("{} has the shape [{}]; rows need a matrix, [rows, dim]",
                    NameOf(file, entry), fmt::join(entry.dims, ", ")));
  }
  return CheckDim(NameOf(file, entry), entry.dims[1], options);
}

// The labels of rows: where each ends in the bytes of all.
class LabelReader {
 public:
  // nullopt if the file has none for tensor `name`.
  static absl::StatusOr<std::optional<LabelReader>> Open(TensorFile& file,
                                                         std::string_view name,
                                                         int64_t row_count) {
    const std::string prefix = CompanionPrefix(name);
    const TensorEntry* bytes = file.Find(prefix + std::string(kLabelBytesName));
    const TensorEntry* ends = file.Find(prefix + std::string(kLabelEndsName));
    if (bytes == nullptr && ends == nullptr) {
      return std::nullopt;
    }
    if (bytes == nullptr || ends == nullptr ||
        bytes->type != NumberType::kUint8 || bytes->dims.size() != 1 ||
        bytes->strides[0] != 1 || ends->type != NumberType::kInt64 ||
        ends->dims != std::vector{row_count}) {
      return InputError(fmt::format(
          "'{}' has no labels for {} rows in '{}' and '{}': uint8 [bytes] and "
          "int64 [rows] are needed",
          file.name(), row_count, prefix + std::string(kLabelBytesName),
          prefix + std::string(kLabelEndsName)));
    }
    QUIRE_ASSIGN_OR_RETURN(TensorReader bytes_reader,
                           TensorReader::Open(file, *bytes));
    QUIRE_ASSIGN_OR_RETURN(TensorReader ends_reader,
                           TensorReader::Open(file, *ends));
    return LabelReader(NameOf(file, *ends), std::move(bytes_reader),
                       std::move(ends_reader));
  }

  // Of the next labels.size() rows.
  absl::Status Read(int64_t first_row, std::span<std::string> labels) {
    std::vector<int64_t> ends(labels.size());
    QUIRE_RETURN_IF_ERROR(ends_.Read(first_row, std::span(ends)));
    const int64_t begin = end_;
    for (size_t i = 0; i < labels.size(); ++i) {
      if (ends[i] < end_ || ends[i] > bytes_.row_count() ||
          ends[i] - end_ > static_cast<int64_t>(kLabelBytesMax)) {
        return InputError(fmt::format(
            "{}: the label of row {} ends at {}, after {}, of {} bytes; labels "
            "have at most {}",
            name_, first_row + static_cast<int64_t>(i), ends[i], end_,
            bytes_.row_count(), kLabelBytesMax));
      }
      end_ = ends[i];
    }
    text_.resize(static_cast<size_t>(end_ - begin));
    QUIRE_RETURN_IF_ERROR(bytes_.Read(begin, std::span<char>(text_)));
    int64_t place = begin;
    for (size_t i = 0; i < labels.size(); ++i) {
      labels[i] = text_.substr(static_cast<size_t>(place - begin),
                               static_cast<size_t>(ends[i] - place));
      place = ends[i];
    }
    return absl::OkStatus();
  }

 private:
  LabelReader(std::string name, TensorReader bytes, TensorReader ends)
      : name_(std::move(name)),
        bytes_(std::move(bytes)),
        ends_(std::move(ends)) {}

  std::string name_;
  TensorReader bytes_;
  TensorReader ends_;
  // Where the last label ended.
  int64_t end_ = 0;
  std::string text_;
};

struct StateReader {
  std::string name;
  TensorReader reader;
};

class TensorRows : public RowReader {
 public:
  TensorRows(std::unique_ptr<TensorFile> file, RowFileInfo info,
             std::string name, TensorReader weight,
             std::vector<StateReader> state, std::optional<LabelReader> labels)
      : file_(std::move(file)),
        info_(std::move(info)),
        name_(std::move(name)),
        weight_(std::move(weight)),
        state_(std::move(state)),
        labels_(std::move(labels)) {}

  const RowFileInfo& info() const override { return info_; }

  absl::Status Read(int64_t rows_max, RowBlock& block) override {
    block.row_count = std::min(rows_max, info_.row_count - next_row_);
    block.values.resize(static_cast<size_t>(block.row_count * info_.dim));
    QUIRE_RETURN_IF_ERROR(weight_.Read(next_row_, std::span(block.values)));
    QUIRE_RETURN_IF_ERROR(
        CheckFinite(name_, block.values, next_row_, info_.dim));
    QUIRE_RETURN_IF_ERROR(ReadState(block));
    if (labels_) {
      block.labels.resize(static_cast<size_t>(block.row_count));
      QUIRE_RETURN_IF_ERROR(labels_->Read(next_row_, block.labels));
    }
    next_row_ += block.row_count;
    return absl::OkStatus();
  }

 private:
  // Puts the parts of a row's state beside one another.
  absl::Status ReadState(RowBlock& block) {
    const int64_t floats = StateFloats(info_.state);
    const auto rows = static_cast<size_t>(block.row_count);
    block.state.resize(rows * static_cast<size_t>(floats));
    size_t begin = 0;
    for (const StateReader& part : state_) {
      const auto width = static_cast<size_t>(part.reader.row_elements());
      part_.resize(rows * width);
      QUIRE_RETURN_IF_ERROR(part.reader.Read(next_row_, std::span(part_)));
      QUIRE_RETURN_IF_ERROR(
          CheckFinite(part.name, part_, next_row_, part.reader.row_elements()));
      for (size_t row = 0; row < rows; ++row) {
        std::ranges::copy(std::span(part_).subspan(row * width, width),
                          block.state.begin() +
                              static_cast<std::ptrdiff_t>(
                                  row * static_cast<size_t>(floats) + begin));
      }
      begin += width;
    }
    return absl::OkStatus();
  }

  // What the readers read from.
  const std::unique_ptr<TensorFile> file_;
  const RowFileInfo info_;
  const std::string name_;
  const TensorReader weight_;
  const std::vector<StateReader> state_;
  std::optional<LabelReader> labels_;
  std::vector<float> part_;
  int64_t next_row_ = 0;
};

// The only number of `entry`.
absl::StatusOr<int64_t> ReadStep(TensorFile& file, const TensorEntry& entry) {
  TensorEntry column = entry;
  if (column.dims.empty()) {
    column.dims = {1};
    column.strides = {1};
  }
  if (!entry.complaint.empty() || !entry.type || IsFloating(*entry.type) ||
      column.dims != std::vector<int64_t>{1}) {
    return InputError(fmt::format("{} is needed as one integer, it is {}",
                                  NameOf(file, entry), ToText(entry)));
  }
  QUIRE_ASSIGN_OR_RETURN(const TensorReader reader,
                         TensorReader::Open(file, column));
  int64_t step = 0;
  QUIRE_RETURN_IF_ERROR(reader.Read(0, std::span(&step, 1)));
  return step;
}

// The state beside the tensor `name`.
absl::StatusOr<std::vector<StateReader>> OpenState(TensorFile& file,
                                                   std::string_view name,
                                                   RowFileInfo& info) {
  const std::string prefix = CompanionPrefix(name) + std::string(kStateNames);
  std::vector<StateReader> readers;
  for (const TensorEntry& entry : file.entries()) {
    if (!entry.name.starts_with(prefix)) {
      continue;
    }
    if (entry.name == CompanionPrefix(name) + std::string(kStepName)) {
      QUIRE_ASSIGN_OR_RETURN(info.step, ReadStep(file, entry));
      continue;
    }
    QUIRE_RETURN_IF_ERROR(CheckReadable(file, entry));
    if (entry.dims.empty() || entry.dims.size() > 2 ||
        entry.dims[0] != info.row_count ||
        (entry.dims.size() == 2 &&
         (entry.dims[1] < 1 || entry.dims[1] > kDimMax)) ||
        readers.size() == kStatePartsMax) {
      return InputError(
          fmt::format("{} has the shape [{}]; [{}] or [{}, floats] is needed",
                      NameOf(file, entry), fmt::join(entry.dims, ", "),
                      info.row_count, info.row_count));
    }
    QUIRE_ASSIGN_OR_RETURN(TensorReader reader,
                           TensorReader::Open(file, entry));
    info.state.push_back({.name = entry.name.substr(prefix.size()),
                          .floats = reader.row_elements()});
    readers.push_back(
        {.name = NameOf(file, entry), .reader = std::move(reader)});
  }
  if (readers.empty()) {
    return InputError(fmt::format(
        "'{}' holds no optimizer state: no tensor '{}…'", file.name(), prefix));
  }
  return readers;
}

}  // namespace

absl::StatusOr<std::unique_ptr<RowReader>> OpenTensorRows(
    std::unique_ptr<TensorFile> file, const RowReaderOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(const TensorEntry* entry,
                         ChooseTensor(*file, options.tensor));
  QUIRE_RETURN_IF_ERROR(CheckMatrix(*file, *entry, options));
  RowFileInfo info = {.format = options.format.value_or(RowFormat::kNpz),
                      .row_count = entry->dims[0],
                      .dim = entry->dims[1],
                      .metadata = file->metadata()};
  QUIRE_ASSIGN_OR_RETURN(TensorReader weight,
                         TensorReader::Open(*file, *entry));
  std::vector<StateReader> state;
  if (options.state) {
    QUIRE_ASSIGN_OR_RETURN(state, OpenState(*file, entry->name, info));
  }
  QUIRE_ASSIGN_OR_RETURN(std::optional<LabelReader> labels,
                         LabelReader::Open(*file, entry->name, info.row_count));
  info.labelled = labels.has_value();
  std::string name = NameOf(*file, *entry);
  return std::make_unique<TensorRows>(std::move(file), std::move(info),
                                      std::move(name), std::move(weight),
                                      std::move(state), std::move(labels));
}

}  // namespace quire::formats
