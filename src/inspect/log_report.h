// How a log is: what a start would read of it, and whether it is whole.
//
// Thread safety: one thread at a time.

#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "inspect/data_files.h"
#include "inspect/snapshot_report.h"
#include "journal/log_reader.h"
#include "journal/log_salvage.h"

namespace quire::inspect {

// What recovery reads in a second at least, on any disk that we support: with
// less, look at the disk.
inline constexpr double kSnapshotBytesPerSecond = 1e9;
inline constexpr double kLogBytesPerSecond = 0.5e9;

struct LogStatus {
  bool is_in_use = false;
  // Of the newest start; 0: there has been none.
  uint64_t epoch = 0;
  // Of the oldest record that is kept, and of the last: one less if there is
  // no record.
  uint64_t first_lsn = 1;
  uint64_t last_lsn = 0;
  int64_t segment_count = 0;
  // Of the files, which are made at their full size.
  int64_t segment_bytes = 0;
  // Where a crash tore the log's end; empty if nowhere.
  std::string torn;
  std::vector<SnapshotReport> snapshots;  // the newest first

  // The oldest LSN of which the tables could be had again: of the oldest
  // snapshot that is whole and that the log reaches back to, or 1 if the log
  // reaches back to its beginning; 0: there is none.
  uint64_t oldest_lsn = 0;

  // What a start would load, and then read of the log.
  uint64_t start_snapshot_lsn = 0;  // 0: none
  int64_t start_snapshot_bytes = 0;
  int64_t start_log_bytes = 0;
  std::chrono::duration<double> start_time{0};
};

// Reads the last segments only. CORRUPT if they are damaged.
absl::StatusOr<LogStatus> ReadLogStatus(const DataFiles& files);

struct LogCheck {
  enum class State {
    kWhole,
    // A crash tore the end: the next start cuts it, and nobody was promised
    // what was there. Beside a server: the end that is being written.
    kTorn,
    kDamaged,
  };
  State state = State::kWhole;

  uint64_t first_lsn = 1;
  // Where whole records end.
  journal::LogEnd end;
  int64_t record_count = 0;
  int64_t record_bytes = 0;

  // kTorn: how much is cut.
  int64_t torn_bytes = 0;

  // kWhole and kTorn: OK if it begins and ends so that a start can go on from
  // the newest snapshot, or from its own beginning; CORRUPT.
  absl::Status reach;

  // kDamaged: what is wrong, and what lies behind.
  absl::Status damage;
  journal::RecordsBehind behind;
};

// Reads every record. An error is one that keeps it from that; damage is none.
absl::StatusOr<LogCheck> CheckLog(const DataFiles& files);

// OK if a start finds in the log what it needs behind the snapshot `lsn` (0:
// none); CORRUPT.
absl::Status CheckStart(const DataFiles& files, uint64_t snapshot_lsn);

}  // namespace quire::inspect
