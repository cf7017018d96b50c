// Pushes that wait for room in the log, in their order; each until its
// deadline.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <chrono>
#include <deque>
#include <optional>
#include <thread>

#include "base/mutex.h"
#include "engine/commit.h"
#include "journal/log.h"

namespace quire {

class RoomQueue {
 public:
  // `log` outlives it.
  explicit RoomQueue(journal::Log& log);
  // Nothing waits any more.
  ~RoomQueue();
  RoomQueue(const RoomQueue&) = delete;
  RoomQueue& operator=(const RoomQueue&) = delete;

  using Deadline = std::optional<std::chrono::steady_clock::time_point>;
  // Sequences the push when there is room. Refuses it with the log's error, or
  // with DEADLINE: it has no place then, and has not used up its number.
  void Add(LoggedPush* push, const Deadline& deadline);

 private:
  struct Waiting {
    LoggedPush* push;
    Deadline deadline;
  };

  void Run();
  // Those whose deadline has passed.
  std::deque<Waiting> TakeExpired() QUIRE_REQUIRES(mutex_);
  // Waits a moment for room; true if the push has been sequenced, or refused.
  bool TrySequence(LoggedPush& push);

  journal::Log& log_;

  Mutex mutex_;
  CondVar changed_;
  bool stopping_ QUIRE_GUARDED_BY(mutex_) = false;
  std::deque<Waiting> waiting_ QUIRE_GUARDED_BY(mutex_);

  std::thread thread_;
};

}  // namespace quire
