// Time, as an open loop sees it.

#pragma once

#include <chrono>

#include "base/mutex.h"

namespace quire::load {

using Clock = std::chrono::steady_clock;

// Thread safety: any thread.
class LoopClock {
 public:
  virtual ~LoopClock() = default;

  virtual Clock::time_point Now() const = 0;

  // Returns at `time`.
  virtual void SleepUntil(Clock::time_point time) = 0;

  // Returns once `changed` was notified, at `time`, or earlier.
  virtual void WaitUntil(CondVar& changed, Mutex& mutex, Clock::time_point time)
      QUIRE_REQUIRES(mutex) = 0;
};

// The machine's.
LoopClock& RealClock();

}  // namespace quire::load
