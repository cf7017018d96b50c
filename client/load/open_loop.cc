#include <sys/prctl.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/mutex.h"
#include "client/load/loop.h"
#include "client/load/recorder.h"

namespace quire::load {
namespace {

// How long a wait may go without a look at `stop`.
constexpr auto kStopChecked = std::chrono::milliseconds(50);

// The slots that are free, and what is recorded by those that finish.
class Flights {
 public:
  Flights(int slot_count, Clock::time_point counted_from, LoopClock& clock)
      : clock_(clock),
        slot_count_(static_cast<size_t>(slot_count)),
        free_slots_(slot_count_),
        recorder_(counted_from) {
    std::iota(free_slots_.begin(), free_slots_.end(), 0);
  }

  // A slot, as soon as there is one; nullopt from `over` on, or once `stop`
  // is true.
  std::optional<int> Take(Clock::time_point over,
                          const std::atomic<bool>& stop) {
    MutexLock lock(mutex_);
    for (;;) {
      const Clock::time_point now = clock_.Now();
      if (now >= over || stop.load(std::memory_order_relaxed)) {
        return std::nullopt;
      }
      if (!free_slots_.empty()) {
        const int slot = free_slots_.back();
        free_slots_.pop_back();
        return slot;
      }
      clock_.WaitUntil(slot_freed_, mutex_, std::min(over, now + kStopChecked));
    }
  }

  void Finish(int slot, const Request& request, Clock::time_point due,
              const absl::Status& status) {
    const Clock::time_point now = clock_.Now();
    MutexLock lock(mutex_);
    if (status.ok()) {
      recorder_.Answered(request, due, now);
    } else {
      recorder_.Failed(status);
    }
    free_slots_.push_back(slot);
    // Under the lock: once WaitForAll has seen the last slot, this may be
    // gone.
    slot_freed_.NotifyAll();
  }

  void NeverSent(const Request& request, Clock::time_point due,
                 Clock::time_point now) {
    MutexLock lock(mutex_);
    recorder_.NeverSent(request, due, now);
  }

  bool GivesUp() {
    MutexLock lock(mutex_);
    return recorder_.gives_up();
  }

  LoopResult WaitForAll() {
    MutexLock lock(mutex_);
    while (free_slots_.size() < slot_count_) {
      clock_.WaitUntil(slot_freed_, mutex_, clock_.Now() + kStopChecked);
    }
    return recorder_.Result();
  }

 private:
  LoopClock& clock_;
  const size_t slot_count_;

  Mutex mutex_;
  CondVar slot_freed_;
  std::vector<int> free_slots_ QUIRE_GUARDED_BY(mutex_);
  Recorder recorder_ QUIRE_GUARDED_BY(mutex_);
};

class OpenLoop {
 public:
  OpenLoop(Target& target, const Workload& workload, double rate,
           LoopTimes times, const std::atomic<bool>& stop, LoopClock& clock)
      : clock_(clock),
        target_(target),
        workload_(workload),
        interval_(1 / rate),
        start_(clock.Now()),
        over_(start_ + times.warmup + times.duration),
        stop_(stop),
        flights_(target.slot_count(), start_ + times.warmup, clock) {}

  LoopResult Run() {
    int64_t index = 0;
    while (DueAt(index) < over_ && !IsEnded() && SendWhenDue(index)) {
      ++index;
    }
    for (; DueAt(index) < over_ && !IsEnded(); ++index) {
      flights_.NeverSent(RequestAt(index), DueAt(index), over_);
    }
    return flights_.WaitForAll();
  }

 private:
  Clock::time_point DueAt(int64_t index) const {
    return start_ + std::chrono::duration_cast<Clock::duration>(
                        interval_ * static_cast<double>(index));
  }

  Request RequestAt(int64_t index) const {
    return workload_.request(static_cast<uint64_t>(index));
  }

  // Before its time.
  bool IsEnded() {
    return stop_.load(std::memory_order_relaxed) || flights_.GivesUp();
  }

  // False if it cannot be sent any more.
  bool SendWhenDue(int64_t index) {
    const Clock::time_point due = DueAt(index);
    SleepUntil(due);
    const std::optional<int> slot = flights_.Take(over_, stop_);
    if (!slot) {
      return false;
    }
    const Request request = RequestAt(index);
    target_.RunAsync(*slot, request,
                     [this, slot = *slot, request, due](absl::Status status) {
                       flights_.Finish(slot, request, due, status);
                     });
    return true;
  }

  // Or until `stop_`.
  void SleepUntil(Clock::time_point due) const {
    for (Clock::time_point now = clock_.Now();
         now < due && !stop_.load(std::memory_order_relaxed);
         now = clock_.Now()) {
      clock_.SleepUntil(std::min(due, now + kStopChecked));
    }
  }

  LoopClock& clock_;
  Target& target_;
  const Workload& workload_;
  const std::chrono::duration<double> interval_;
  const Clock::time_point start_;
  const Clock::time_point over_;
  const std::atomic<bool>& stop_;
  Flights flights_;
};

}  // namespace

LoopResult RunOpenLoop(Target& target, const Workload& workload, double rate,
                       LoopTimes times, const std::atomic<bool>& stop,
                       LoopClock& clock) {
  QUIRE_CHECK(rate > 0, "a rate");
  // Linux rounds the sleeps of a thread up by 50 µs unless told otherwise.
  prctl(PR_SET_TIMERSLACK, 1);
  return OpenLoop(target, workload, rate, times, stop, clock).Run();
}

}  // namespace quire::load
