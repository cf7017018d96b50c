// Two ways to put a load on a server, and what came of it.
//
//   closed  so many callers, each with one request in flight: as soon as it is
//           answered, the next. Tells how much the server can do. A slow
//           server is asked less often, so its slowness is under-counted.
//   open    so many requests a second, whether the server keeps up or not.
//           Latency counts from the moment at which a request was to be sent,
//           so that a stall counts for every request that it held up (no
//           "coordinated omission").

#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"
#include "client/load/latency_histogram.h"
#include "client/load/loop_clock.h"
#include "client/load/workload.h"

namespace quire::load {

// What is asked. Both functions may be called from any thread.
class Target {
 public:
  virtual ~Target() = default;

  // Slots, each with room for one request: [0, SlotCount()).
  virtual int slot_count() const = 0;

  // Makes a request, in a slot that no other request uses meanwhile.
  virtual absl::Status Run(int slot, const Request& request) = 0;

  // The same without waiting; `done` is called once, on any thread.
  virtual void RunAsync(int slot, const Request& request,
                        std::function<void(absl::Status)> done) = 0;
};

struct LoopTimes {
  // Not counted.
  std::chrono::nanoseconds warmup{};
  // Counted.
  std::chrono::nanoseconds duration{};
};

struct LoopResult {
  // Of requests that were answered, and those of an open loop that were never
  // sent, by their kind.
  LatencyHistogram lookups;
  LatencyHistogram pushes;
  // From the end of the warm-up to the last answer.
  std::chrono::nanoseconds elapsed{};
  // Open loops: due, but not sent before the time was over. They are counted
  // as answered when it was.
  int64_t unsent_count = 0;
  // Not counted above. After 100 of them a loop gives up.
  int64_t error_count = 0;
  absl::Status first_error;
};

// `stop`: ends early if it becomes true.

// Uses as many slots as `concurrency`.
LoopResult RunClosedLoop(Target& target, const Workload& workload,
                         int concurrency, LoopTimes times,
                         const std::atomic<bool>& stop);

// Uses all slots, and waits where all are taken.
//   rate  requests a second, at equal distances
LoopResult RunOpenLoop(Target& target, const Workload& workload, double rate,
                       LoopTimes times, const std::atomic<bool>& stop,
                       LoopClock& clock);

}  // namespace quire::load
