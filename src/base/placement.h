// Which shard of a DENSE table holds an id, and where in it.
//
//   slot  = id / S                        S = shard count, a power of two
//   shard = (id XOR mix(slot)) mod S
//
// A bijection between ids and (shard, slot) that needs no index: each run of S
// ids is a permutation of the shards, and the permutation differs from run to
// run, so that strided ids (all even, all ≡ 0 mod 64) still spread.

#pragma once

#include <bit>
#include <cstdint>

#include "base/check.h"
#include "base/ids.h"

namespace quire {

// Constant after construction.
class DensePlacement {
 public:
  explicit DensePlacement(int32_t shard_count)
      : shift_(std::countr_zero(static_cast<uint32_t>(shard_count))),
        mask_(static_cast<uint64_t>(shard_count) - 1) {
    QUIRE_CHECK(shard_count > 0 && (shard_count & (shard_count - 1)) == 0,
                "a shard count is a power of two");
  }

  int64_t SlotOf(int64_t id) const { return id >> shift_; }

  ShardId ShardOf(int64_t id) const {
    return ShardId{static_cast<uint32_t>(
        (static_cast<uint64_t>(id) ^ Mix(SlotOf(id))) & mask_)};
  }

  // The inverse: the id at `slot` of `shard`.
  int64_t IdAt(ShardId shard, int64_t slot) const {
    const uint64_t low = (static_cast<uint64_t>(shard) ^ Mix(slot)) & mask_;
    return (slot << shift_) | static_cast<int64_t>(low);
  }

  // Slots that each shard needs to hold ids [0, id_count).
  int64_t SlotCount(int64_t id_count) const {
    return (id_count + static_cast<int64_t>(mask_)) >> shift_;
  }

  int32_t shard_count() const { return static_cast<int32_t>(mask_) + 1; }

 private:
  // The top bits of a Fibonacci product: every bit of the slot reaches them.
  static uint64_t Mix(int64_t slot) {
    return (static_cast<uint64_t>(slot) * 0x9E3779B97F4A7C15u) >> 40;
  }

  int shift_;
  uint64_t mask_;
};

}  // namespace quire
