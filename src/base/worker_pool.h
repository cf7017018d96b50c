// A fixed number of threads that run what they are given, oldest first.
//
// Thread safety: all functions may be called from any thread, those of the
// pool included.

#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <thread>
#include <vector>

#include "base/mutex.h"

namespace quire {

class WorkerPool {
 public:
  explicit WorkerPool(int thread_count);
  // Runs all that is queued, then stops.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Queues `work`. The queue has no bound of its own: whoever lets work in
  // from outside bounds it (queue_size).
  void Post(std::function<void()> work);

  // Calls body(0), …, body(count - 1), on this thread and on idle ones of the
  // pool, and returns when all have returned.
  void ParallelFor(int64_t count, const std::function<void(int64_t)>& body);

  // Work that no thread has begun.
  size_t queue_size() const;
  int thread_count() const { return static_cast<int>(threads_.size()); }

 private:
  void Run();

  mutable Mutex mutex_;
  CondVar wake_;
  std::deque<std::function<void()>> queue_ QUIRE_GUARDED_BY(mutex_);
  bool stopping_ QUIRE_GUARDED_BY(mutex_) = false;

  // Constant after construction.
  std::vector<std::thread> threads_;
};

}  // namespace quire
