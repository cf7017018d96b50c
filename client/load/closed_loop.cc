#include <thread>
#include <vector>

#include "base/check.h"
#include "client/load/loop.h"
#include "client/load/recorder.h"

namespace quire::load {

LoopResult RunClosedLoop(Target& target, const Workload& workload,
                         int concurrency, LoopTimes times,
                         const std::atomic<bool>& stop) {
  QUIRE_CHECK(concurrency >= 1 && concurrency <= target.slot_count(),
              "a slot for each caller");
  const Clock::time_point counted_from = Clock::now() + times.warmup;
  const Clock::time_point over = counted_from + times.duration;
  // Only a counter: relaxed.
  std::atomic<uint64_t> next_request = 0;

  const auto call = [&](int slot, Recorder& recorder) {
    Clock::time_point begin = Clock::now();
    while (begin < over && !recorder.gives_up() &&
           !stop.load(std::memory_order_relaxed)) {
      const Request request = workload.request(
          next_request.fetch_add(1, std::memory_order_relaxed));
      const absl::Status status = target.Run(slot, request);
      const Clock::time_point end = Clock::now();
      if (status.ok()) {
        recorder.Answered(request, begin, end);
      } else {
        recorder.Failed(status);
      }
      begin = end;
    }
  };

  std::vector<Recorder> recorders(static_cast<size_t>(concurrency),
                                  Recorder(counted_from));
  std::vector<std::thread> callers;
  for (int slot = 0; slot < concurrency; ++slot) {
    callers.emplace_back(call, slot,
                         std::ref(recorders[static_cast<size_t>(slot)]));
  }
  Recorder all(counted_from);
  for (size_t i = 0; i < callers.size(); ++i) {
    callers[i].join();
    all.Merge(recorders[i]);
  }
  return all.Result();
}

}  // namespace quire::load
