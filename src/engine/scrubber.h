// Reads back the snapshots that are kept, slowly and again and again: a disk
// may lose what it had, and says so only when it is read. Found while the rows
// are in memory, damage costs a new snapshot; found by a start, it may cost the
// rows.
//
//   each snapshot, the newest first: its manifest, then its files, chunk by
//   chunk, from the disk itself and at a pace (SnapshotPolicy::scrub_…)
//
// A thread of its own, not the idle time of the one that makes snapshots: at
// this pace all of them take hours, and one that is due does not wait for that.
// It holds nothing: snapshots are made and removed, and the server stops, as if
// it were not there. What is removed while it is read is no finding, nor what
// is whole when it is read again.
//
// Thread safety: all functions may be called from any thread, but for Stop.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "base/mutex.h"
#include "engine/data_directory.h"
#include "engine/snapshots.h"

namespace quire {

class Scrubber {
 public:
  // Both outlive it.
  Scrubber(DataDirectory& directory, Snapshots& snapshots);
  ~Scrubber();
  Scrubber(const Scrubber&) = delete;
  Scrubber& operator=(const Scrubber&) = delete;

  // Ends it, between two chunks. By whoever destroys it.
  void Stop();

  // Figures for people, since the start.
  struct Stats {
    // Whether anything is read at all.
    bool is_on = false;
    // How often all that was kept has been read.
    int64_t passes = 0;
    // When that last ended, in seconds since 1970; 0: never.
    int64_t last_pass_unix_seconds = 0;
    // Of chunks.
    int64_t bytes_read = 0;
    // Snapshots that were damaged, each time that one was.
    int64_t findings = 0;
  };
  Stats stats() const;

  // Someone has read a snapshot, and this is wrong with it: unless it has been
  // removed meanwhile, it is counted, told, and replaced. Returns what to tell.
  absl::Status Report(uint64_t lsn, const absl::Status& status);

 private:
  void Run();
  // Waits; false if it is to stop before.
  bool WaitUntil(std::chrono::steady_clock::time_point end);
  bool is_stopping() const;
  void ReadAll();
  // What is wrong with a snapshot, and was twice; STOPPING.
  absl::Status Read(uint64_t lsn);
  // From the file of that index on, which is then the one that is damaged.
  absl::Status ReadFiles(uint64_t lsn, size_t& index);
  // So many bytes have been read: waits as long as the pace wants; STOPPING.
  absl::Status Pace(int64_t bytes);
  // Finished snapshots, the newest first. The names are not synced: that would
  // be a write.
  absl::StatusOr<std::vector<uint64_t>> List() const;
  bool IsThere(uint64_t lsn) const;

  DataDirectory& directory_;
  Snapshots& snapshots_;
  const SnapshotPolicy& policy_;

  mutable Mutex mutex_;
  CondVar changed_;
  bool stopping_ QUIRE_GUARDED_BY(mutex_) = false;
  Stats stats_ QUIRE_GUARDED_BY(mutex_);

  std::thread thread_;
};

}  // namespace quire
