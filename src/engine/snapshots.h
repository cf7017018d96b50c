// Snapshots of an engine that serves: made when asked for, and by themselves
// before the log grows long.
//
//   image      catalog, settings, steps and sessions as of one LSN, S
//   chunks     about a megabyte of rows each, copied between two changes, when
//              all changes up to S are in them; each with the LSN of the last
//              change that is. Those that were never written are left out
//   log sync   what is in a chunk is in the log, also after a power cut
//   manifest   the image; with it the snapshot counts
//
// Of MEMORY tables, which have no records, it has the catalog only; their rows
// are saved beside it: engine/memory_saves.h.
//
// A start loads the chunks and replays the log from S on; a row takes only the
// changes that its chunk does not have. Nobody waits for a snapshot but those
// who write to the shard whose chunk is being copied.
//
// One that is found to be damaged (engine/scrubber.h) does not count any more:
// older ones are kept, and the log from them on. If it is the newest, or there
// have been changes since that, another is made at once, and then it is
// removed. If there has been no change since, the other has its LSN and so its
// name: it is then removed first, if an older one and the log, or the whole
// log, can stand in for it meanwhile; else it stays until something changes.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "engine/data_directory.h"
#include "engine/memory_saves.h"
#include "engine/sequencer.h"
#include "journal/log.h"
#include "journal/snapshot_writer.h"
#include "quire/storage/v1/storage.pb.h"

namespace quire {

struct SnapshotPolicy {
  // One is made when the log since the last is longer than this and than the
  // tables are large; sooner if the log's own bound asks for it: LogOptions.
  int64_t log_bytes_max = int64_t{4} << 30;
  // One is made, too, when there have been changes for so long.
  std::chrono::seconds interval{600};
  // Bytes a second that one writes: the disk is the log's as well. 0: no bound.
  int64_t rate_bytes = 400'000'000;
  // How many are kept, 1 or more. The log is kept from the oldest on: so far
  // back a table can be rewound. When the log is full, from the newest on,
  // which alone is kept then.
  int keep = 2;

  // Those that are kept are read back so long after the last time, to find what
  // the disk has lost. 0: never.
  std::chrono::milliseconds scrub_interval = std::chrono::hours(24);
  // Bytes a second that this reads. 0: no bound.
  int64_t scrub_rate_bytes = 32'000'000;
  // Called for each that is damaged: with what is, and what to do. On a thread
  // of the scrubber's; must be short.
  std::function<void(const absl::Status&)> on_damage;
};

class Snapshots {
 public:
  // What the start has found.
  struct Recovered {
    // Of the snapshot that was loaded; 0: there was none.
    uint64_t newest_lsn = 0;
    int64_t newest_bytes = 0;
    // Of the log since.
    int64_t log_bytes = 0;
    // See MemorySaves.
    uint64_t memory_number = 0;
    // See Recovery.
    std::map<uint64_t, uint64_t> epoch_ends;
    // Those that were passed over, by LSN: why, for people.
    std::map<uint64_t, std::string> damaged;
  };
  // All outlive it.
  Snapshots(Sequencer& sequencer, DataDirectory& directory, journal::Log& log,
            MemoryBudget& tables, const Recovered& recovered,
            const SnapshotPolicy& policy);
  // Gives up one that is being made.
  ~Snapshots();
  Snapshots(const Snapshots&) = delete;
  Snapshots& operator=(const Snapshots&) = delete;

  // Makes one, after any that is being made, and saves MEMORY tables; returns
  // its LSN. Without a change since the last, that is the snapshot.
  absl::StatusOr<uint64_t> Make();

  // Makes no more, and gives up what is being made; then saves MEMORY tables if
  // that is done by `deadline`: STOPPING otherwise.
  absl::Status EndWithSave(std::chrono::steady_clock::time_point deadline);

  // Of the newest; 0 if there is none.
  uint64_t newest_lsn() const;
  int64_t newest_bytes() const;
  // Of records since it.
  int64_t log_bytes_since() const;

  // While it lives no snapshot is removed, and no part of the log: for whoever
  // reads them beside the server. What was to be removed meanwhile goes soon
  // after. The snapshots outlive it.
  class Hold;

  // The snapshot of that LSN is not as it was written: `what` says it to
  // people.
  void ReportDamaged(uint64_t lsn, std::string what);
  // Of those that have not been replaced.
  std::vector<std::string> damaged() const;

  const SnapshotPolicy& policy() const { return policy_; }

 private:
  void Run();
  // Nothing is made any more, and what is being made is given up.
  void Stop();
  bool is_stopping() const;
  bool IsDue() const;
  bool IsDamaged(uint64_t lsn) const;
  bool ReplacementIsDue() const;
  // Those and what follows are thread_'s alone.
  absl::StatusOr<uint64_t> MakeAll();
  absl::StatusOr<uint64_t> MakeOne();
  absl::Status Write(const Sequencer::Image& image,
                     journal::SnapshotWriter& writer);
  // Rows that were ever changed, and labels; returns how many chunks.
  absl::StatusOr<int64_t> WriteTable(uint32_t stream,
                                     const Sequencer::Image::OfTable& table,
                                     uint64_t image_lsn,
                                     journal::SnapshotWriter& writer);
  // Waits until `is_so`; an error if that can no longer be.
  template <typename Condition>
  absl::Status WaitUntil(const Condition& is_so);
  // Waits as long as so many bytes since `begun` want.
  void Pace(int64_t bytes, std::chrono::steady_clock::time_point begun);
  // A damaged one, to make another of its LSN: CORRUPT if that cannot be.
  absl::Status RemoveDamaged(uint64_t lsn);
  // So that the log shrinks.
  absl::Status RemoveOld();
  // Damaged ones that are not the newest.
  absl::Status RemoveReplaced() QUIRE_REQUIRES(removing_);
  // The newest so many, of those that are whole.
  absl::Status RemoveAllBut(size_t count) QUIRE_REQUIRES(removing_);
  // What a hold has put off.
  void RemoveWhatWasHeld();

  Sequencer& sequencer_;
  DataDirectory& directory_;
  journal::Log& log_;
  const MemoryBudget& tables_;
  const SnapshotPolicy policy_;
  const std::map<uint64_t, uint64_t> epoch_ends_;

  MemorySaves memory_saves_;

  // Held while old ones are removed, also over waits for the disk: whoever
  // wants a Hold waits until what is being removed is gone.
  Mutex removing_;
  int hold_count_ QUIRE_GUARDED_BY(removing_) = 0;
  bool removal_is_due_ QUIRE_GUARDED_BY(removing_) = false;

  mutable Mutex mutex_;
  CondVar wanted_changed_;  // for thread_
  CondVar made_changed_;    // for those who want one
  bool stopping_ QUIRE_GUARDED_BY(mutex_) = false;
  uint64_t newest_lsn_ QUIRE_GUARDED_BY(mutex_);
  int64_t newest_bytes_ QUIRE_GUARDED_BY(mutex_);
  // Of Log::Stats::appended_bytes, as of the newest; below 0 for what the log
  // had since when the server started.
  int64_t log_bytes_ QUIRE_GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point made_ QUIRE_GUARDED_BY(mutex_);
  // By LSN: what is damaged, for people.
  std::map<uint64_t, std::string> damaged_ QUIRE_GUARDED_BY(mutex_);
  bool has_new_damage_ QUIRE_GUARDED_BY(mutex_) = false;
  // When it was last tried to make up for them.
  std::chrono::steady_clock::time_point replaced_ QUIRE_GUARDED_BY(mutex_);
  // How often Make was called; how often it has its answer, and the last one.
  uint64_t wanted_ QUIRE_GUARDED_BY(mutex_) = 0;
  uint64_t answered_ QUIRE_GUARDED_BY(mutex_) = 0;
  absl::StatusOr<uint64_t> answer_ QUIRE_GUARDED_BY(mutex_) = 0;

  std::thread thread_;
};

class Snapshots::Hold {
 public:
  explicit Hold(Snapshots& snapshots);
  ~Hold();
  Hold(const Hold&) = delete;
  Hold& operator=(const Hold&) = delete;

 private:
  Snapshots& snapshots_;
};

// --- What chunks are of ---

// The index of a chunk in its table's stream.
inline constexpr uint64_t RowsChunk(uint32_t shard, uint32_t chunk) {
  return uint64_t{shard} << 32 | chunk;
}
inline constexpr uint64_t kLabelsChunk = ~uint64_t{0};

// All labels of a table, in chunks of some thousands.
absl::Status WriteLabels(uint32_t stream, const LiveTable& table, uint64_t lsn,
                         journal::SnapshotWriter& writer);

// What a manifest says of these tables and sessions; no table has rows yet.
storage::v1::SnapshotManifest ManifestOf(const Sequencer::Image& image,
                                         uint64_t epoch);

}  // namespace quire
