// What a file says of the table that it came from (docs/FILES.md).

#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "quire/v1/admin.pb.h"
#include "quire/v1/table.pb.h"

namespace quire::cli {

using Metadata = std::map<std::string, std::string>;

// "quire.spec", a TableSpec as protobuf's JSON, and "quire.step".
Metadata MetadataOf(const v1::Table& table);

// Of the specification in `metadata` what training needs: the optimizer and the
// rules. Name, size, shards and durability are the new table's own. Empty if
// there is none; an error names `file`.
absl::StatusOr<v1::TableSpec> TrainingSpecOf(const Metadata& metadata,
                                             std::string_view file);

// The pushes that its rows had seen; nullopt if it does not say. An error names
// `file`.
absl::StatusOr<std::optional<int64_t>> StepOf(const Metadata& metadata,
                                              std::string_view file);

}  // namespace quire::cli
