// Makes a data directory of a backup: the same tables and sessions, and an
// identity of its own.
//
// Thread safety: one thread at a time.

#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "journal/files.h"
#include "journal/format.h"

namespace quire::inspect {

struct Restored {
  journal::Identity identity = {};
  // What the tables are as of.
  uint64_t epoch = 0;
  uint64_t lsn = 0;
  int64_t files = 0;
  int64_t bytes = 0;
};

// `target` is empty; it counts when all of it has been read back and is whole.
// After an error it is empty again. FOREIGN_DATA if `backup` is none, or
// `target` is not empty; CORRUPT; DIRECTORY_IN_USE; DISK_FULL, IO_FAILED.
absl::StatusOr<Restored> RestoreBackup(
    std::unique_ptr<journal::Directory> backup, journal::Directory& target);

}  // namespace quire::inspect
