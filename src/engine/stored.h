// Messages of a data directory: ids as they have them, and what was read,
// checked, for a start.
//
// Errors are CORRUPT.

#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/ids.h"
#include "base/status.h"

namespace quire {

// Its checksum is right, and it is none of this version's.
inline absl::Status NotUnderstood(std::string_view what) {
  return Error(Reason::kCorrupt,
               fmt::format("its checksum is right, but {}", what));
}

template <typename Record>
absl::StatusOr<Record> Parse(Bytes payload) {
  Record record;
  if (!record.ParseFromArray(payload.data(),
                             static_cast<int>(payload.size()))) {
    return NotUnderstood("it is not the message that its type says");
  }
  return record;
}

// Of a TableUid or a SessionId.
template <typename Id>
std::string BytesOf(const Id& id) {
  return std::string(id.bytes.begin(), id.bytes.end());
}

// The other way round.
template <typename Id>
absl::StatusOr<Id> IdOf(const std::string& bytes) {
  Id id;
  if (bytes.size() != id.bytes.size()) {
    return NotUnderstood(fmt::format("an id has {} bytes", bytes.size()));
  }
  std::ranges::copy(bytes, id.bytes.begin());
  return id;
}

// Of what has a uid and perhaps an origin_uid.
template <typename Record>
absl::StatusOr<TableUid> OriginOf(const Record& record) {
  return IdOf<TableUid>(record.origin_uid().empty() ? record.uid()
                                                    : record.origin_uid());
}

template <typename Record>
bool IsOf(const TableUid& origin, const Record& record) {
  const absl::StatusOr<TableUid> its_own = OriginOf(record);
  return its_own.ok() && *its_own == origin;
}

}  // namespace quire
