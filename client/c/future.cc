#include "client/c/future.h"

#include <unistd.h>

#include <chrono>
#include <utility>

#include "base/status.h"
#include "client/c/error.h"
#include "client/c/results.h"

namespace quire::c {
namespace {

// Longer waits have no bound: 34 years.
constexpr int64_t kWaitMsMax = int64_t{1} << 40;

}  // namespace

Ending::Ending() : pid_(getpid()) {}

void Ending::Set(Outcome outcome) {
  MutexLock lock(mutex_);
  outcome_ = std::move(outcome);
  ended_.store(true, std::memory_order_release);
  changed_.NotifyAll();
}

bool Ending::is_ready() const {
  return ended_.load(std::memory_order_acquire) || getpid() != pid_;
}

bool Ending::Wait(int64_t timeout_ms) {
  // First, since a child may have inherited the mutex locked.
  if (is_ready()) {
    return true;
  }
  MutexLock lock(mutex_);
  if (timeout_ms < 0 || timeout_ms > kWaitMsMax) {
    while (!is_ready()) {
      changed_.Wait(mutex_);
    }
    return true;
  }
  const auto deadline =
      std::chrono::steady_clock::now() + std::chrono::milliseconds(timeout_ms);
  while (!is_ready() && changed_.WaitUntil(mutex_, deadline)) {
  }
  return is_ready();
}

Ending::Outcome Ending::outcome() const {
  if (ended_.load(std::memory_order_acquire)) {
    return outcome_;
  }
  return absl::FailedPreconditionError(
      getpid() == pid_
          ? "the call is under way; wait for it first"
          : "the call was under way in the process that this one was forked "
            "from; only there it ends");
}

}  // namespace quire::c

using quire::c::CheckThere;
using quire::c::Ending;
using quire::c::Guard;

int quire_future_is_ready(const quire_future* future) {
  return future->ending->is_ready() ? 1 : 0;
}

int quire_future_wait(const quire_future* future, int64_t timeout_ms) {
  return future->ending->Wait(timeout_ms) ? 1 : 0;
}

quire_error* quire_future_error(const quire_future* future) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(future, "future"));
    return future->ending->outcome().status();
  });
}

quire_error* quire_future_pushed(const quire_future* future,
                                 quire_pushed* pushed,
                                 quire_pushed_table* tables) {
  return Guard([&]() -> absl::Status {
    QUIRE_RETURN_IF_ERROR(CheckThere(future, "future"));
    if (!future->is_push) {
      return quire::c::BadArgument("future", "the future is a lookup's");
    }
    QUIRE_ASSIGN_OR_RETURN(const quire::Pushed outcome,
                           future->ending->outcome());
    quire::c::CopyPushed(outcome, pushed, tables);
    return absl::OkStatus();
  });
}

quire_position quire_future_position(const quire_future* future) {
  const Ending::Outcome outcome = future->ending->outcome();
  return outcome.ok() ? quire::c::PositionOf(outcome->position)
                      : quire_position{};
}

void quire_future_free(quire_future* future) {
  if (future != nullptr) {
    future->ending->Wait(-1);
    delete future;
  }
}
