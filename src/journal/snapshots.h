// The snapshots of a data directory: a directory of directories, one for each.
//
//   snapshots/000000000000002a        finished: it has a manifest, and all of
//                                     it is on the disk
//   snapshots/0000000000000037.draft  being made or removed: it counts nothing
//
// Of two names the directory is the same, and which one it has after a power
// cut is not known before `snapshots` is synced. So that is synced before any
// content of a draft is removed: it might come back under its finished name.
//
// snapshot_writer.h makes them, snapshot_reader.h reads them.
//
// Thread safety: one thread at a time changes `snapshots`; beside it, finished
// snapshots may be read.

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "journal/files.h"

namespace quire::journal {

struct SnapshotList {
  // Of finished ones, the newest first.
  std::vector<uint64_t> lsns;
  // Names of drafts.
  std::vector<std::string> drafts;
};

// What there is; other names are passed over. It is on the disk: the directory
// is synced first, for a process that was killed may not have come to it.
absl::StatusOr<SnapshotList> ListSnapshots(Directory& snapshots);

// After an error or a crash it is there, or it is a draft. Nobody reads it.
absl::Status RemoveSnapshot(Directory& snapshots, uint64_t lsn);

// Removes what crashes have left: while no snapshot is being made.
absl::Status RemoveDrafts(Directory& snapshots);
// One of them.
absl::Status RemoveDraft(Directory& snapshots, std::string_view name);

}  // namespace quire::journal
