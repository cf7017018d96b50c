// A lookup's reply, as the client reads it: views of the rows where they lie.

#pragma once

#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/ids.h"
#include "tensor/element_type.h"
#include "tensor/shape.h"

namespace quire::wire {

// Rows of one table.
struct TableRows {
  // The incarnation that was read.
  TableUid table_uid;
  // Of the request's ids, and [dim]: rank 0 .. 9.
  Shape shape;
  ElementType dtype = ElementType::kFloat32;
  // shape.element_count() little-endian elements of dtype, aligned to nothing.
  ByteRange values;
  // MAX bags, when they were asked for: as many little-endian int32 as there
  // are elements, aligned to nothing. Else empty.
  ByteRange winners;
};

// What was looked up.
struct LookupResponse {
  // In the order asked; whether there are as many is for the caller to check.
  std::vector<TableRows> tables;
  // All changes up to there are in the rows; absent for MEMORY tables.
  std::optional<Position> position;
  // Keeps the payloads that the generated code has read, as in LookupRequest.
  std::shared_ptr<const void> storage;

  // Reads one message, read like requests are (wire/requests.h). `pieces`, the
  // array as well as the bytes, outlives the response and its copies. INTERNAL
  // (reason BUG) if it is no message, or not one that a server of ours sends:
  // elements of a type of a version to come, a uid that is not 16 bytes, a
  // shape that disagrees with its elements, or winners that do. Fields of
  // versions to come are ignored.
  static absl::StatusOr<LookupResponse> Parse(std::span<const Bytes> pieces);

  bool used_generated_code() const { return storage != nullptr; }
};

}  // namespace quire::wire
