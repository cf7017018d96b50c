#include "engine/recovery_progress.h"

#include <algorithm>

namespace quire {
namespace {

// Less is not measured: it lies in caches, or is over before the clock ticks.
constexpr int64_t kMeasuredBytesMin = 16 << 20;

}  // namespace

double RecoveryProgress::RateOf(const Part& part, double unless_measured) {
  const Clock::duration took = part.took > Clock::duration::zero()
                                   ? part.took
                                   : Clock::now() - part.begun;
  const double seconds = std::chrono::duration<double>(took).count();
  return part.bytes_done < kMeasuredBytesMin || seconds <= 0
             ? unless_measured
             : static_cast<double>(part.bytes_done) / seconds;
}

RecoveryRates RecoveryProgress::rates() const {
  const RecoveryRates assumed;
  MutexLock lock(mutex_);
  return {.snapshot = RateOf(snapshot_, assumed.snapshot),
          .log = RateOf(log_, assumed.log)};
}

RecoveryProgress::Figures RecoveryProgress::figures() const {
  const RecoveryRates rate = rates();
  MutexLock lock(mutex_);
  const int64_t done = snapshot_.bytes_done + log_.bytes_done;
  const int64_t total = snapshot_.bytes_total + log_.bytes_total;
  return {.phase = phase_,
          .bytes_done = done,
          .bytes_total = total,
          .share_done = total == 0 ? 0
                                   : static_cast<double>(done) /
                                         static_cast<double>(total),
          .seconds_left =
              rate.SecondsFor(snapshot_.bytes_total - snapshot_.bytes_done,
                              log_.bytes_total - log_.bytes_done)};
}

void RecoveryProgress::Cancel() {
  MutexLock lock(mutex_);
  is_cancelled_ = true;
}

bool RecoveryProgress::is_cancelled() const {
  MutexLock lock(mutex_);
  return is_cancelled_;
}

void RecoveryProgress::Begin(int64_t snapshot_bytes, int64_t log_bytes) {
  MutexLock lock(mutex_);
  phase_ = Phase::kSnapshot;
  snapshot_ = {.bytes_total = snapshot_bytes, .begun = Clock::now()};
  log_ = {.bytes_total = log_bytes};
}

void RecoveryProgress::AddSnapshotBytes(int64_t bytes) {
  MutexLock lock(mutex_);
  snapshot_.bytes_done =
      std::min(snapshot_.bytes_done + bytes, snapshot_.bytes_total);
}

void RecoveryProgress::BeginLog() {
  MutexLock lock(mutex_);
  phase_ = Phase::kLog;
  snapshot_.bytes_done = snapshot_.bytes_total;
  log_.begun = Clock::now();
  snapshot_.took = log_.begun - snapshot_.begun;
}

void RecoveryProgress::SetLogBytes(int64_t bytes_done) {
  MutexLock lock(mutex_);
  log_.bytes_done = std::min(bytes_done, log_.bytes_total);
}

void RecoveryProgress::End() {
  MutexLock lock(mutex_);
  log_.bytes_total = log_.bytes_done;
  log_.took = Clock::now() - log_.begun;
}

int64_t RecoveryProgress::log_bytes() const {
  MutexLock lock(mutex_);
  return log_.bytes_done;
}

}  // namespace quire
