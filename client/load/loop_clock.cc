#include "client/load/loop_clock.h"

#include <thread>

namespace quire::load {
namespace {

class MachineClock : public LoopClock {
 public:
  Clock::time_point Now() const override { return Clock::now(); }

  void SleepUntil(Clock::time_point time) override {
    std::this_thread::sleep_until(time);
  }

  void WaitUntil(CondVar& changed, Mutex& mutex, Clock::time_point time)
      QUIRE_REQUIRES(mutex) override {
    changed.WaitUntil(mutex, time);
  }
};

}  // namespace

LoopClock& RealClock() {
  static MachineClock clock;
  return clock;
}

}  // namespace quire::load
