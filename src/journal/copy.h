// Copies snapshots and segments from one data directory into another: under the
// identity of that, whole, and on its disk when the function returns. The names
// are free there.
//
// CORRUPT, FOREIGN_DATA, FORMAT_TOO_NEW of the source; DISK_FULL, IO_FAILED.
// After an error a part of the copy may be there.
//
// Thread safety: one thread at a time; the source may grow meanwhile.

#pragma once

#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/files.h"
#include "journal/format.h"

namespace quire::journal {

// From the files of one data directory to those of another.
struct CopyRoute {
  Directory& from;
  Directory& to;
  Identity from_identity;
  Identity to_identity;
  // Asked after each block of so many bytes: an error ends the copy.
  std::function<absl::Status(int64_t bytes)> goes_on;
};

// Figures of what was copied.
struct Copied {
  int64_t files = 0;
  int64_t bytes = 0;
};

// The finished snapshot `lsn`; what came over is not looked at.
absl::StatusOr<Copied> CopySnapshot(const CopyRoute& snapshots, uint64_t lsn);

// The segment `number` as it is now: behind what was written before, it may
// have a part of what is being written.
absl::StatusOr<Copied> CopySegment(const CopyRoute& log, uint64_t number);

// Ends a log that nobody writes to behind the record `lsn`, in its last
// segment: what follows becomes zeros. CORRUPT if it does not reach there.
absl::Status EndLogAt(Directory& log, const Identity& identity, uint64_t lsn);

}  // namespace quire::journal
