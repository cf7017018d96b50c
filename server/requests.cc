#include "server/requests.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <string>

#include "base/status.h"

namespace quire {
namespace {

// Whether an explicit shape is exactly `dims`.
bool IsShape(const v1::Shape& shape, std::initializer_list<int64_t> dims) {
  return std::ranges::equal(shape.dims(), dims);
}

}  // namespace

absl::StatusOr<std::optional<TableUid>> UidOf(const v1::TableRef& table) {
  if (table.uid().empty()) {
    return std::optional<TableUid>();
  }
  TableUid uid;
  if (table.uid().size() != uid.bytes.size()) {
    return Error(
        Reason::kBadValue,
        fmt::format("table.uid has {} bytes; a uid has 16", table.uid().size()),
        "table.uid");
  }
  std::ranges::copy(table.uid(), uid.bytes.begin());
  return std::optional<TableUid>(uid);
}

std::string UidBytes(const TableUid& uid) {
  return std::string(reinterpret_cast<const char*>(uid.bytes.data()),
                     uid.bytes.size());
}

absl::StatusOr<TableHandle> FindTable(const Engine& engine,
                                      const v1::TableRef& table) {
  QUIRE_ASSIGN_OR_RETURN(const std::optional<TableUid> uid, UidOf(table));
  return engine.Find(table.name(), uid);
}

absl::StatusOr<std::span<const int64_t>> FlatIds(const v1::IdBatch& batch) {
  const int64_t count = batch.ids_size();
  if (batch.has_shape() && !IsShape(batch.shape(), {count})) {
    return Error(Reason::kBadShape,
                 fmt::format("{} ids of shape ({}); here ids have rank 1",
                             count, fmt::join(batch.shape().dims(), ", ")),
                 "ids.shape");
  }
  return std::span<const int64_t>(batch.ids().data(),
                                  static_cast<size_t>(count));
}

absl::StatusOr<std::span<const float>> Matrix(const v1::Tensor& tensor,
                                              int64_t rows, int64_t columns,
                                              std::string_view field) {
  if (!tensor.packed().empty() ||
      (tensor.dtype() != v1::ELEMENT_TYPE_UNSPECIFIED &&
       tensor.dtype() != v1::ELEMENT_TYPE_FLOAT32)) {
    return Error(Reason::kNotBuilt,
                 fmt::format("{}: only FLOAT32 in `values` works", field),
                 field);
  }
  const int64_t found = tensor.values_size();
  const bool shape_agrees =
      !tensor.has_shape() || IsShape(tensor.shape(), {rows, columns});
  if (!shape_agrees || found != rows * columns) {
    return Error(
        Reason::kBadShape,
        fmt::format("{}: {} floats of shape ({}); ({}, {}) is needed", field,
                    found, fmt::join(tensor.shape().dims(), ", "), rows,
                    columns),
        field);
  }
  return std::span<const float>(tensor.values().data(),
                                static_cast<size_t>(found));
}

std::span<float> MakeMatrix(int64_t rows, int64_t columns, v1::Tensor& tensor) {
  tensor.mutable_shape()->add_dims(static_cast<int32_t>(rows));
  tensor.mutable_shape()->add_dims(static_cast<int32_t>(columns));
  tensor.set_dtype(v1::ELEMENT_TYPE_FLOAT32);
  tensor.mutable_values()->Resize(static_cast<int>(rows * columns), 0.0f);
  return {tensor.mutable_values()->mutable_data(),
          static_cast<size_t>(rows * columns)};
}

}  // namespace quire
