#include "client/formats/fvecs_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/limits.h"
#include "base/status.h"
#include "client/formats/bytes.h"
#include "client/formats/input_error.h"
#include "client/formats/row_checks.h"

namespace quire::formats {
namespace {

int32_t DimAt(const char* bytes) {
  int32_t dim = 0;
  std::memcpy(&dim, bytes, sizeof(dim));
  return dim;
}

size_t RowBytes(int64_t dim) {
  return sizeof(int32_t) + static_cast<size_t>(dim) * sizeof(float);
}

class FvecsRows : public RowReader {
 public:
  FvecsRows(std::shared_ptr<Bytes> bytes, RowFileInfo info)
      : bytes_(std::move(bytes)),
        name_(fmt::format("'{}'", bytes_->name())),
        info_(std::move(info)) {}

  const RowFileInfo& info() const override { return info_; }

  absl::Status Read(int64_t rows_max, RowBlock& block) override {
    block.row_count = std::min(rows_max, info_.row_count - next_row_);
    const auto dim = static_cast<size_t>(info_.dim);
    block.values.resize(static_cast<size_t>(block.row_count) * dim);
    const size_t row_bytes = RowBytes(info_.dim);
    packed_.resize(static_cast<size_t>(block.row_count) * row_bytes);
    QUIRE_RETURN_IF_ERROR(
        bytes_->ReadAt(static_cast<size_t>(next_row_) * row_bytes, packed_));
    for (size_t i = 0; i < static_cast<size_t>(block.row_count); ++i) {
      QUIRE_RETURN_IF_ERROR(
          TakeRow(packed_.data() + i * row_bytes,
                  std::span(block.values).subspan(i * dim, dim)));
    }
    return CheckFinite(name_, block.values, next_row_ - block.row_count,
                       info_.dim);
  }

 private:
  absl::Status TakeRow(const char* packed, std::span<float> values) {
    if (DimAt(packed) != info_.dim) {
      return InputError(fmt::format("{} row {} has {} floats, the first has {}",
                                    name_, next_row_, DimAt(packed),
                                    info_.dim));
    }
    std::memcpy(values.data(), packed + sizeof(int32_t), values.size_bytes());
    ++next_row_;
    return absl::OkStatus();
  }

  const std::shared_ptr<Bytes> bytes_;
  const std::string name_;
  const RowFileInfo info_;
  std::string packed_;
  int64_t next_row_ = 0;
};

}  // namespace

bool LooksLikeFvecs(std::string_view head, size_t size) {
  if (head.size() < sizeof(int32_t)) {
    return false;
  }
  const int32_t dim = DimAt(head.data());
  return dim >= 1 && dim <= kDimMax && size % RowBytes(dim) == 0;
}

absl::StatusOr<std::unique_ptr<RowReader>> OpenFvecs(
    std::unique_ptr<ByteSource> source, const RowReaderOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(std::shared_ptr<Bytes> bytes,
                         BytesOf(std::move(source)));
  if (bytes->size() < sizeof(int32_t)) {
    return InputError(fmt::format("'{}' is no fvecs file: {} bytes",
                                  bytes->name(), bytes->size()));
  }
  QUIRE_ASSIGN_OR_RETURN(const std::string head,
                         ReadRange(*bytes, 0, sizeof(int32_t)));
  const int64_t dim = DimAt(head.data());
  QUIRE_RETURN_IF_ERROR(
      CheckDim(fmt::format("'{}'", bytes->name()), dim, options));
  if (bytes->size() % RowBytes(dim) != 0) {
    return InputError(fmt::format(
        "'{}' has {} bytes, which are no whole rows of {} floats (of {} bytes "
        "each)",
        bytes->name(), bytes->size(), dim, RowBytes(dim)));
  }
  RowFileInfo info = {
      .format = RowFormat::kFvecs,
      .row_count = static_cast<int64_t>(bytes->size() / RowBytes(dim)),
      .dim = dim};
  return std::make_unique<FvecsRows>(std::move(bytes), std::move(info));
}

}  // namespace quire::formats
