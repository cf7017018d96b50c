// Lets writers through one at a time, in the order of their tickets.

#pragma once

#include <atomic>
#include <cstdint>

#include "base/mutex.h"

namespace quire {

// A place in a table's order of changes: 0, 1, 2, … Every ticket that is
// given out must pass every shard of its table.
enum class Ticket : uint64_t {};

// A change's place in the order of its table and, if it is logged, in the log.
struct ChangePlace {
  // NOLINTNEXTLINE: a change that is not logged has its ticket only.
  ChangePlace(Ticket its_ticket, uint64_t its_lsn = 0)
      : ticket(its_ticket), lsn(its_lsn) {}

  Ticket ticket;
  uint64_t lsn;
};

// Thread safety: any number of threads, each with a ticket of its own.
class QUIRE_CAPABILITY("turn") Turnstile {
 public:
  // Waits until all earlier tickets have passed. Sees all that they wrote.
  void Enter(Ticket ticket) QUIRE_ACQUIRE() {
    const uint64_t mine = static_cast<uint64_t>(ticket);
    // The one before is at work on this shard: it takes microseconds.
    for (int spins = 0; spins < 256; ++spins) {
      if (next_.load(std::memory_order_acquire) == mine) {
        return;
      }
      __builtin_ia32_pause();
    }
    for (uint64_t next = next_.load(std::memory_order_acquire); next != mine;
         next = next_.load(std::memory_order_acquire)) {
      next_.wait(next, std::memory_order_acquire);
    }
  }

  // Whether all earlier tickets have passed.
  bool HasTurn(Ticket ticket) const {
    return next_.load(std::memory_order_acquire) >=
           static_cast<uint64_t>(ticket);
  }

  // Lets the next ticket in.
  void Leave(Ticket ticket) QUIRE_RELEASE() {
    next_.store(static_cast<uint64_t>(ticket) + 1, std::memory_order_release);
    next_.notify_all();
  }

 private:
  // The ticket whose turn it is. Leave's release pairs with Enter's acquire.
  std::atomic<uint64_t> next_ = 0;
};

}  // namespace quire
