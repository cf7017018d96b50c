// The log: one order of records, written by one thread, synced by another.
//
//   Log ──Append──► queue ──writer──► file ──syncer──► disk
//                      ▲        WRITTEN       SYNCED
//
// All that waits is written with one call, and synced with one: the more wait,
// the larger the group. What nobody wants synced is synced within
// Options::sync_interval of its writing.
//
// A segment is prepared before it is needed, at its full size: records of a
// running log do not meet a full disk. When no segment can be prepared, records
// are refused before they have a place in the order, and taken again once there
// is room.
//
// When a write or a sync fails the log has failed, for good: LOG_FAILED. What
// waits is told so, and nothing is tried again: after a failed sync the system
// may believe that pages are saved which are not.
//
// Thread safety: Append, with the HasRoom before it, from one thread at a time;
// so RemoveBefore; all else from any thread.

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/byte_range.h"
#include "base/mutex.h"
#include "journal/files.h"
#include "journal/format.h"
#include "journal/log_reader.h"

namespace quire::journal {

// A record on its way. It is not the log's: it stays where it is, and so do its
// bytes, until it is told its end.
class LogEntry {
 public:
  LogEntry() = default;
  LogEntry(const LogEntry&) = delete;
  LogEntry& operator=(const LogEntry&) = delete;

  // The record is written, or synced if that is wanted; or it is LOG_FAILED:
  // it may be in the log or not, and never counts. Called once, on a thread of
  // the log's, in the order of LSNs among those that want the same; must be
  // short. The entry may be gone when it returns.
  virtual void Reached(const absl::Status& status) = 0;

  uint64_t lsn() const { return lsn_; }
  int64_t payload_bytes() const { return payload_bytes_; }

 protected:
  ~LogEntry() = default;

  // Set before Append.
  //   type     not kLinkType
  //   payload  end to end; the array too stays
  void Fill(uint8_t type, std::span<const Bytes> payload, bool wants_sync);

 private:
  friend class Log;

  uint8_t type_ = 0;
  bool wants_sync_ = false;
  std::span<const Bytes> payload_;
  int64_t payload_bytes_ = 0;

  // By Append.
  uint64_t lsn_ = 0;
  uint64_t segment_number_ = 0;
  int64_t offset_ = 0;
};

struct LogOptions {
  int64_t segment_bytes = int64_t{256} << 20;
  // What is written is synced after this at the latest,
  std::chrono::milliseconds sync_interval{100};
  // and before more than this waits for it, but for one record.
  int64_t unsynced_bytes_max = int64_t{64} << 20;
  // Of all segments together; LOG_FULL beyond. A few segments at least.
  int64_t bytes_max = int64_t{1} << 50;
  // How long after a segment could not be prepared that is tried again.
  std::chrono::milliseconds room_retry_interval{1000};
  // Called once, when the log has failed: with why, on a thread of the log's.
  // Must be short.
  std::function<void(const absl::Status&)> on_failure;
};

class Log {
 public:
  // Goes on where a log ends, in a new segment and a new epoch, both synced
  // when this returns, and so is all that was read. `directory` outlives the
  // log.
  static absl::StatusOr<std::unique_ptr<Log>> Start(Directory& directory,
                                                    const Identity& identity,
                                                    const LogEnd& end,
                                                    const LogOptions& options);
  // Writes and syncs all that has been appended.
  ~Log();
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  // Of this start: 1, 2, …
  uint64_t epoch() const { return epoch_; }

  // Whether a record of such a payload may be appended now. DISK_FULL and
  // LOG_FULL, while so; LOG_FAILED, for ever; TOO_LARGE for a record that
  // bytes_max never lets in. The room stays until the next call or Append, also
  // if larger records wait for theirs.
  absl::StatusOr<bool> HasRoom(int64_t payload_bytes);
  // Waits until it is true, or an error.
  absl::Status WaitForRoom(int64_t payload_bytes);
  // The same; false if `end` comes first.
  absl::StatusOr<bool> WaitForRoom(int64_t payload_bytes,
                                   std::chrono::steady_clock::time_point end);

  // Gives the record its place; there is room. Returns its LSN.
  uint64_t Append(LogEntry& entry);

  // Waits until all that has been appended is synced.
  absl::Status Sync();

  // All records up to there are. What is written is known without a lock.
  uint64_t appended_lsn() const;
  uint64_t written_lsn() const;
  uint64_t synced_lsn() const;

  // Removes segments of which all records are before `lsn`. After an error the
  // next call begins with the one that is left.
  absl::Status RemoveBefore(uint64_t lsn);
  // The oldest that is kept.
  uint64_t first_lsn() const;
  // The segments that are kept, in order; the last ones may be empty as yet.
  std::vector<KeptSegment> kept() const;

  // Figures for people.
  struct Stats {
    int64_t bytes = 0;           // of all segments
    int64_t bytes_max = 0;       // that they may have
    int64_t appended_bytes = 0;  // of records, since the start
    int64_t unsynced_bytes = 0;
    int64_t writes = 0;
    int64_t syncs = 0;
    // How long what is not synced has been written, at most, so far.
    std::chrono::nanoseconds longest_unsynced{0};
    // There is no room for a segment that is needed: bytes_max.
    bool is_full = false;
    bool has_failed = false;
  };
  Stats stats() const;

 private:
  using Clock = std::chrono::steady_clock;

  // A segment that is written to, or prepared.
  struct Segment {
    std::unique_ptr<File> file;
    SegmentHeader header;
    // Behind the last record written. Guarded by mutex_.
    int64_t written_end = 0;
  };
  using SegmentPointer = std::shared_ptr<Segment>;

  Log(Directory& directory, const Identity& identity, const LogEnd& end,
      const LogOptions& options);

  absl::StatusOr<SegmentPointer> MakeSegment(uint64_t number, int64_t bytes);

  bool FitsTail(int64_t record_bytes) const QUIRE_REQUIRES(mutex_);
  bool FitsNext(int64_t record_bytes) const QUIRE_REQUIRES(mutex_);
  void UseNextSegment() QUIRE_REQUIRES(mutex_);
  absl::StatusOr<bool> HasRoomLocked(int64_t record_bytes)
      QUIRE_REQUIRES(mutex_);
  // Whether bytes_max lets a segment of so many bytes in now.
  bool IsAllowed(int64_t segment_bytes) const QUIRE_REQUIRES(mutex_);
  int64_t unsynced_bytes() const QUIRE_REQUIRES(mutex_) {
    return stats_.appended_bytes - synced_bytes_;
  }

  // --- The writer's ---

  void RunWriter();
  // Writes records that lie one behind the other in one segment.
  absl::Status WriteRun(std::span<LogEntry* const> run);
  absl::Status BeginSegment(SegmentPointer segment, uint64_t first_lsn,
                            uint64_t synced_lsn);
  void FinishRun(std::span<LogEntry* const> run, absl::Status status,
                 Clock::time_point begun);

  // --- The syncer's ---

  void RunSyncer();
  // When there is something to sync, at the latest.
  Clock::time_point SyncIsDue() const QUIRE_REQUIRES(mutex_);
  // One sync of all that is written. Unlocks meanwhile.
  void SyncWritten() QUIRE_REQUIRES(mutex_);

  // --- The preparer's ---

  void RunPreparer();
  // Unlocks meanwhile.
  void Prepare() QUIRE_REQUIRES(mutex_);

  // Tells everyone that waits; nothing is written or synced any more.
  void Fail(const absl::Status& cause);

  // Constant after construction.
  Directory& directory_;
  const Identity identity_;
  const LogOptions options_;
  const uint64_t epoch_;

  // The writer's alone, after Start.
  SegmentPointer current_;
  // Behind the last record written, and its checksum.
  int64_t end_ = 0;
  uint64_t checksum_ = 0;

  mutable Mutex mutex_;
  CondVar appended_;  // for the writer
  CondVar sync_due_;  // for the syncer
  CondVar prepare_;   // for the preparer
  CondVar changed_;   // for whoever waits

  bool stopping_ QUIRE_GUARDED_BY(mutex_) = false;
  // OK, or why the log has failed.
  absl::Status failure_ QUIRE_GUARDED_BY(mutex_);

  // Where the next record goes.
  uint64_t next_lsn_ QUIRE_GUARDED_BY(mutex_);
  uint64_t tail_number_ QUIRE_GUARDED_BY(mutex_);
  int64_t tail_offset_ QUIRE_GUARDED_BY(mutex_) = 0;
  int64_t tail_bytes_ QUIRE_GUARDED_BY(mutex_) = 0;
  // Prepared; then those in use, to be written by the writer.
  SegmentPointer next_ QUIRE_GUARDED_BY(mutex_);
  // The record that HasRoom was asked for goes there: it is not replaced.
  bool next_is_promised_ QUIRE_GUARDED_BY(mutex_) = false;
  std::deque<SegmentPointer> to_write_ QUIRE_GUARDED_BY(mutex_);
  int64_t next_bytes_wanted_ QUIRE_GUARDED_BY(mutex_) = 0;
  // Why no segment is prepared, if that has been tried.
  absl::Status no_room_ QUIRE_GUARDED_BY(mutex_);
  std::deque<KeptSegment> kept_ QUIRE_GUARDED_BY(mutex_);

  // Appended, for the writer to take.
  std::vector<LogEntry*> queue_ QUIRE_GUARDED_BY(mutex_);
  bool writer_is_done_ QUIRE_GUARDED_BY(mutex_) = false;

  // Changed under mutex_. Release by the writer; pairs with written_lsn().
  std::atomic<uint64_t> written_lsn_;
  uint64_t synced_lsn_ QUIRE_GUARDED_BY(mutex_);
  uint64_t sync_wanted_lsn_ QUIRE_GUARDED_BY(mutex_) = 0;
  // Written to since the last sync, in order.
  std::vector<SegmentPointer> unsynced_ QUIRE_GUARDED_BY(mutex_);
  int64_t written_bytes_ QUIRE_GUARDED_BY(mutex_) = 0;
  int64_t synced_bytes_ QUIRE_GUARDED_BY(mutex_) = 0;
  std::optional<Clock::time_point> unsynced_since_ QUIRE_GUARDED_BY(mutex_);
  // Written, and to be synced: in order.
  std::deque<LogEntry*> awaiting_sync_ QUIRE_GUARDED_BY(mutex_);

  Stats stats_ QUIRE_GUARDED_BY(mutex_);

  // RemoveBefore's own: a segment that is not kept, while its name may still
  // be on the disk.
  std::optional<KeptSegment> leaving_;
  bool leaving_is_removed_ = false;

  std::thread writer_;
  std::thread syncer_;
  std::thread preparer_;
};

}  // namespace quire::journal
