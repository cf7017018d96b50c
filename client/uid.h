// Uids of tables in messages: 16 bytes.

#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/ids.h"

namespace quire {

// BUG if a server sent anything but 16 bytes.
absl::StatusOr<TableUid> ReadUid(const std::string& bytes);

std::string WriteUid(const TableUid& uid);

}  // namespace quire
