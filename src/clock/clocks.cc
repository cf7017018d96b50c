#include "clock/clocks.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/check.h"
#include "base/status.h"

namespace quire {
namespace {

using SteadyClock = std::chrono::steady_clock;

// How late it may be seen that a caller has gone.
constexpr std::chrono::milliseconds kLookInterval{100};

constexpr int64_t kRetryMs = 50;

ClockState StateOf(const Clock& clock) {
  ClockState state{.left = {clock.left().begin(), clock.left().end()}};
  if (const auto slowest = clock.slowest()) {
    state.slowest_step = slowest->step;
    state.slowest_worker = slowest->worker;
  }
  return state;
}

std::string HowLongSilent(const std::optional<Clock::Time>& heard,
                          Clock::Time now) {
  if (!heard) {
    return "it was never heard of";
  }
  return fmt::format("it was last heard of {:.1f} s ago",
                     std::chrono::duration<double>(now - *heard).count());
}

// There is one that has not left: the worker that waits.
absl::Status IsBehind(std::string_view name, const Clock& clock, int64_t needed,
                      Clock::Time now) {
  const Clock::Slowest slowest = *clock.slowest();
  return WithRetryAfterMs(
      Error(Reason::kClockBehind,
            fmt::format("clock '{}': step {} of every worker is waited for, "
                        "and by the deadline worker {} of {} had done {}; {}. "
                        "If it is gone for good, say that it leaves",
                        name, needed, slowest.worker, clock.worker_count(),
                        slowest.step, HowLongSilent(slowest.heard, now)),
            "step"),
      kRetryMs);
}

absl::Status HasGone() {
  return Error(Reason::kCancelled, "the caller has gone");
}

absl::Status TooManyWait(size_t count) {
  return WithRetryAfterMs(
      Error(Reason::kBusy,
            fmt::format("{} workers wait for others; try again", count)),
      kRetryMs);
}

absl::Status Differs(const ClockStep& step, int32_t known) {
  return Error(
      Reason::kClockDiffers,
      fmt::format("clock '{}': worker {} says that {} share it, and others "
                  "that {} do. Start all alike, take another name, or let the "
                  "others leave",
                  step.clock, step.worker, step.workers, known),
      "workers");
}

absl::Status TooManyClocks(size_t clocks, int64_t workers) {
  return Error(Reason::kMemoryFull,
               fmt::format("this server has {} clocks, of {} workers; it may "
                           "have {}, of {}. A clock goes when all its workers "
                           "have left",
                           clocks, workers, kClockCountMax, kClockWorkersMax),
               "clock");
}

}  // namespace

Clocks::Clocks() : thread_([this] { Run(); }) {}

Clocks::~Clocks() {
  Stop();
  thread_.join();
}

void Clocks::Stop() {
  MutexLock lock(mutex_);
  stopping_ = true;
  changed_.NotifyAll();
}

size_t Clocks::size() const {
  MutexLock lock(mutex_);
  return entries_.size();
}

size_t Clocks::waiting_count() const {
  MutexLock lock(mutex_);
  return waiting_count_;
}

void Clocks::Advance(const ClockStep& step, Caller caller, Done done) {
  std::optional<absl::StatusOr<ClockState>> answer;
  {
    MutexLock lock(mutex_);
    answer = stopping_ ? IsStopping() : Take(step, caller, done);
  }
  if (answer) {
    done(*std::move(answer));
  }
}

absl::StatusOr<Clocks::Entries::iterator> Clocks::Find(const ClockStep& step) {
  const auto found = entries_.find(step.clock);
  if (found != entries_.end()) {
    const Clock& clock = found->second.clock;
    if (clock.worker_count() == step.workers) {
      return found;
    }
    if (clock.has_callers()) {
      return Differs(step, clock.worker_count());
    }
    // What is left of an earlier run: nobody who has called is there.
    Erase(found);
  }
  if (entries_.size() >= kClockCountMax ||
      worker_count_ + step.workers > kClockWorkersMax) {
    return TooManyClocks(entries_.size(), worker_count_);
  }
  worker_count_ += step.workers;
  return entries_.emplace(step.clock, Entry{Clock(step.workers), {}}).first;
}

std::optional<absl::StatusOr<ClockState>> Clocks::Take(const ClockStep& step,
                                                       Caller& caller,
                                                       Done& done) {
  QUIRE_ASSIGN_OR_RETURN(const Entries::iterator found, Find(step));
  Entry& entry = found->second;
  entry.clock.LeaveUnheard(step.left);
  if (step.leave) {
    entry.clock.Leave(step.worker, SteadyClock::now());
    Release(entry, step.worker);
  } else {
    entry.clock.Set(step.worker, step.step, SteadyClock::now());
    Release(entry, std::nullopt);
  }
  ClockState state = StateOf(entry.clock);
  if (!state.slowest_step) {
    Erase(found);
    return state;
  }
  if (step.leave || *state.slowest_step >= step.step - step.max_ahead) {
    return state;
  }
  if (waiting_count_ >= kWaitingWorkersMax) {
    return TooManyWait(waiting_count_);
  }
  Wait(entry, step, std::move(caller), std::move(done));
  return std::nullopt;
}

void Clocks::Wait(Entry& entry, const ClockStep& step, Caller caller,
                  Done done) {
  const Clock::Time look =
      std::min(caller.end, SteadyClock::now() + kLookInterval);
  if (look < next_look_) {
    next_look_ = look;
    changed_.NotifyAll();
  }
  ++waiting_count_;
  entry.waiting.emplace(step.step - step.max_ahead,
                        Waiting{.worker = step.worker,
                                .caller = std::move(caller),
                                .done = std::move(done)});
}

void Clocks::Release(Entry& entry, std::optional<int32_t> left) {
  if (entry.waiting.empty()) {
    return;
  }
  const ClockState state = StateOf(entry.clock);
  for (auto one = entry.waiting.begin(); one != entry.waiting.end();) {
    const bool is_reached =
        !state.slowest_step || one->first <= *state.slowest_step;
    if (!is_reached && !left) {
      break;  // nor are those after it
    }
    if (is_reached || one->second.worker == *left) {
      ended_.push_back({std::move(one->second.done), state});
      one = entry.waiting.erase(one);
      --waiting_count_;
    } else {
      ++one;
    }
  }
  if (!ended_.empty()) {
    changed_.NotifyAll();
  }
}

void Clocks::Erase(Entries::iterator entry) {
  QUIRE_CHECK(entry->second.waiting.empty(), "who waits has not left");
  worker_count_ -= entry->second.clock.worker_count();
  entries_.erase(entry);
}

std::optional<absl::Status> Clocks::EndOf(const std::string& name,
                                          const Clock& clock, int64_t needed,
                                          const Caller& caller,
                                          Clock::Time now) const {
  if (stopping_) {
    return IsStopping();
  }
  if (now >= caller.end) {
    return IsBehind(name, clock, needed, now);
  }
  if (caller.is_cancelled && caller.is_cancelled()) {
    return HasGone();
  }
  return std::nullopt;
}

void Clocks::EndThoseThatAreOver() {
  const Clock::Time now = SteadyClock::now();
  next_look_ = Clock::Time::max();
  for (auto& [name, entry] : entries_) {
    for (auto one = entry.waiting.begin(); one != entry.waiting.end();) {
      auto& [needed, waiting] = *one;
      if (auto end = EndOf(name, entry.clock, needed, waiting.caller, now)) {
        ended_.push_back({std::move(waiting.done), *std::move(end)});
        one = entry.waiting.erase(one);
        --waiting_count_;
      } else {
        next_look_ =
            std::min({next_look_, waiting.caller.end, now + kLookInterval});
        ++one;
      }
    }
  }
}

std::vector<Clocks::Ended> Clocks::WaitForEnded() {
  MutexLock lock(mutex_);
  while (true) {
    if (stopping_ || SteadyClock::now() >= next_look_) {
      EndThoseThatAreOver();
    }
    if (stopping_ || !ended_.empty()) {
      return std::exchange(ended_, {});
    }
    if (next_look_ == Clock::Time::max()) {
      changed_.Wait(mutex_);
    } else {
      changed_.WaitUntil(mutex_, next_look_);
    }
  }
}

void Clocks::Run() {
  while (true) {
    std::vector<Ended> ended = WaitForEnded();
    if (ended.empty()) {
      return;
    }
    for (Ended& one : ended) {
      one.done(std::move(one.answer));
    }
  }
}

}  // namespace quire
