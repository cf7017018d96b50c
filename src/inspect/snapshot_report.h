// What the snapshots of a data directory are of.
//
// Thread safety: one thread at a time.

#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "inspect/data_files.h"

namespace quire::inspect {

struct SnapshotReport {
  uint64_t lsn = 0;
  // CORRUPT or the like: its manifest is damaged, or files are missing or have
  // other sizes. Nothing below is known then, but for the LSN.
  absl::Status damage;

  uint64_t epoch = 0;
  int64_t bytes = 0;
  int64_t session_count = 0;

  struct OfTable {
    std::string name;
    std::string uid;  // 16 bytes
    int64_t rows = 0;
    int64_t dim = 0;
    // Pushes so far.
    int64_t step = 0;
    // False: the rows are initial ones, and none is stored.
    bool has_rows = false;
    // Not yet published.
    bool is_import = false;
  };
  std::vector<OfTable> tables;

  // Known when every chunk has been read: the last change that is in one of
  // them, or the snapshot's LSN; and how many there are.
  uint64_t last_lsn = 0;
  int64_t chunk_count = 0;
};

// All that are finished, the newest first. Reads manifests, not the rows.
absl::StatusOr<std::vector<SnapshotReport>> ListSnapshots(
    const DataFiles& files);

// Reads every chunk. CORRUPT if something is not as it was written; IO_FAILED
// also if there is no such snapshot, or no more.
absl::StatusOr<SnapshotReport> VerifySnapshot(const DataFiles& files,
                                              uint64_t lsn);

}  // namespace quire::inspect
