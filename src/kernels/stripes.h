// Row stripes: spinlocks that keep a row's bytes whole.
//
// 64 Ki byte-sized locks, picked by a row's address. Readers and the one
// writer of a shard take a row's stripe for the copy or the update of that one
// row: a few nanoseconds, two rows collide once in 65,536. PERFORMANCE
// section 3 compares this with the alternatives.
//
// A thread holds at most one stripe, and never over a page fault: rows are
// faulted in before a table serves.
//
// Everything here is inlined into each instruction set's own translation
// unit; nothing may be emitted as a shared symbol.

#pragma once

#include <sched.h>

#include <cstddef>
#include <cstdint>

#include "kernels/inline.h"

namespace quire::kernels {

inline constexpr size_t kStripeCount = 65536;

// Constant in size and place; one per server.
struct alignas(64) Stripes {
  uint8_t bytes[kStripeCount] = {};
};

// The stripe of the row whose values start at `row`.
QUIRE_KERNEL_INLINE uint8_t* StripeOf(Stripes* stripes, const void* row) {
  const uint64_t address = reinterpret_cast<uintptr_t>(row);
  return &stripes->bytes[(address * 0x9E3779B97F4A7C15u) >> 48];
}

// Acquire: pairs with the release of UnlockStripe.
QUIRE_KERNEL_INLINE void LockStripe(uint8_t* stripe) {
  for (int spins = 0;
       __builtin_expect(__atomic_exchange_n(stripe, 1, __ATOMIC_ACQUIRE), 0);) {
    do {
      if (++spins % 1024 == 0) {
        sched_yield();
      } else {
        __builtin_ia32_pause();
      }
    } while (__atomic_load_n(stripe, __ATOMIC_RELAXED) != 0);
  }
}

QUIRE_KERNEL_INLINE void UnlockStripe(uint8_t* stripe) {
  __atomic_store_n(stripe, 0, __ATOMIC_RELEASE);
}

}  // namespace quire::kernels
