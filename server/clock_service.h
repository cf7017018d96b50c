// ServerService.AdvanceClock: what a worker says, checked, and its answer.
//
// Thread safety: all functions may be called from any thread.

#pragma once

#include <functional>

#include "absl/status/statusor.h"
#include "clock/clocks.h"
#include "server/call.h"
#include "server/message.h"

namespace quire {

class ClockService {
 public:
  // Calls `answer` once: here, or on a thread of the clocks'.
  void AdvanceClock(const ReceivedMessage& message, const Caller& caller,
                    Answer answer);

  // Those that wait are told STOPPING, and so are later ones.
  void Stop() { clocks_.Stop(); }

 private:
  Clocks clocks_;
};

}  // namespace quire
