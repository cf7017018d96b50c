// How far a start is in reading what the data directory has, and how long the
// rest takes.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <chrono>
#include <cstdint>

#include "base/mutex.h"

namespace quire {

// Bytes a second. Unless they have been measured: what a slow disk and a busy
// machine still reach.
struct RecoveryRates {
  double snapshot = 300e6;
  double log = 100e6;

  double SecondsFor(int64_t snapshot_bytes, int64_t log_bytes) const {
    return static_cast<double>(snapshot_bytes) / snapshot +
           static_cast<double>(log_bytes) / log;
  }
};

class RecoveryProgress {
 public:
  enum class Phase { kSnapshot, kLog };
  struct Figures {
    Phase phase = Phase::kSnapshot;
    // Of snapshot and log together. The total is an upper bound: see
    // LogReader::BytesFrom.
    int64_t bytes_done = 0;
    int64_t bytes_total = 0;
    double share_done = 0;  // 0 .. 1
    double seconds_left = 0;
  };
  Figures figures() const;
  // As measured, each if it was of more than a few megabytes.
  RecoveryRates rates() const;

  // The start is to end soon, without effect.
  void Cancel();
  bool is_cancelled() const;

  // --- By the recovery ---

  // It begins, or begins again with another snapshot.
  void Begin(int64_t snapshot_bytes, int64_t log_bytes);
  void AddSnapshotBytes(int64_t bytes);
  // The snapshot is loaded.
  void BeginLog();
  void SetLogBytes(int64_t bytes_done);
  // All is read: what there was of the log is known.
  void End();
  // Of the log, that have been read.
  int64_t log_bytes() const;

 private:
  using Clock = std::chrono::steady_clock;
  struct Part {
    int64_t bytes_done = 0;
    int64_t bytes_total = 0;
    Clock::time_point begun;
    Clock::duration took{0};  // 0: it has not ended
  };
  // Of a part that is being read, or has been.
  static double RateOf(const Part& part, double unless_measured);

  mutable Mutex mutex_;
  Phase phase_ QUIRE_GUARDED_BY(mutex_) = Phase::kSnapshot;
  Part snapshot_ QUIRE_GUARDED_BY(mutex_);
  Part log_ QUIRE_GUARDED_BY(mutex_);
  bool is_cancelled_ QUIRE_GUARDED_BY(mutex_) = false;
};

}  // namespace quire
