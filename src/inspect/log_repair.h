// Cuts a damaged log before its first damage, so that a server starts again
// with all that was before. Nothing is deleted: what is cut goes into a
// directory beside the log.
//
//   DIR/lost-42/0000000000000007.log    as it was; in DIR/log it ends at the
//   cut DIR/lost-42/0000000000000008.log    no longer in DIR/log
//   DIR/lost-42/0000000000000028/       a snapshot: no longer in DIR/snapshots
//
// A snapshot holds changes behind its own LSN; one that holds some that are cut
// goes too. A log is not cut before the newest snapshot that is whole.
//
// A crash in the middle leaves a log that is damaged still, or repaired;
// another repair goes on, in a directory of its own.
//
// Thread safety: one thread at a time.

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "inspect/data_files.h"
#include "inspect/log_report.h"
#include "journal/files.h"

namespace quire::inspect {

struct RepairPlan {
  LogCheck check;
  // The first record that is lost: all before it stays.
  uint64_t cut_lsn = 0;
  // The segment that keeps what it has before the cut; empty if the cut lies
  // between two.
  std::string cut_segment;
  // Those behind it, which go as a whole; in order.
  std::vector<std::string> lost_segments;
  // Snapshots that go.
  std::vector<uint64_t> lost_snapshots;
  // The snapshot that the next start loads; 0: none, the log has all.
  uint64_t base_lsn = 0;
};

// What RepairLog would do; nothing changes. BAD_VALUE if there is nothing to
// repair; CORRUPT if a cut would not help, or lose what a snapshot still has:
// the message says what to do instead. DIRECTORY_IN_USE.
absl::StatusOr<RepairPlan> PlanRepair(const DataFiles& files);

struct Repair {
  RepairPlan plan;
  // Where the lost is.
  std::string lost_path;
};

// Takes the directory, which must be one to change, and repairs the log.
// Errors of PlanRepair change nothing; IO_FAILED, DISK_FULL.
absl::StatusOr<Repair> RepairLog(std::unique_ptr<journal::Directory> root);

}  // namespace quire::inspect
