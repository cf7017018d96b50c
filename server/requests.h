// What the control plane's requests have in common: table references, id
// batches and tensors of generated messages, checked.

#pragma once

#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "quire/v1/embedding.pb.h"
#include "quire/v1/table.pb.h"

namespace quire {

// The uid of a reference; INVALID_ARGUMENT unless it has 0 or 16 bytes.
absl::StatusOr<std::optional<TableUid>> UidOf(const v1::TableRef& table);

// 16 bytes.
std::string UidBytes(const TableUid& uid);

// A table that serves; errors name the field "table.…".
absl::StatusOr<TableHandle> FindTable(const Engine& engine,
                                      const v1::TableRef& table);

// Ids of rank 1.
absl::StatusOr<std::span<const int64_t>> FlatIds(const v1::IdBatch& batch);

// Float32 of shape [rows, columns]; an absent shape means that. `field` is for
// the error.
absl::StatusOr<std::span<const float>> Matrix(const v1::Tensor& tensor,
                                              int64_t rows, int64_t columns,
                                              std::string_view field);

// A tensor of shape [rows, columns] whose values are to be written.
std::span<float> MakeMatrix(int64_t rows, int64_t columns, v1::Tensor& tensor);

}  // namespace quire
