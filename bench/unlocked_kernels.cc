#include "bench/unlocked_kernels.h"

#include "kernels/stripes.h"

namespace quire::kernels {
namespace {

QUIRE_KERNEL_INLINE uint8_t* NoStripe(Stripes*, const void*) { return nullptr; }
QUIRE_KERNEL_INLINE void DoNothing(uint8_t*) {}

}  // namespace
}  // namespace quire::kernels

// The loops find these in place of the locks; nothing of them leaves this
// file.
#define StripeOf NoStripe
#define LockStripe DoNothing
#define UnlockStripe DoNothing
#include "kernels/loops.inc"
#undef StripeOf
#undef LockStripe
#undef UnlockStripe

namespace quire::kernels {

const Kernels& UnlockedKernels() {
  static constexpr Kernels kTable = TableNamed("unlocked");
  return kTable;
}

}  // namespace quire::kernels
