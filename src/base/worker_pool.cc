#include "base/worker_pool.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <utility>

namespace quire {
namespace {

// The calls of one ParallelFor. Helpers may come late, when all calls are
// taken: they find none and leave, without a look at `body`.
struct Calls {
  Calls(int64_t call_count, const std::function<void(int64_t)>& call_body)
      : count(call_count), body(call_body) {}

  void TakeUntilNone() {
    int64_t done = 0;
    for (int64_t index = next.fetch_add(1, std::memory_order_relaxed);
         index < count; index = next.fetch_add(1, std::memory_order_relaxed)) {
      body(index);
      ++done;
    }
    if (done > 0) {
      MutexLock lock(mutex);
      finished += done;
      all_finished.NotifyAll();
    }
  }

  void WaitForAll() {
    MutexLock lock(mutex);
    while (finished < count) {
      all_finished.Wait(mutex);
    }
  }

  const int64_t count;
  const std::function<void(int64_t)>& body;
  // The next call to take: relaxed, each is taken by whoever gets its number.
  std::atomic<int64_t> next = 0;
  Mutex mutex;
  CondVar all_finished;
  int64_t finished QUIRE_GUARDED_BY(mutex) = 0;
};

}  // namespace

WorkerPool::WorkerPool(int thread_count) {
  for (int i = 0; i < thread_count; ++i) {
    threads_.emplace_back([this] { Run(); });
  }
}

WorkerPool::~WorkerPool() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
  }
  wake_.NotifyAll();
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

void WorkerPool::Post(std::function<void()> work) {
  {
    MutexLock lock(mutex_);
    queue_.push_back(std::move(work));
  }
  wake_.NotifyOne();
}

void WorkerPool::ParallelFor(int64_t count,
                             const std::function<void(int64_t)>& body) {
  if (count == 0) {
    return;
  }
  auto calls = std::make_shared<Calls>(count, body);
  const int64_t helpers = std::min<int64_t>(count - 1, thread_count());
  for (int64_t i = 0; i < helpers; ++i) {
    Post([calls] { calls->TakeUntilNone(); });
  }
  calls->TakeUntilNone();
  calls->WaitForAll();
}

size_t WorkerPool::queue_size() const {
  MutexLock lock(mutex_);
  return queue_.size();
}

void WorkerPool::Run() {
  while (true) {
    std::function<void()> work;
    {
      MutexLock lock(mutex_);
      while (queue_.empty() && !stopping_) {
        wake_.Wait(mutex_);
      }
      if (queue_.empty()) {
        return;
      }
      work = std::move(queue_.front());
      queue_.pop_front();
    }
    work();
  }
}

}  // namespace quire
