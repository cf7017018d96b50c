// What is kept of MEMORY tables: not each change, but all rows now and then,
// and when the server stops. A save is exact: rows, optimizer state, step and
// names of pushes are those of one point between two changes. Labels are those
// of a moment while it was made.
//
// A save is a snapshot (journal/snapshots.h) in a directory of its own, whose
// LSN is its number: 1, 2, 3, … Only the newest is kept. A start gives its rows
// to the tables that the snapshots and the log say there are.
//
// Nobody waits for a save, but for the copy of a chunk that he is to change; or
// longer, when --memory-limit leaves no room for copies: Shard::BeginCopyAsOf.
//
// Thread safety: one thread at a time, but for HasChanges.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "base/memory.h"
#include "base/mutex.h"
#include "engine/data_directory.h"
#include "engine/sequencer.h"
#include "journal/snapshot_writer.h"

namespace quire {

class MemorySaves {
 public:
  // All outlive it.
  //   newest_number  of those that are there, whole or not; or 0
  //   rate_bytes     bytes a second that one writes; 0: no bound
  MemorySaves(const Sequencer& sequencer, DataDirectory& directory,
              MemoryBudget& tables, uint64_t newest_number, int64_t rate_bytes);

  // Whether a MEMORY table has been changed since the last save.
  bool HasChanges() const;

  // Makes one, if so. Once `is_wanted` says no it is given up: STOPPING. After
  // an error those before are as they were.
  using IsWanted = std::function<bool()>;
  absl::Status Save(const IsWanted& is_wanted, bool is_paced);

 private:
  absl::Status Write(const Sequencer::Image& image, int64_t unix_seconds,
                     const IsWanted& is_wanted, bool is_paced);
  absl::Status WriteTable(uint32_t stream,
                          const Sequencer::Image::OfTable& table,
                          const IsWanted& is_wanted, bool is_paced,
                          journal::SnapshotWriter& writer);
  absl::Status RemoveOld();

  const Sequencer& sequencer_;
  DataDirectory& directory_;
  MemoryBudget& tables_;
  const int64_t rate_bytes_;

  uint64_t newest_number_;
  mutable Mutex mutex_;
  // Of Sequencer::memory_change_count, as of the newest.
  uint64_t saved_changes_ QUIRE_GUARDED_BY(mutex_);
};

}  // namespace quire
