#include "engine/room_queue.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace quire {
namespace {

// How late the end of a deadline may be told.
constexpr std::chrono::milliseconds kLookInterval{20};

absl::Status HasExpired() {
  return Error(Reason::kDeadline,
               "the deadline passed while the push waited for room in the log; "
               "nothing was done");
}

}  // namespace

RoomQueue::RoomQueue(journal::Log& log)
    : log_(log), thread_([this] { Run(); }) {}

RoomQueue::~RoomQueue() {
  {
    MutexLock lock(mutex_);
    // The last push may have ended, and still be here for a moment.
    stopping_ = true;
    changed_.NotifyAll();
  }
  thread_.join();
}

void RoomQueue::Add(LoggedPush* push, const Deadline& deadline) {
  MutexLock lock(mutex_);
  waiting_.push_back({push, deadline});
  changed_.NotifyAll();
}

std::deque<RoomQueue::Waiting> RoomQueue::TakeExpired() {
  const auto now = std::chrono::steady_clock::now();
  const auto first = std::stable_partition(
      waiting_.begin(), waiting_.end(), [&](const Waiting& waiting) {
        return !waiting.deadline || *waiting.deadline > now;
      });
  std::deque<Waiting> expired(first, waiting_.end());
  waiting_.erase(first, waiting_.end());
  return expired;
}

bool RoomQueue::TrySequence(LoggedPush& push) {
  const absl::StatusOr<bool> has_room = log_.WaitForRoom(
      push.payload_bytes(), std::chrono::steady_clock::now() + kLookInterval);
  if (!has_room.ok()) {
    push.Refuse(has_room.status());
    return true;
  }
  return *has_room && push.Sequence();
}

void RoomQueue::Run() {
  while (true) {
    std::deque<Waiting> expired;
    LoggedPush* first = nullptr;
    {
      MutexLock lock(mutex_);
      while (waiting_.empty() && !stopping_) {
        changed_.Wait(mutex_);
      }
      if (waiting_.empty()) {
        return;
      }
      expired = TakeExpired();
      // Only this thread takes pushes away: it stays the first.
      first = waiting_.empty() ? nullptr : waiting_.front().push;
    }
    for (const Waiting& waiting : expired) {
      waiting.push->Refuse(HasExpired());
    }
    if (first != nullptr && TrySequence(*first)) {
      MutexLock lock(mutex_);
      waiting_.pop_front();
    }
  }
}

}  // namespace quire
