// The clocks of a server: workers of a run say how many steps they have done,
// and wait for the slowest.
//
//   no worker begins a step while another has done fewer steps than it, less
//   max_ahead
//
// They are in memory only, and have no leases: a worker that is not heard of is
// waited for until it calls, or somebody says that it has left
// (docs/decisions/0015).
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "clock/clock.h"

namespace quire {

// Workers of one clock.
inline constexpr int32_t kWorkersPerClockMax = 65'536;

// Clocks of one server, and workers of all of them: 100 MiB.
inline constexpr size_t kClockCountMax = 1024;
inline constexpr int64_t kClockWorkersMax = int64_t{1} << 20;

// Calls that wait for others at once.
inline constexpr size_t kWaitingWorkersMax = 65'536;

// What one worker says. Its numbers are checked by whoever makes it.
struct ClockStep {
  std::string clock;
  // 1 .. kWorkersPerClockMax
  int32_t workers = 1;
  // 0 .. workers - 1
  int32_t worker = 0;
  // 0 or more.
  int64_t step = 0;
  int64_t max_ahead = 0;
  bool leave = false;
  // Each in 0 .. workers - 1.
  std::vector<int32_t> left;
};

// Where the workers of a clock are.
struct ClockState {
  // Of those that have not left; absent: all have.
  std::optional<int64_t> slowest_step;
  std::optional<int32_t> slowest_worker;
  // Ascending.
  std::vector<int32_t> left;
};

class Clocks {
 public:
  Clocks();
  // As Stop.
  ~Clocks();
  Clocks(const Clocks&) = delete;
  Clocks& operator=(const Clocks&) = delete;

  // Who waits, and how long.
  struct Caller {
    std::chrono::steady_clock::time_point end;
    // Asked ten times a second until the answer. May be empty.
    std::function<bool()> is_cancelled;
  };
  // Notes what the worker says, and calls `done` once, when it may begin its
  // next step: here if it may already or is refused, else on a thread of this.
  // What it says stays said, however the wait ends:
  //   CLOCK_BEHIND   it may not by `caller.end`
  //   CANCELLED      the caller has gone
  //   STOPPING, BUSY
  // Nothing is noted with CLOCK_DIFFERS, and with MEMORY_FULL: too many clocks.
  using Done = std::function<void(absl::StatusOr<ClockState>)>;
  void Advance(const ClockStep& step, Caller caller, Done done);

  // Those that wait are told STOPPING, and so are later ones.
  void Stop();

  // How many clocks there are, and how many calls wait.
  size_t size() const;
  size_t waiting_count() const;

 private:
  struct Waiting {
    int32_t worker;
    Caller caller;
    Done done;
  };
  struct Entry {
    Clock clock;
    // By the step that the slowest worker must have done.
    std::multimap<int64_t, Waiting> waiting;
  };
  using Entries = std::map<std::string, Entry>;
  struct Ended {
    Done done;
    absl::StatusOr<ClockState> answer;
  };

  // The clock of this call, made if there was none.
  absl::StatusOr<Entries::iterator> Find(const ClockStep& step)
      QUIRE_REQUIRES(mutex_);
  // What the call is told at once; nullopt: it waits, with `done`.
  std::optional<absl::StatusOr<ClockState>> Take(const ClockStep& step,
                                                 Caller& caller, Done& done)
      QUIRE_REQUIRES(mutex_);
  void Wait(Entry& entry, const ClockStep& step, Caller caller, Done done)
      QUIRE_REQUIRES(mutex_);
  // Ends calls for which the slowest is far enough, and those of a worker that
  // has left.
  void Release(Entry& entry, std::optional<int32_t> left)
      QUIRE_REQUIRES(mutex_);
  // nullopt: the call goes on.
  std::optional<absl::Status> EndOf(const std::string& name, const Clock& clock,
                                    int64_t needed, const Caller& caller,
                                    Clock::Time now) const
      QUIRE_REQUIRES(mutex_);
  // Ends calls whose time is over, or whose caller has gone.
  void EndThoseThatAreOver() QUIRE_REQUIRES(mutex_);
  void Erase(Entries::iterator entry) QUIRE_REQUIRES(mutex_);
  // Until there are calls to answer; empty once it has stopped.
  std::vector<Ended> WaitForEnded();
  void Run();

  mutable Mutex mutex_;
  CondVar changed_;
  bool stopping_ QUIRE_GUARDED_BY(mutex_) = false;
  Entries entries_ QUIRE_GUARDED_BY(mutex_);
  // Workers of all clocks; calls that wait.
  int64_t worker_count_ QUIRE_GUARDED_BY(mutex_) = 0;
  size_t waiting_count_ QUIRE_GUARDED_BY(mutex_) = 0;
  // When EndThoseThatAreOver is due.
  Clock::Time next_look_ QUIRE_GUARDED_BY(mutex_) = Clock::Time::max();
  // To be answered by the thread, without the mutex.
  std::vector<Ended> ended_ QUIRE_GUARDED_BY(mutex_);

  std::thread thread_;
};

}  // namespace quire
