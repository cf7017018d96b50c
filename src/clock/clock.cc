#include "clock/clock.h"

namespace quire {

Clock::Clock(int32_t worker_count)
    : workers_(static_cast<size_t>(worker_count)) {
  for (int32_t worker = 0; worker < worker_count; ++worker) {
    present_.emplace_hint(present_.end(), 0, worker);
  }
}

void Clock::Remove(int32_t worker) {
  const Worker& known = workers_[static_cast<size_t>(worker)];
  present_.erase({known.step, worker});
  caller_count_ -= known.heard && !known.has_left ? 1 : 0;
}

void Clock::Insert(int32_t worker) {
  Worker& known = workers_[static_cast<size_t>(worker)];
  known.has_left = false;
  left_.erase(worker);
  present_.emplace(known.step, worker);
  caller_count_ += known.heard ? 1 : 0;
}

void Clock::Set(int32_t worker, int64_t step, Time now) {
  Remove(worker);
  Worker& known = workers_[static_cast<size_t>(worker)];
  known.step = step;
  known.heard = now;
  Insert(worker);
}

void Clock::Leave(int32_t worker, Time now) {
  Remove(worker);
  Worker& known = workers_[static_cast<size_t>(worker)];
  known.heard = now;
  known.has_left = true;
  left_.insert(worker);
}

void Clock::LeaveUnheard(std::span<const int32_t> workers) {
  for (const int32_t worker : workers) {
    Worker& known = workers_[static_cast<size_t>(worker)];
    if (!known.heard) {
      Remove(worker);
      known.has_left = true;
      left_.insert(worker);
    }
  }
}

std::optional<Clock::Slowest> Clock::slowest() const {
  if (present_.empty()) {
    return std::nullopt;
  }
  const auto [step, worker] = *present_.begin();
  return Slowest{.step = step,
                 .worker = worker,
                 .heard = workers_[static_cast<size_t>(worker)].heard};
}

}  // namespace quire
