// Calls under way, as C holds them.

#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "client/client.h"
#include "client/client_c.h"

namespace quire::c {

// How a call ends: set by a thread of the client's, once.
//
// Thread safety: all functions may be called from any thread.
class Ending {
 public:
  // What a push did; of a lookup, which has written its rows, the position.
  using Outcome = absl::StatusOr<Pushed>;

  Ending();

  void Set(Outcome outcome);

  // Never waits. In another process than that which made the call, a call that
  // was under way never ends: it counts as ready.
  bool is_ready() const;

  // Below 0: until it is ready. Returns whether it is.
  bool Wait(int64_t timeout_ms);

  // FAILED_PRECONDITION if it has not ended, or not in this process.
  Outcome outcome() const;

 private:
  // Constant after construction.
  const pid_t pid_;

  Mutex mutex_;
  CondVar changed_;
  // The store releases the outcome to those who acquire it.
  std::atomic<bool> ended_ = false;
  // Constant once the call has ended.
  Outcome outcome_{Pushed{}};
};

}  // namespace quire::c

struct quire_future {
  // Shared with the call.
  const std::shared_ptr<quire::c::Ending> ending;
  // A push.
  const bool is_push;
};
