// How many steps each worker of a run has done, and which is the slowest.
//
// Thread safety: one thread at a time.

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <set>
#include <span>
#include <utility>
#include <vector>

namespace quire {

class Clock {
 public:
  using Time = std::chrono::steady_clock::time_point;

  // Every worker has done 0 steps, and none has been heard of.
  explicit Clock(int32_t worker_count);

  int32_t worker_count() const { return static_cast<int32_t>(workers_.size()); }

  // A worker that calls has done so many steps: more than before, or fewer if
  // it begins again. One that had left is there again.
  //   worker  in [0, worker_count())
  void Set(int32_t worker, int64_t step, Time now);
  // It is not waited for any more.
  void Leave(int32_t worker, Time now);
  // Others say that these have left. Whoever has been heard of here knows
  // better.
  void LeaveUnheard(std::span<const int32_t> workers);

  // Of those that have not left; the first of several.
  struct Slowest {
    int64_t step;
    int32_t worker;
    // When it said so; nullopt: it has never called.
    std::optional<Time> heard;
  };
  // nullopt: all have left.
  std::optional<Slowest> slowest() const;

  // Workers that have left.
  const std::set<int32_t>& left() const { return left_; }
  // Whether anyone who has called is still there.
  bool has_callers() const { return caller_count_ > 0; }

 private:
  struct Worker {
    int64_t step = 0;
    std::optional<Time> heard;
    bool has_left = false;
  };

  // Takes it out of `present_`, or puts it there.
  void Remove(int32_t worker);
  void Insert(int32_t worker);

  std::vector<Worker> workers_;
  // {step, worker} of all that have not left.
  std::set<std::pair<int64_t, int32_t>> present_;
  std::set<int32_t> left_;
  // Of those that have not left, how many have been heard of.
  int32_t caller_count_ = 0;
};

}  // namespace quire
