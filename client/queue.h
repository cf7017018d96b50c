// Completion queues: the pooled ones that blocking calls poll, and the one
// that a thread polls for asynchronous calls.

#pragma once

#include <grpcpp/completion_queue.h>

#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "base/mutex.h"

namespace quire {

// Something that waits for a queue: its address is the tag.
class QueueEvent {
 public:
  // What was waited for has happened. May delete the event.
  //   ok  as the queue says
  virtual void Arrive(bool ok) = 0;

  void* tag() { return this; }

 protected:
  ~QueueEvent() = default;
};

// Waits for the next event of `queue` and lets it arrive; false once the queue
// is shut down and empty.
bool PollOnce(grpc::CompletionQueue& queue);

// Queues for blocking calls. A call polls a queue of its own on its own
// thread: no other thread has to wake it.
//
// Thread safety: all functions may be called from any thread.
class QueuePool {
 public:
  class Lease;

  QueuePool() = default;
  QueuePool(const QueuePool&) = delete;
  QueuePool& operator=(const QueuePool&) = delete;
  // Waits until every lease has ended.
  ~QueuePool();

  Lease Take();

 private:
  void GiveBack(std::unique_ptr<grpc::CompletionQueue> queue);

  Mutex mutex_;
  CondVar given_back_;
  // As many as there ever were calls at once.
  std::vector<std::unique_ptr<grpc::CompletionQueue>> idle_
      QUIRE_GUARDED_BY(mutex_);
  int leased_count_ QUIRE_GUARDED_BY(mutex_) = 0;
};

// A queue for the length of one call. All its events have arrived when the
// lease ends.
class QueuePool::Lease {
 public:
  Lease(QueuePool& pool, std::unique_ptr<grpc::CompletionQueue> queue)
      : pool_(pool), queue_(std::move(queue)) {}
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() { pool_.GiveBack(std::move(queue_)); }

  grpc::CompletionQueue& queue() { return *queue_; }

 private:
  QueuePool& pool_;
  std::unique_ptr<grpc::CompletionQueue> queue_;
};

// The queue of asynchronous calls, and the thread on which they finish.
//
// The thread polls only while there are such calls. Of all threads that poll
// queues, gRPC's epoll engine lets one wait for the network and wake the
// others; a thread that always polled would be that one, and every blocking
// call would pay for being woken by it.
//
// Thread safety: all functions may be called from any thread.
class BackgroundQueue {
 public:
  // The right to use the queue; keeps the thread polling.
  class Lease;

  BackgroundQueue() = default;
  BackgroundQueue(const BackgroundQueue&) = delete;
  BackgroundQueue& operator=(const BackgroundQueue&) = delete;
  // Waits until every lease has ended. Not called on the queue's own thread.
  ~BackgroundQueue();

  // Starts the thread with the first lease.
  std::shared_ptr<Lease> Take();

  // Runs `work` on the thread, soon.
  void Post(std::function<void()> work);

 private:
  void GiveBack();
  void Run();

  grpc::CompletionQueue queue_;

  Mutex mutex_;
  CondVar changed_;
  int leased_count_ QUIRE_GUARDED_BY(mutex_) = 0;
  bool stopping_ QUIRE_GUARDED_BY(mutex_) = false;
  std::thread thread_ QUIRE_GUARDED_BY(mutex_);
};

class BackgroundQueue::Lease {
 public:
  explicit Lease(BackgroundQueue& background) : background_(background) {}
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() { background_.GiveBack(); }

  grpc::CompletionQueue& queue() { return background_.queue_; }

 private:
  BackgroundQueue& background_;
};

}  // namespace quire
