// From quire.v1.TableSpec, as people write it, to what a table is made of.

#pragma once

#include "absl/status/statusor.h"
#include "quire/v1/table.pb.h"
#include "table/table.h"

namespace quire {

// The specification with every default filled in and padding_idx counted from
// the front, or INVALID_ARGUMENT that names the first field that is wrong,
// unknown, or not built yet; FAILED_PRECONDITION for a LOGGED table where there
// is no log.
absl::StatusOr<v1::TableSpec> Normalize(const v1::TableSpec& spec,
                                        bool has_log);

// What to make of a normalized specification.
TableConfig ConfigOf(const v1::TableSpec& spec);

// OK if two normalized specifications agree, else FAILED_PRECONDITION
// (TABLE_DIFFERS) naming the first field that differs, with both values.
absl::Status CheckSame(const v1::TableSpec& existing,
                       const v1::TableSpec& wanted);

// Table names: [A-Za-z0-9][A-Za-z0-9._-]{0,127}.
bool IsTableName(std::string_view name);
absl::Status CheckTableName(std::string_view name);

// What a table acknowledges by default, from wherever it comes.
absl::Status CheckDefaultDurability(v1::Durability durability,
                                    v1::Persistence persistence,
                                    std::string_view field);

// A learning rate, from wherever it comes: finite, 0 or more.
absl::Status CheckLearningRate(double learning_rate, std::string_view field);

}  // namespace quire
