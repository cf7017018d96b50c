// Philox4x32-10: random words as a pure function of a counter and a key.
//
// Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3",
// SC 2011; also the generator of Random123, cuRAND and torch on CUDA.

#pragma once

#include <cstdint>

#include "kernels/inline.h"

namespace quire::kernels {

struct PhiloxBlock {
  uint32_t words[4];
};

// The four words at `counter`; the key is a seed, its low half first.
QUIRE_KERNEL_INLINE PhiloxBlock Philox(PhiloxBlock counter, uint64_t key) {
  uint32_t key0 = static_cast<uint32_t>(key);
  uint32_t key1 = static_cast<uint32_t>(key >> 32);
  // Unrolled, so that a loop over blocks is an innermost loop and vectorises.
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const uint64_t product0 = uint64_t{0xD2511F53} * counter.words[0];
    const uint64_t product1 = uint64_t{0xCD9E8D57} * counter.words[2];
    counter = {static_cast<uint32_t>(product1 >> 32) ^ counter.words[1] ^ key0,
               static_cast<uint32_t>(product1),
               static_cast<uint32_t>(product0 >> 32) ^ counter.words[3] ^ key1,
               static_cast<uint32_t>(product0)};
    key0 += 0x9E3779B9;  // the golden ratio
    key1 += 0xBB67AE85;  // sqrt(3) - 1
  }
  return counter;
}

}  // namespace quire::kernels
