#include "client/queue.h"

#include <grpcpp/alarm.h>

#include <chrono>

namespace quire {
namespace {

// Work that an alarm, set to now, brings to the queue's thread.
class PostedWork final : public QueueEvent {
 public:
  PostedWork(std::shared_ptr<BackgroundQueue::Lease> lease,
             std::function<void()> work)
      : lease_(std::move(lease)), work_(std::move(work)) {
    alarm_.Set(&lease_->queue(), std::chrono::system_clock::now(), tag());
  }

  void Arrive(bool /*ok*/) override {
    work_();
    delete this;
  }

 private:
  const std::shared_ptr<BackgroundQueue::Lease> lease_;
  const std::function<void()> work_;
  grpc::Alarm alarm_;
};

}  // namespace

bool PollOnce(grpc::CompletionQueue& queue) {
  void* tag = nullptr;
  bool ok = false;
  if (!queue.Next(&tag, &ok)) {
    return false;
  }
  static_cast<QueueEvent*>(tag)->Arrive(ok);
  return true;
}

QueuePool::~QueuePool() {
  MutexLock lock(mutex_);
  while (leased_count_ > 0) {
    given_back_.Wait(mutex_);
  }
  for (auto& queue : idle_) {
    queue->Shutdown();
    while (PollOnce(*queue)) {
    }
  }
}

QueuePool::Lease QueuePool::Take() {
  std::unique_ptr<grpc::CompletionQueue> queue;
  {
    MutexLock lock(mutex_);
    ++leased_count_;
    if (!idle_.empty()) {
      queue = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (queue == nullptr) {
    queue = std::make_unique<grpc::CompletionQueue>();
  }
  return Lease(*this, std::move(queue));
}

void QueuePool::GiveBack(std::unique_ptr<grpc::CompletionQueue> queue) {
  // Notified under the lock: without it the pool may be gone by then.
  MutexLock lock(mutex_);
  idle_.push_back(std::move(queue));
  --leased_count_;
  given_back_.NotifyAll();
}

BackgroundQueue::~BackgroundQueue() {
  std::thread thread;
  {
    MutexLock lock(mutex_);
    while (leased_count_ > 0) {
      changed_.Wait(mutex_);
    }
    stopping_ = true;
    changed_.NotifyAll();
    thread = std::move(thread_);
  }
  queue_.Shutdown();
  if (thread.joinable()) {
    thread.join();
  }
  while (PollOnce(queue_)) {
  }
}

std::shared_ptr<BackgroundQueue::Lease> BackgroundQueue::Take() {
  MutexLock lock(mutex_);
  if (!thread_.joinable()) {
    thread_ = std::thread([this] { Run(); });
  }
  ++leased_count_;
  changed_.NotifyAll();
  return std::make_shared<Lease>(*this);
}

void BackgroundQueue::Post(std::function<void()> work) {
  new PostedWork(Take(), std::move(work));
}

void BackgroundQueue::GiveBack() {
  MutexLock lock(mutex_);
  --leased_count_;
  changed_.NotifyAll();
}

void BackgroundQueue::Run() {
  for (;;) {
    {
      MutexLock lock(mutex_);
      while (leased_count_ == 0 && !stopping_) {
        changed_.Wait(mutex_);
      }
      if (stopping_) {
        return;
      }
    }
    PollOnce(queue_);
  }
}

}  // namespace quire
