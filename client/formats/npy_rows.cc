#include "client/formats/npy_rows.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "client/formats/input_error.h"
#include "client/formats/npy_file.h"
#include "client/formats/row_checks.h"

namespace quire::formats {
namespace {

class NpyRows : public RowReader {
 public:
  NpyRows(NpyFile file, RowFileInfo info)
      : file_(std::move(file)), info_(std::move(info)) {}

  const RowFileInfo& info() const override { return info_; }

  absl::Status Read(int64_t rows_max, RowBlock& block) override {
    block.row_count = std::min(rows_max, info_.row_count - next_row_);
    block.values.resize(static_cast<size_t>(block.row_count * info_.dim));
    QUIRE_RETURN_IF_ERROR(file_.Read(next_row_, std::span(block.values)));
    QUIRE_RETURN_IF_ERROR(CheckFinite(fmt::format("'{}'", file_.name()),
                                      block.values, next_row_, info_.dim));
    next_row_ += block.row_count;
    return absl::OkStatus();
  }

 private:
  const NpyFile file_;
  const RowFileInfo info_;
  int64_t next_row_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RowReader>> OpenNpyRows(
    std::unique_ptr<ByteSource> source, const RowReaderOptions& options) {
  QUIRE_ASSIGN_OR_RETURN(NpyFile file, NpyFile::Open(std::move(source)));
  const std::vector<int64_t>& dims = file.header().dims;
  if (dims.size() != 2) {
    return InputError(fmt::format(
        "'{}' has the shape ({}{}); rows need a matrix, (rows, dim)",
        file.name(), fmt::join(dims, ", "), dims.size() == 1 ? "," : ""));
  }
  const RowFileInfo info = {
      .format = RowFormat::kNpy, .row_count = dims[0], .dim = dims[1]};
  QUIRE_RETURN_IF_ERROR(
      CheckDim(fmt::format("'{}'", file.name()), info.dim, options));
  return std::make_unique<NpyRows>(std::move(file), info);
}

}  // namespace quire::formats
