// What a loop writes down.

#pragma once

#include <algorithm>
#include <chrono>

#include "client/load/loop.h"
#include "client/load/loop_clock.h"

namespace quire::load {

inline constexpr int64_t kErrorsMax = 100;

// Collects the results of one thread, or of several under a lock. Thread
// safety: one thread at a time.
class Recorder {
 public:
  // Requests that began before `counted_from` are not counted.
  explicit Recorder(Clock::time_point counted_from)
      : counted_from_(counted_from), last_answer_(counted_from) {}

  void Answered(const Request& request, Clock::time_point begin,
                Clock::time_point end) {
    if (begin < counted_from_) {
      return;
    }
    (request.is_push ? result_.pushes : result_.lookups).Record(end - begin);
    last_answer_ = std::max(last_answer_, end);
  }

  void NeverSent(const Request& request, Clock::time_point due,
                 Clock::time_point now) {
    result_.unsent_count += due < counted_from_ ? 0 : 1;
    Answered(request, due, now);
  }

  void Failed(const absl::Status& error) {
    if (result_.error_count++ == 0) {
      result_.first_error = error;
    }
  }

  bool gives_up() const { return result_.error_count >= kErrorsMax; }

  void Merge(const Recorder& other) {
    result_.lookups.Merge(other.result_.lookups);
    result_.pushes.Merge(other.result_.pushes);
    result_.unsent_count += other.result_.unsent_count;
    result_.error_count += other.result_.error_count;
    result_.first_error.Update(other.result_.first_error);
    last_answer_ = std::max(last_answer_, other.last_answer_);
  }

  LoopResult Result() const {
    LoopResult result = result_;
    result.elapsed = last_answer_ - counted_from_;
    return result;
  }

 private:
  const Clock::time_point counted_from_;
  Clock::time_point last_answer_;
  LoopResult result_;
};

}  // namespace quire::load
